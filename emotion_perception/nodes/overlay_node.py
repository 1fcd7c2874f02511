"""The annotated picture: ``image_raw``, ``faces/emotions`` and ``emotion_state`` to ``emotion/image_annotated``."""

from __future__ import annotations

import sys
from typing import Any

from sensor_msgs.msg import Image

from emotion_msgs.msg import EmotionState, FaceEmotionArray
from emotion_perception.nodes import conversions, qos
from emotion_perception.nodes.conversions import SECOND, ConversionError
from emotion_perception.nodes.lifecycle import PerceptionNode, run
from emotion_perception.nodes.parameters import OVERLAY
from emotion_perception.nodes.worker import Worker
from emotion_perception.overlay import draw

FACES_HOLD = SECOND // 2  # ns; older faces are not drawn on a newer picture
STATE_HOLD = 2 * SECOND


class OverlayNode(PerceptionNode):
    """Draws only while someone watches; without watchers it does not even receive pictures.

    A picture waits for its own faces, at most until the next picture comes: boxes then sit where the face is, and a
    slow or missing visual node stops nothing.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("overlay_node", OVERLAY, **options)
        self._annotated = None
        self._image_subscription = None
        self._drawer: Worker | None = None
        self._waiting: Image | None = None
        self._faces: FaceEmotionArray | None = None
        self._state: EmotionState | None = None

    def configure(self) -> None:
        """Make the publisher."""
        self._annotated = self.publish_to(Image, "emotion/image_annotated", "annotated_image")

    def activate(self) -> None:
        """Listen to results; to pictures once there is a watcher."""
        self._drawer = self.work_on(self._draw)
        self.subscribe_to(FaceEmotionArray, "faces/emotions", self._on_faces, "estimates")
        self.subscribe_to(EmotionState, "emotion_state", self._on_state, "state")
        self.every(0.25, self._follow_watchers)

    def deactivate(self) -> None:
        """Forget what was seen."""
        self._drop_images()
        self._waiting = self._faces = self._state = None

    def cleanup(self) -> None:
        """Nothing is held beyond the publisher."""
        self._annotated = None

    def extra_diagnostics(self) -> dict[str, str]:
        """Whether anybody watches."""
        return {"watched": str(self._image_subscription is not None).lower()}

    def _follow_watchers(self) -> None:
        watched = self._annotated.get_subscription_count() > 0
        if watched and self._image_subscription is None:
            self._image_subscription = self.create_subscription(
                Image, "image_raw", self._on_image, qos.profile("image_in"), qos_overriding_options=qos.overrides()
            )
        elif not watched:
            self._drop_images()
        if not watched:
            self.meter.restart()  # nobody to draw for is not staleness

    def _drop_images(self) -> None:
        if self._image_subscription is not None:
            self.destroy_subscription(self._image_subscription)
            self._image_subscription = None

    def _on_image(self, message: Image) -> None:
        if self._waiting is not None:
            self._hand_over()
        self._waiting = message

    def _on_faces(self, message: FaceEmotionArray) -> None:
        self._faces = message
        if self._waiting is not None and self._waiting.header.stamp == message.header.stamp:
            self._hand_over()

    def _on_state(self, message: EmotionState) -> None:
        self._state = message

    def _hand_over(self) -> None:
        self._drawer.submit((self._waiting, self._faces, self._state))
        self._waiting = None

    def _draw(self, seen: tuple[Image, FaceEmotionArray | None, EmotionState | None]) -> None:
        message, face_message, state_message = seen
        stamp_ns = conversions.stamp_to_ns(message.header.stamp)
        faces, state = (), None
        try:
            image = conversions.image_from_message(message)
            if face_message is not None:
                faces_ns, faces = conversions.faces_from_message(face_message)
                faces = faces if abs(stamp_ns - faces_ns) <= FACES_HOLD else ()
            if state_message is not None:
                state = conversions.state_from_message(state_message)
                state = state if abs(stamp_ns - state.stamp_ns) <= STATE_HOLD else None
        except ConversionError as error:
            self.reject(str(error))
            return
        picture = draw(image, faces, state, self.parameters["show_scores"], self.parameters["show_bars"])
        self._annotated.publish(conversions.image_to_message(picture, message.header))
        self.meter.done((self.now_ns - stamp_ns) / SECOND)


def main() -> int:
    """Console script ``overlay_node``."""
    return run(OverlayNode)


if __name__ == "__main__":
    sys.exit(main())
