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
        f"{NAME}.dashboard": ["static/*"],
        f"{NAME}.reports": ["templates/*"],
    },
    # What the package needs is in package.xml (rosdep) and requirements.in (PyPI); nothing is fetched at build time.
    install_requires=["setuptools"],
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
            "emotion-calibrate = emotion_perception.cli.calibrate:main",
            "node_container = emotion_perception.bringup.node_container:main",
            *(f"{node} = emotion_perception.nodes.{node}:main" for node in NODES),
        ]
    },
)
