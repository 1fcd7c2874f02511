"""The built-in demo clip: a portrait that moves over a plain background, for a demo without camera or download.

The portrait is scikit-image's ``astronaut`` (NASA, public domain), which is part of its wheel.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, FPS = 640, 480, 25
SECONDS = 12
BACKGROUND = (104, 112, 96)  # RGB, like an office wall
FACE_CENTRE = (223.0, 110.0)  # px in the portrait


def frames(portrait: np.ndarray) -> Iterator[np.ndarray]:
    """Every frame of the clip, uint8 ``(480, 640, 3)`` RGB.

    The centre of the face moves once around an ellipse while the face grows and shrinks by an eighth; the last frame
    leads back to the first, so the clip loops without a jump.

    Args:
        portrait: uint8 ``(H, W, 3)`` RGB with a face at :data:`FACE_CENTRE`.
    """
    for i in range(SECONDS * FPS):
        turn = 2 * math.pi * i / (SECONDS * FPS)
        scale = 1.0 + 0.125 * math.sin(2 * turn)
        centre = (WIDTH / 2 + 110 * math.sin(turn), 190 + 45 * math.cos(turn))
        move = np.array(
            [[scale, 0, centre[0] - scale * FACE_CENTRE[0]], [0, scale, centre[1] - scale * FACE_CENTRE[1]]]
        )
        yield cv2.warpAffine(portrait, move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderValue=BACKGROUND)


def make_demo_clip(path: Path) -> Path:
    """Write the clip: 12 s, 640x480, 25 fps, MPEG-4, no sound. The file is written atomically.

    Returns:
        ``path``; its folder is created if missing.

    Raises:
        OSError: the folder cannot be created or written.
    """
    import av  # here, so that importing this module stays cheap
    from skimage import data

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".demo_clip-", suffix=".mp4")
    os.close(handle)
    scratch = Path(name)
    try:
        with av.open(name, "w") as container:
            stream = container.add_stream("mpeg4", rate=Fraction(FPS))
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.bit_rate = 2_500_000
            for image in frames(data.astronaut()):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        scratch.chmod(0o644)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the built-in demo clip (scripts/setup.sh does).")
    parser.add_argument("path", type=Path, help="where to write it, such as demo_clip.mp4")
    print(make_demo_clip(parser.parse_args().path))


if __name__ == "__main__":
    main()
