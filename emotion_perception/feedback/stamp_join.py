"""Joins images with the faces detected in them, by stamp.

Faces of an image arrive later than the image, under load later than the next images; some images or face arrays never
arrive. Each image is handed out once for display: with its own faces as soon as they are known, otherwise with the
newest faces when the next image arrives, so that a slow visual node does not delay the display. Faces that arrive after
their image was handed out are joined with it afterwards (*late*), for consumers that store faces as evidence. If the
image of some faces was lost in transit, the nearest image is used instead.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from emotion_perception.types import SECOND

Image = TypeVar("Image")
Faces = TypeVar("Faces")

HOLD_S = 2.0  # images wait this long for their faces
MAX_BYTES = 64_000_000  # of waiting images
NEAREST_S = 0.25  # largest difference of stamps at which another image replaces a lost one


@dataclass(frozen=True)
class Joined(Generic[Image, Faces]):
    """An image and faces."""

    image: Image
    image_ns: int
    faces: Faces | None  # None: no faces have arrived so far
    faces_ns: int
    late: bool  # the image was handed out for display before

    @property
    def matched(self) -> bool:
        """Whether the faces belong to this image, or to a lost one next to it, so that faces can be cropped from it."""
        return self.faces is not None and (self.late or self.image_ns == self.faces_ns)


@dataclass(frozen=True)
class _Held(Generic[Image]):
    stamp_ns: int
    image: Image
    size: int


class StampJoin(Generic[Image, Faces]):
    """Joins two streams by stamp. Bounded memory; not thread-safe.

    Args:
        hold_s: images wait for their faces this long after they were handed out for display; 0 disables late joins.
        max_bytes: of waiting images; the oldest are dropped first.
    """

    def __init__(self, hold_s: float = HOLD_S, max_bytes: int = MAX_BYTES) -> None:
        self.hold_s, self.max_bytes = hold_s, max_bytes
        self.clear()

    def clear(self) -> None:
        """Forget all images and faces."""
        self._held: deque[_Held[Image]] = deque()  # oldest first
        self._display: _Held[Image] | None = None  # not handed out yet
        self._early: deque[tuple[int, Faces]] = deque()  # faces whose image has not arrived
        self._faces: Faces | None = None
        self._faces_ns = 0

    def add_image(self, stamp_ns: int, image: Image, size: int) -> list[Joined[Image, Faces]]:
        """Add the next image of ``size`` bytes; returns what can be handed out now."""
        if self._held and stamp_ns < self._held[-1].stamp_ns:
            self.clear()  # the clock was set back
        out = []
        if self._display is not None:
            out.append(self._join(self._display, self._faces, self._faces_ns, late=False))
        self._display = held = _Held(stamp_ns, image, size)
        self._held.append(held)
        while self._early and self._early[0][0] <= stamp_ns:
            faces_ns, faces = self._early.popleft()
            if faces_ns == stamp_ns:
                out.append(self._join(held, faces, faces_ns, late=False))
                self._display = None
            else:
                out += self._join_nearest(faces_ns, faces)
        self._trim()
        return out

    def add_faces(self, stamp_ns: int, faces: Faces) -> list[Joined[Image, Faces]]:
        """Add the faces of the image with this stamp; returns what can be handed out now."""
        self._faces, self._faces_ns = faces, stamp_ns
        for held in reversed(self._held):
            if held.stamp_ns == stamp_ns:
                late = held is not self._display
                if not late:
                    self._display = None
                return [self._join(held, faces, stamp_ns, late)]
        if self._held and self._held[-1].stamp_ns > stamp_ns:
            return self._join_nearest(stamp_ns, faces)  # their own image was lost or is gone
        self._early.append((stamp_ns, faces))
        if len(self._early) > 10:
            self._early.popleft()
        return []

    def _join(self, held: _Held[Image], faces: Faces | None, faces_ns: int, late: bool) -> Joined[Image, Faces]:
        return Joined(held.image, held.stamp_ns, faces, faces_ns, late)

    def _join_nearest(self, faces_ns: int, faces: Faces) -> list[Joined[Image, Faces]]:
        nearest = min(self._held, key=lambda held: abs(held.stamp_ns - faces_ns))
        if abs(nearest.stamp_ns - faces_ns) > NEAREST_S * SECOND:
            return []
        return [self._join(nearest, faces, faces_ns, late=True)]

    def _trim(self) -> None:
        newest_ns, size = self._held[-1].stamp_ns, sum(held.size for held in self._held)
        while len(self._held) > 1 and (
            size > self.max_bytes or newest_ns - self._held[0].stamp_ns > self.hold_s * SECOND
        ):
            size -= self._held.popleft().size
