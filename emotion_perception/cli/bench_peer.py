"""Comparison of the visual pipeline with the package fer, for ``emotion-bench --peer``."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def find_python(environment: Path) -> Path:
    """The Python of a virtual environment.

    Raises:
        FileNotFoundError: it has none; names the path that was tried.
    """
    for place in ("bin/python", "Scripts/python.exe"):
        if (environment / place).is_file():
            return environment / place
    raise FileNotFoundError(
        f"--peer {environment} is not a Python environment: {environment / 'bin/python'} does not exist"
    )


def compare_with_peer(
    environment: Path, images: list[np.ndarray], faces: list[np.ndarray], own: dict[str, Any]
) -> dict[str, Any]:
    """Time the package ``fer`` in its own environment on the same images and faces, on one thread.

    Args:
        environment: a virtual environment with ``fer``.
        images, faces: uint8 ``(480, 640, 3)`` BGR and ``(48, 48)``.
        own: this package's medians, ``visual_ms_p50`` and ``classify_ms_per_face``.

    Raises:
        FileNotFoundError: no such environment.
        RuntimeError: it lacks ``fer`` or a dependency of it, or ``fer`` failed; states the remedy.
    """
    import numpy as np

    from emotion_perception.cli import fer_peer

    python = find_python(environment)
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    one_thread |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}
    # The other Python must not find this package's environment.
    outside = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npz"
        np.savez(data, frames=np.stack(images), faces=np.stack(faces))
        command = [str(python), fer_peer.__file__, str(data)]
        run = subprocess.run(command, capture_output=True, text=True, env=outside | one_thread, check=False)
    last_line = (run.stderr.strip().splitlines() or ["no message"])[-1]
    if run.returncode == fer_peer.MISSING:
        raise RuntimeError(
            f"--peer {environment} cannot run the package fer ({last_line}); "
            f"try: {python} -m pip install fer==25.10.0 tensorflow 'setuptools<81'"
        )
    if run.returncode:
        raise RuntimeError(f"the package fer failed in {environment}: {last_line}")
    peer = json.loads(run.stdout.splitlines()[-1])
    frame, face = (statistics.median(peer[name]) * 1000 for name in ("frame_s", "face_s"))
    found = {
        "peer": f"fer {peer['version']}",
        "peer_visual_ms_p50": round(frame, 2),
        "peer_classify_ms_per_face": round(face, 2),
        "peer_faces_found": round(peer["faces_found"], 2),
        "visual_to_peer": round(own["visual_ms_p50"] / frame, 3),
        "classify_to_peer": round(own["classify_ms_per_face"] / face, 3),
    }
    if "face_tflite_s" in peer:
        lite = statistics.median(peer["face_tflite_s"]) * 1000
        found |= {
            "peer_tflite_ms_per_face": round(lite, 2),
            "classify_to_peer_tflite": round(own["classify_ms_per_face"] / lite, 3),
        }
    return found
