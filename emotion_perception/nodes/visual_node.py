"""Faces and their emotions: ``image_raw`` to ``faces/emotions``; the service ``~/explain_face`` explains one."""

from __future__ import annotations

import sys
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.task import Future
from sensor_msgs.msg import CompressedImage, Image

from emotion_msgs.msg import FaceEmotionArray
from emotion_msgs.srv import ExplainFace
from emotion_perception.emotions import EMOTIONS
from emotion_perception.errors import ModelError
from emotion_perception.ros import conversions
from emotion_perception.ros.lifecycle import NOT_CONFIGURED, PerceptionNode, one_thread_each, run
from emotion_perception.ros.node_settings import node_settings
from emotion_perception.visual.blank_image import BlankImageMonitor

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecyclePublisher

    from emotion_perception.inference.protocols import FaceClassifier
    from emotion_perception.visual.face_crop import ClassifiedCrop
    from emotion_perception.visual.perception import VisualPerception


class VisualNode(PerceptionNode):
    """Processes the newest image; publishes one :class:`FaceEmotionArray` per image, empty if there is no face in it.

    The service exists in every state, and refuses with a reason unless the node is active. Explanations are computed in
    their own thread, so that processing continues.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("visual_node", node_settings("visual_node"), **options)
        self._perception: VisualPerception = NOT_CONFIGURED
        self._blank = BlankImageMonitor()
        self._faces: LifecyclePublisher = NOT_CONFIGURED
        self._frame_id = ""
        self._explaining = ThreadPoolExecutor(1, "explain")  # the thread starts with the first explanation
        # Its own group: one explanation after another, and no other callback waits for them.
        self.create_service(
            ExplainFace, "~/explain_face", self._on_explain, callback_group=MutuallyExclusiveCallbackGroup()
        )

    def configure(self) -> None:
        """Load face detector and expression classifier."""
        from emotion_perception.visual.perception import VisualConfig, VisualPerception

        self._perception = VisualPerception(self.parameters.config(VisualConfig))
        one_thread_each()  # again, for the libraries that are loaded only now
        self.model_name = self._perception.classifier.name
        self._faces = self.publish_to(FaceEmotionArray, "faces/emotions", "estimates")

    def activate(self) -> None:
        """Subscribe to images."""
        self._perception.reset()
        self._blank.reset()
        self.run_in_background(self._perception.warm_up)
        worker = self.process(self._process_image)
        if self.parameters["image_transport"] == "compressed":
            self.subscribe_to(CompressedImage, "image_raw/compressed", worker.submit, "image_in")
        else:
            self.subscribe_to(Image, "image_raw", worker.submit, "image_in")

    def cleanup(self) -> None:
        """Free the models."""
        self._perception = self._faces = NOT_CONFIGURED

    def input_problem(self) -> str:
        """A black or uniform camera image."""
        return self._blank.problem

    def _process_image(self, message: Image | CompressedImage) -> None:
        decode = conversions.image_from_message if isinstance(message, Image) else conversions.image_from_compressed
        image = decode(message)
        stamp_ns = conversions.stamp_to_ns(message.header.stamp)
        order = self.check_stamp(stamp_ns, "image")
        if order == "old":
            return
        if order == "jump":
            self._perception.reset()
        self._blank.update(image, stamp_ns)
        faces = self._perception.process(image, stamp_ns)
        self._frame_id = message.header.frame_id
        height, width = image.shape[:2]
        self._faces.publish(conversions.faces_to_message(faces, message.header, width, height))
        self.meter.done((self.now_ns - stamp_ns) / conversions.SECOND)

    def destroy_node(self) -> None:
        """Refuse further requests."""
        self._explaining.shutdown(wait=False, cancel_futures=True)
        super().destroy_node()

    async def _on_explain(self, request: ExplainFace.Request, response: ExplainFace.Response) -> ExplainFace.Response:
        perception = self._perception
        if self.state_label != "active" or perception is None:
            response.message = f"visual_node is {self.state_label}, not active"
            return response
        if not request.explain_top_label and request.label >= len(EMOTIONS):
            response.message = f"there is no label {request.label}; labels are 0 to {len(EMOTIONS) - 1}"
            return response
        face = perception.newest_crop(request.face_id)
        if face is None:
            response.message = f"no face {request.face_id!r} in view" if request.face_id else "no face in view"
            return response
        name = face.emotion.name if request.explain_top_label else EMOTIONS[request.label]
        header = conversions.make_header(face.stamp_ns, self._frame_id)
        job = self._explaining.submit(_explain, face, perception.classifier, name)
        await self._done(job)
        try:
            response.image = conversions.image_to_message(job.result(), header)
        except (ValueError, ModelError) as error:
            response.message = str(error)
            return response
        response.success = True
        response.label = EMOTIONS.index(name)
        response.emotion = conversions.estimate_to_message(face.emotion)
        return response

    def _done(self, job: ThreadFuture[Any]) -> Future:
        """A future for a callback to await; it is done when the job in the other thread is."""
        done, executor = Future(), self.executor

        def finish(_: ThreadFuture[Any]) -> None:
            done.set_result(None)
            if executor is not None:
                executor.wake()  # it may be waiting for messages

        job.add_done_callback(finish)
        return done


def _explain(face: ClassifiedCrop, classifier: FaceClassifier, name: str) -> np.ndarray:
    """The drawn explanation of a face, BGR."""
    from emotion_perception.visual.explain import draw_explanation, explain_face

    return draw_explanation(face.crop, explain_face(face.crop, classifier, name))


def main() -> int:
    """Console script ``visual_node``."""
    return run(VisualNode)


if __name__ == "__main__":
    sys.exit(main())
