"""What a robot's computer can do, from the measurements of ``emotion-bench``: faces per image, and a report."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

SCENE_RATE = 25  # frames/s of the scenes
SCENE_IMAGES = 50
WARM_UP_IMAGES = 15
FACE_COUNTS = (1, 2, 4)  # measured; the cost of more faces is extrapolated
COLUMNS = 3  # of the grid of faces
CELL = 200  # px
SHARE = 0.8  # of a core that the visual path may use, of all cores that the graph may use; the rest is for peaks


def scene(images: list[np.ndarray], faces: int) -> list[np.ndarray]:
    """Images ``(480, 640, 3)`` in which the same face is seen ``faces`` times.

    Args:
        images: uint8 ``(CELL, CELL, 3)`` BGR, around one face.
        faces: at most six.
    """
    scenes = []
    for image in images:
        canvas = np.full((480, 640, 3), 90, np.uint8)
        for number in range(faces):
            row, column = divmod(number, COLUMNS)
            top, left = 30 + row * (CELL + 20), 10 + column * (CELL + 10)
            canvas[top : top + CELL, left : left + CELL] = image
        scenes.append(canvas)
    return scenes


def measure_faces() -> dict[str, float]:
    """CPU time of the visual path per image for one face and for each further one, ms.

    Raises:
        RuntimeError: no face was found in the built-in clip.
    """
    import cv2

    from emotion_perception.media.items import MediaFrame
    from emotion_perception.media.opening import open_media
    from emotion_perception.resources import demo_clip_path
    from emotion_perception.visual.perception import VisualConfig, VisualPerception

    cv2.setNumThreads(1)
    images: list[np.ndarray] = []
    with open_media(demo_clip_path()) as clip:
        for item in clip.loop():
            if isinstance(item, MediaFrame):
                images.append(item.image)
            if len(images) == SCENE_IMAGES:
                break
    perception = VisualPerception(VisualConfig())
    found = perception.still(images[0])
    if not found:
        raise RuntimeError("no face was found in the built-in clip")
    box = found[0].box
    side = 1.6 * max(box.width, box.height)
    left, top = (max(0, round(c - side / 2)) for c in (box.x + box.width / 2, box.y + box.height / 2))
    cut = [cv2.resize(image[top : top + round(side), left : left + round(side)], (CELL, CELL)) for image in images]
    means = []
    for faces in FACE_COUNTS:
        perception.reset()
        taken = []
        for number, image in enumerate(scene(cut, faces)):
            began = time.thread_time()
            perception.process(image, round(number / SCENE_RATE * 1e9))
            taken.append(time.thread_time() - began)
        means.append(1000 * float(np.mean(taken[WARM_UP_IMAGES:])))
    slope, base = np.polyfit(FACE_COUNTS, means, 1)
    return {
        "visual_cpu_ms_one_face": round(float(slope + base), 2),
        "visual_cpu_ms_per_further_face": round(float(slope), 2),
    }


def served_faces(one: float, further: float, others: float, fps: float, cores: int, at_most: int) -> int:
    """How many faces fit into the time of an image; 0: not even one.

    Args:
        one: CPU time of the visual path per image with one face, ms.
        further: CPU time of each further face, ms.
        others: CPU time of all other nodes per image, ms.
        fps: images per second.
        cores: of this machine.
        at_most: faces that are classified, ``max_faces``.

    Example:
        >>> served_faces(one=10, further=8, others=5, fps=25, cores=2, at_most=8)
        3
    """
    time_of_image = 1000 / fps
    count = 0
    while count < at_most:
        visual = one + count * max(further, 0.0)
        if visual > SHARE * time_of_image or visual + others > SHARE * time_of_image * cores:
            break
        count += 1
    return count


def verdict(found: Mapping[str, Any], at_most: int) -> str:
    """One line about this machine from the fields of a measurement with graph and faces."""
    fps = found["fps"]
    visual_percent = found["nodes"].get("visual_node", {}).get("cpu_percent", 0.0)
    others = 0.0 if math.isclose(fps, 0.0) else 10 * (found["cpu_percent"] - visual_percent) / fps
    one, further = found["visual_cpu_ms_one_face"], found["visual_cpu_ms_per_further_face"]
    if "visual_node" not in found["nodes"]:  # one process: its time contains that of one face
        others = max(0.0, found["cpu_ms_per_image"] - one)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    count = served_faces(one, further, others, SCENE_RATE, cores, at_most)
    if count == 0:
        return f"this CPU does not serve a face at {SCENE_RATE} fps: lower the camera's rate"
    more = " or more" if count == at_most else ""
    return f"this CPU serves {count}{more} face{'s' * (count > 1 or bool(more))} at {SCENE_RATE} fps"


def machine() -> dict[str, str]:
    """What the report states about the machine and the software."""
    import openvino as ov
    import psutil

    from emotion_perception import __version__
    from emotion_perception.inference.choices import cpu_name

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "CPU": cpu_name(),
        "cores": f"{cores} of {os.cpu_count()}",
        "load before the measurement": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "ROS 2": os.environ.get("ROS_DISTRO", "unknown"),
        "Python": platform.python_version(),
        "OpenVINO": ov.__version__,
        "emotion_perception": __version__,
    }


def markdown(found: Mapping[str, Any], about: Mapping[str, str]) -> str:
    """The measurement as Markdown, for an issue report."""
    lines = ["## emotion-bench", "", found["verdict"], "", *_table(("machine", ""), about.items())]
    budget = {stage: f"{value:.2f}" for stage, value in found["budget_ms"].items()}
    lines += ["", *_table(("image → state, mean", "ms"), budget.items())]
    kinds = [kind for kind in ("cpu_percent", "rss_mb", "pss_mb", "uss_mb") if kind in found]
    nodes = [(name, *(str(node.get(kind, "")) for kind in kinds)) for name, node in found["nodes"].items()]
    nodes.append(("all", *(str(found[kind]) for kind in kinds)))
    lines += ["", *_table(("node", *kinds), nodes)]
    rest = {name: str(value) for name, value in found.items() if name not in ("budget_ms", "nodes", "verdict", *kinds)}
    return "\n".join([*lines, "", *_table(("field", "value"), rest.items()), ""])


def write_report(path: Path, found: Mapping[str, Any], about: Mapping[str, str]) -> None:
    """Write :func:`markdown` to a file.

    Raises:
        OSError: it cannot be written.
    """
    from emotion_perception.files import write_atomically

    write_atomically(path, [markdown(found, about)])


def _table(head: tuple[str, ...], rows: Any) -> list[str]:
    made = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return made + ["| " + " | ".join(row) + " |" for row in rows]
