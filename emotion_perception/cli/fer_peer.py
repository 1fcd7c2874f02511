"""Run by ``emotion-bench --peer ENV`` with that environment's Python: times the ``fer`` package on given images.

Standalone: it imports nothing of this package, which ENV does not have. Usage: ``fer_peer.py IMAGES.npz``, with
arrays ``frames (F, 480, 640, 3)`` bgr and ``faces (N, 48, 48)`` grey, both uint8; the last line on stdout is JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

WARM_UP = 3
MISSING = 3  # exit code: fer, or what it needs, is not installed


def seconds(work: Callable[[Any], object], items: Iterable[Any]) -> list[float]:
    """How long each item takes, the first few left out."""
    taken = []
    for item in items:
        started = time.perf_counter()
        work(item)
        taken.append(time.perf_counter() - started)
    return taken[WARM_UP:]


def as_tflite(network: Any, example: np.ndarray) -> Callable[[np.ndarray], object]:
    """The network in TensorFlow Lite on one thread, the fastest way there is to run it."""
    import tensorflow as tf

    convert = tf.function(network, input_signature=[tf.TensorSpec(example.shape, tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert.get_concrete_function()], network)
    interpreter = tf.lite.Interpreter(model_content=converter.convert(), num_threads=1)
    interpreter.allocate_tensors()
    entry, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(face: np.ndarray) -> object:
        interpreter.set_tensor(entry, face)
        interpreter.invoke()
        return interpreter.get_tensor(answer)

    return run


def main() -> int:
    """Print what was measured."""
    import importlib.metadata

    try:
        from fer.fer import FER  # 25.10 exports it there alone
    except ImportError as error:
        print(error, file=sys.stderr)
        return MISSING
    import cv2

    cv2.setNumThreads(1)
    with np.load(sys.argv[1]) as images:
        frames, faces = images["frames"], images["faces"]
    # Its default is a file inside OpenCV, which OpenCV 5 has no more; its own copy is the same.
    cascade = Path(sys.modules["fer"].__path__[0]) / "data" / "haarcascade_frontalface_default.xml"
    fer = FER(cascade_file=str(cascade))
    network = fer._FER__emotion_classifier
    size = tuple(network.input_shape[1:3])
    # As the package prepares a face it has cut out.
    batches = [
        ((cv2.resize(face, size).astype(np.float32) / 255 - 0.5) * 2)[np.newaxis, :, :, np.newaxis] for face in faces
    ]
    found = [len(fer.detect_emotions(frame)) for frame in frames[: WARM_UP + 1]]
    result = {
        "version": importlib.metadata.version("fer"),
        "frame_s": seconds(fer.detect_emotions, frames),
        "face_s": seconds(fer._classify_emotions, batches),
        "faces_found": sum(found) / len(found),
    }
    try:
        result["face_tflite_s"] = seconds(as_tflite(network, batches[0]), batches)
    except Exception as error:  # whatever the conversion may raise, the package itself was measured
        print(f"not converted to TensorFlow Lite: {error}", file=sys.stderr)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
