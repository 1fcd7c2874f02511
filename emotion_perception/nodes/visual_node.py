"""Faces and their emotions: ``image_raw`` to ``faces/emotions``."""

from __future__ import annotations

import sys
from typing import Any

from sensor_msgs.msg import CompressedImage, Image

from emotion_msgs.msg import FaceEmotionArray
from emotion_perception.nodes import conversions
from emotion_perception.nodes.conversions import ConversionError
from emotion_perception.nodes.lifecycle import PerceptionNode, one_thread_each, run
from emotion_perception.nodes.parameters import visual_parameters


class VisualNode(PerceptionNode):
    """Looks at the newest image; publishes one :class:`FaceEmotionArray` an image, empty where no face is in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__("visual_node", visual_parameters(), **options)
        self._perception = None
        self._faces = None

    def configure(self) -> None:
        """Load detector and expression classifier."""
        from emotion_perception.visual.perception import VisualConfig, VisualPerception

        self._perception = VisualPerception(self.parameters.config(VisualConfig))
        one_thread_each()  # again: the libraries are loaded only now
        self.model_name = self._perception.classifier.name
        self._faces = self.publish_to(FaceEmotionArray, "faces/emotions", "estimates")

    def activate(self) -> None:
        """Start to look."""
        self._perception.reset()
        worker = self.work_on(self._look)
        if self.parameters["image_transport"] == "compressed":
            self.subscribe_to(CompressedImage, "image_raw/compressed", worker.submit, "image_in")
        else:
            self.subscribe_to(Image, "image_raw", worker.submit, "image_in")

    def cleanup(self) -> None:
        """Free the models."""
        self._perception = self._faces = None

    def _look(self, message: Image | CompressedImage) -> None:
        try:
            decode = conversions.image_from_message if isinstance(message, Image) else conversions.image_from_compressed
            image = decode(message)
        except ConversionError as error:
            self.reject(str(error))
            return
        stamp_ns = conversions.stamp_to_ns(message.header.stamp)
        order = self.check_stamp(stamp_ns, "image")
        if order == "old":
            return
        if order == "jump":
            self._perception.reset()
        faces = self._perception.process(image, stamp_ns)
        height, width = image.shape[:2]
        self._faces.publish(conversions.faces_to_message(faces, message.header, width, height))
        self.meter.done((self.now_ns - stamp_ns) / conversions.SECOND)


def main() -> int:
    """Console script ``visual_node``."""
    return run(VisualNode)


if __name__ == "__main__":
    sys.exit(main())
