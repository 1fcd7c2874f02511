"""Faces and their emotions: ``image_raw`` to ``faces/emotions``; the service ``~/explain_face`` explains one."""

from __future__ import annotations

import sys
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.task import Future

from emotion_msgs.msg import FaceEmotionArray
from emotion_msgs.srv import ExplainFace
from emotion_perception.emotions import EMOTIONS
from emotion_perception.errors import ModelError
from emotion_perception.ros import conversions
from emotion_perception.ros.diagnostics import StageTimer
from emotion_perception.ros.image_input import ImageInput, ReceivedImage
from emotion_perception.ros.lifecycle import NOT_CONFIGURED, PerceptionNode, one_thread_each, run
from emotion_perception.ros.node_settings import node_settings
from emotion_perception.ros.person_ids import PersonIds
from emotion_perception.visual.blank_image import BlankImageMonitor
from emotion_perception.visual.config import AUTO
from emotion_perception.visual.mounting import scale_face

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecyclePublisher

    from emotion_perception.inference.protocols import FaceClassifier
    from emotion_perception.visual.face_crop import ClassifiedCrop
    from emotion_perception.visual.perception import VisualPerception


MIN_SIDE = 3  # times detection_width: faces found by the search then keep the pixels that the classifier reads


class VisualNode(PerceptionNode):
    """Processes the newest image; publishes one :class:`FaceEmotionArray` per image, empty if there is no face in it.

    The service exists in every state, and refuses with a reason unless the node is active. Explanations are computed in
    their own thread, so that processing continues.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("visual_node", node_settings("visual_node"), **options)
        self._perception: VisualPerception = NOT_CONFIGURED
        self._blank = BlankImageMonitor()
        self._stages = StageTimer()
        self._rotation: int | None = None  # of the camera, found from faces and reported
        self._faces: LifecyclePublisher = NOT_CONFIGURED
        self._frame_id = ""
        self._images: ImageInput | None = None
        self._persons = PersonIds(self, ("face_id",), self._on_person_ids)
        self._explaining = ThreadPoolExecutor(1, "explain")  # the thread starts with the first explanation
        # Its own group: one explanation after another, and no other callback waits for them.
        self.create_service(
            ExplainFace, "~/explain_face", self._on_explain, callback_group=MutuallyExclusiveCallbackGroup()
        )

    def configure(self) -> None:
        """Load face detector and expression classifier."""
        from emotion_perception.visual.perception import VisualConfig, VisualPerception

        self._perception = VisualPerception(self.parameters.config(VisualConfig))
        self._perception.on_stage = self._stages.lap
        one_thread_each()  # again, for the libraries that are loaded only now
        self.model_name = self._perception.classifier.name
        self._faces = self.publish_to(FaceEmotionArray, "faces/emotions", "estimates")

    def activate(self) -> None:
        """Subscribe to images."""
        self._perception.reset()
        self._blank.reset()
        self._rotation = None
        self.run_in_background(self._perception.warm_up)
        worker = self.process(self._process_image)
        min_side = MIN_SIDE * self._perception.config.detection_width
        self._images = ImageInput(self, "image_raw", worker.submit, min_side)
        self._images.open(report_silence=True)
        self._persons.open()

    def deactivate(self) -> None:
        """Unsubscribe from images."""
        self._images = None
        self._persons.close()

    def cleanup(self) -> None:
        """Free the models."""
        self._perception = self._faces = NOT_CONFIGURED

    def input_failure(self) -> str:
        """Why no images arrive."""
        return self._images.watch.problem if self._images is not None else ""

    def input_problem(self) -> str:
        """A black or uniform camera image, stamps of another clock, or a camera that is mounted another way."""
        stamps = self._images.problem if self._images is not None else ""
        return self._blank.problem or stamps or self._mounting_problem()

    def extra_diagnostics(self) -> dict[str, str]:
        """Topic and type of the images, and how they are turned."""
        if self._images is None:
            return {}
        turned = self.parameters["image_rotation"]
        if turned == AUTO:
            turned += ": not known yet" if self._rotation is None else f": {self._rotation}"
        return {**self._images.status, "image rotation": turned}

    def _mounting_problem(self) -> str:
        """That faces are not upright although ``image_rotation`` is fixed."""
        wanted = self.parameters["image_rotation"]
        if self._rotation is None or wanted in (AUTO, str(self._rotation)):
            return ""
        return (
            f"faces are not upright with image_rotation {wanted}: if the camera is mounted that way, set it to "
            f"{self._rotation} or auto"
        )

    def _report_rotation(self) -> None:
        found = self._perception.found_rotation
        if found is None or found == self._rotation:
            return
        self._rotation = found
        if self.parameters["image_rotation"] == AUTO:
            self.get_logger().info(f"image_rotation auto: faces are upright with images turned by {found} degrees")
        elif self._mounting_problem():
            self.get_logger().warning(self._mounting_problem())

    def _on_person_ids(self, person_id: str, ids: dict[str, str]) -> None:
        """A known person's own resting face applies to the face track that the person has now."""
        if ids.get("face_id") and self._perception is not NOT_CONFIGURED:
            self._perception.set_person(ids["face_id"], person_id)

    def _process_image(self, received: ReceivedImage) -> None:
        stages, stamp_ns = self._stages, received.stamp_ns
        waited_ns = self.now_ns - received.arrival_ns
        stages.begin(
            {
                "image transport": (received.arrival_ns - stamp_ns) / conversions.SECOND,
                "waiting": waited_ns / conversions.SECOND,
            }
        )
        decoded = received.decode()
        image = decoded.image
        stages.lap("conversion")
        order = self.check_stamp(stamp_ns, "image")
        if order == "old":
            return
        if order == "jump":
            self._perception.reset(keep_mounting=True)
        self._blank.update(image, stamp_ns)
        faces = [scale_face(face, decoded.scale) for face in self._perception.process(image, stamp_ns)]
        self._report_rotation()
        self._frame_id = received.header.frame_id
        self._faces.publish(conversions.faces_to_message(faces, received.header, decoded.width, decoded.height))
        stages.lap("publication")
        self.meter.stages(stages.seconds)
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

    return draw_explanation(face.crop, explain_face(face.crop, classifier, name, face.landmarks))


def main() -> int:
    """Console script ``visual_node``."""
    return run(VisualNode)


if __name__ == "__main__":
    sys.exit(main())
