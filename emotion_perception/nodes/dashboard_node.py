"""The web page at http://127.0.0.1:8080 with everything the robot knows, and the service ``correct_emotion``."""

from __future__ import annotations

import socket
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from emotion_msgs.msg import EmotionArc, EmotionState, FaceEmotionArray, GroupEmotion, VoiceEmotion
from emotion_msgs.srv import CorrectEmotion, StartInteraction, StopInteraction
from emotion_perception.dashboard.config import Parts, ServerConfig
from emotion_perception.dashboard.learning_job import LearningConfig, LearningJob
from emotion_perception.dashboard.place_file import MAX_NAME
from emotion_perception.dashboard.server import DashboardServer
from emotion_perception.dashboard.sources import Places, parse_places
from emotion_perception.dashboard.store import Store
from emotion_perception.dashboard.uploads import UploadAnalyzer
from emotion_perception.dashboard.video import VideoConfig, VideoFeed
from emotion_perception.feedback.corrections import CorrectionConfig, Corrections
from emotion_perception.feedback.pictures import PictureConfig, Pictures
from emotion_perception.feedback.recent import RecentEvidence
from emotion_perception.feedback.stamp_join import HOLD_S, Joined, StampJoin
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.storage_choice import ChoiceFile, StorageChoice, directory_in_use
from emotion_perception.interaction.store_database import StoreError
from emotion_perception.interaction.store_records import Deletion
from emotion_perception.ros import conversions, diagnostics
from emotion_perception.ros.audio_input import AudioInput, Chunk
from emotion_perception.ros.image_input import ImageInput, ReceivedImage
from emotion_perception.ros.lifecycle import NOT_CONFIGURED, PerceptionNode, run
from emotion_perception.ros.node_settings import node_settings
from emotion_perception.ros.worker import Worker
from emotion_perception.types import SECOND, FaceObservation

Pair = Joined[ReceivedImage, tuple[FaceObservation, ...]]

MAX_FACE_AGE = SECOND // 2  # ns between an image and the faces drawn on it
SERVICE_TIMEOUT_S = 5.0
MAX_CHUNKS = 500  # audio chunks in the queue
MAX_PAIRS = 8  # images with faces in the queue
REPORT_PICTURE_PERIOD = SECOND // 5  # ns between two images offered for reports


class DashboardNode(PerceptionNode):
    """Feeds the store of the web server; receives images and sound only while clients are connected or they are stored.

    Nothing is stored, and no past image is held in memory, unless ``store_corrections`` or ``store_pictures`` states
    that the people in view consented.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("dashboard_node", node_settings("dashboard_node"), **options)
        self._server: DashboardServer = NOT_CONFIGURED
        self._store = Store()
        self._recent: RecentEvidence | None = None
        self._corrections: Corrections | None = None
        self._archive: ConversationStore | None = None
        self._indexing: threading.Thread | None = None
        self._pictures: Pictures | None = None
        self._video_worker: Worker | None = None
        self._sound_worker: Worker | None = None
        self._audio_input: AudioInput | None = None
        self._images: ImageInput = NOT_CONFIGURED
        self._join: StampJoin[ReceivedImage, tuple[FaceObservation, ...]] = StampJoin(hold_s=0.0)
        self._face_worker: Worker | None = None
        self._offered_ns = 0  # stamp of the last image offered for reports
        # The service exists in every life-cycle state; it refuses with a reason unless the node is active.
        self.create_service(CorrectEmotion, "correct_emotion", self._on_correct)
        self._start_client = self.create_client(StartInteraction, "interaction/start")
        self._stop_client = self.create_client(StopInteraction, "interaction/stop")

    def configure(self) -> None:
        """Check the parameters and prepare the server.

        Raises:
            ValueError: a token is missing or weak, a file of token or certificate is unusable, or a folder is not set.
        """
        parameters = self.parameters
        config = parameters.config(ServerConfig)
        if parameters["token"]:
            self.get_logger().warning(
                "token is a parameter: other users of this machine can read it with ps and everybody on the ROS graph "
                "with ros2 param get; use token_file or the environment variable EMOTION_DASHBOARD_TOKEN"
            )
        self._store = Store()
        data_directory = "" if parameters["conversations_directory"] else parameters["data_directory"]
        choice = ChoiceFile(data_directory) if data_directory else None
        self._archive = self._open_archive(directory_in_use(parameters["conversations_directory"], data_directory))
        self._recent = self._corrections = learning = None
        if parameters["store_corrections"]:
            if not parameters["corrections_directory"]:
                raise ValueError("store_corrections is true, but corrections_directory is empty")
            keep = CorrectionConfig(
                Path(parameters["corrections_directory"]).expanduser(),
                parameters["corrections_retention_days"],
                parameters["corrections_max_mb"],
            )
            self._recent = RecentEvidence(keep.reach_s)
            self._corrections = Corrections(keep, self._recent, self.get_logger().warning, audit=self.audit.correction)
            data = parameters["learning_data_directory"]
            learning = LearningJob(
                LearningConfig(keep.folder, Path(data).expanduser() if data else None), self.audit.learning
            )
        self._pictures = None
        if parameters["store_pictures"] and not parameters["pictures_directory"]:
            raise ValueError("store_pictures is true, but pictures_directory is empty")
        if parameters["pictures_directory"]:  # without consent: to delete old pictures only
            where = PictureConfig(
                Path(parameters["pictures_directory"]).expanduser(),
                parameters["store_pictures"],
                parameters["pictures_retention_days"],
                parameters["pictures_max_mb"],
            )
            self._pictures = Pictures(where, self.get_logger().warning)
        parts = Parts(
            self._store,
            VideoFeed(parameters.config(VideoConfig, **_video_fields(parameters))) if parameters["video"] else None,
            self._archive,
            self._corrections,
            UploadAnalyzer() if parameters["uploads"] else None,
            self._start_conversation,
            self._stop_conversation,
            partial(self.audit.access_granted, "dashboard"),
            self._pictures,
            learning,
            self._record_deletion,
            places=self._places(),
        )
        parts.choice, parts.choose_storage = choice, None if choice is None else self._choose_storage
        self._server = DashboardServer(config, parts, self.get_logger().warning)
        self.model_name = "none needed"

    def _places(self) -> Places | None:
        """This robot's conversations and those of other places.

        Raises:
            ValueError: other_places or place_name is malformed.
        """
        parameters = self.parameters
        others, imports = parse_places(parameters["other_places"]), parameters["imported_places_directory"]
        if self._archive is None and not others and not imports:
            return None
        return Places(
            self._archive,
            parameters["place_name"] or socket.gethostname()[:MAX_NAME],
            others,
            Path(imports).expanduser() if imports else None,
            self.get_logger().warning,
        )

    def activate(self) -> None:
        """Start the server, subscriptions and workers."""
        self._update_index()
        self._server.start()
        self.get_logger().info(f"the dashboard is at {self._server.url}")
        self._video_worker = self.process(self._encode_frame)
        # A queue of its own: for video the newest image replaces older ones, for evidence every face counts.
        self._face_worker = Worker(self._keep_faces, MAX_PAIRS, self.meter.drop, self._on_worker_error)
        self.subscribe_to(EmotionState, "emotion_state", self._on_state, "state")
        self.subscribe_to(FaceEmotionArray, "faces/emotions", self._on_faces, "estimates")
        self.subscribe_to(GroupEmotion, "group_emotion", self._on_group, "state")
        self.subscribe_to(EmotionArc, "interaction/arc", self._on_arc, "state")
        self.subscribe_to(DiagnosticArray, "/diagnostics", self._on_diagnostics, "diagnostics")
        if self._recent is not None:
            self.subscribe_to(VoiceEmotion, "voices/emotions", self._on_voice, "estimates")
            self._sound_worker = Worker(self._keep_sound, MAX_CHUNKS, self.meter.drop, self._on_worker_error)
            self._audio_input = AudioInput(self, "audio", self._sound_worker.submit)
        self._images = ImageInput(self, "image_raw", self._on_image)
        self.every(0.25, self._update_image_subscription, steady=True)
        self.every(2.0, self._list_conversations, steady=True)
        self.every(60.0, self._update_index, steady=True)
        if self._pictures is not None:
            self.every(60.0, self._pictures.sweep, steady=True)

    def deactivate(self) -> None:
        """Stop the server and forget all evidence."""
        if self._server is not None:
            self._server.stop()
        self._audio_input = None
        if self._sound_worker is not None:
            self._sound_worker.stop()
        if self._face_worker is not None:
            self._face_worker.stop()
        if self._images is not NOT_CONFIGURED:
            self._images.set_wanted(False)
        self._video_worker = self._sound_worker = self._face_worker = None
        self._join.clear()
        self._store.forget()
        if self._recent is not None:
            self._recent.forget()

    def cleanup(self) -> None:
        """Drop the server and the stores."""
        self._server = NOT_CONFIGURED
        self._archive = self._corrections = self._recent = self._pictures = None

    def extra_diagnostics(self) -> dict[str, str]:
        """Address of the page, number of viewers, and what is stored."""
        if self._server is None:
            return {}
        video = self._server.parts.video
        return {
            "url": self._server.url,
            "viewers": str(self._server.viewers),
            "pictures encoded": str(video.encoded if video is not None else 0),
            "corrections": "stored, with consent" if self._corrections is not None else "off",
            "pictures for reports": "stored, with consent" if self._keeps_pictures else "off",
        }

    # --- input --------------------------------------------------------------------------------------------------

    def _on_state(self, message: EmotionState) -> None:
        state = conversions.state_from_message(message)
        latency = conversions.duration_to_seconds(message.latency)
        self._store.add_state(state, state.stamp_ns + round(latency * SECOND))
        self.meter.done(latency)

    def _on_group(self, message: GroupEmotion) -> None:
        self._store.add_group(conversions.group_from_message(message))

    def _on_arc(self, message: EmotionArc) -> None:
        self._store.add_conversation(conversions.running_from_message(message))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._store.add_health(diagnostics.node_health(message, self.get_namespace()))

    def _on_voice(self, message: VoiceEmotion) -> None:
        recent = self._recent
        voice = conversions.voice_from_message(message)
        if recent is not None:
            recent.add_voice(voice)

    def _on_faces(self, message: FaceEmotionArray) -> None:
        stamp_ns, faces = conversions.faces_from_message(message)
        self._store.add_faces(faces)
        self._distribute(self._join.add_faces(stamp_ns, faces))

    def _on_image(self, received: ReceivedImage) -> None:
        self._join.hold_s = HOLD_S if self._recent is not None or self._wants_report_pictures else 0.0
        self._distribute(self._join.add_image(received.stamp_ns, received, received.size))

    def _distribute(self, pairs: list[Pair]) -> None:
        for pair in pairs:
            if not pair.late and self._video_worker is not None:
                self._video_worker.submit(pair)
            if not pair.matched or pair.faces is None or self._face_worker is None:
                continue
            recent = self._recent
            due = recent is not None and recent.due(pair.faces_ns, [face.face_id for face in pair.faces])
            if self._wants_report_pictures and not 0 <= pair.faces_ns - self._offered_ns < REPORT_PICTURE_PERIOD:
                due, self._offered_ns = True, pair.faces_ns
            if due:
                self._face_worker.submit(pair)

    def _encode_frame(self, pair: Pair) -> None:
        server = self._server
        video = server.parts.video if server is not None else None
        if video is None or not video.wanted:
            return
        image = pair.image.decode().image
        recent_enough = abs(pair.image_ns - pair.faces_ns) <= MAX_FACE_AGE
        faces = pair.faces if pair.faces is not None and recent_enough else ()
        video.offer(image, pair.image_ns, faces, self._store.chosen_face)

    def _keep_faces(self, pair: Pair) -> None:
        """Keep faces for corrections and for reports, if people consented to it."""
        recent, pictures, store = self._recent, self._pictures, self._store
        faces = pair.faces or ()
        image = pair.image.decode().image
        if recent is not None:
            recent.add_faces(image, pair.faces_ns, faces)
        if pictures is not None and self._wants_report_pictures:
            chosen = next((face for face in faces if face.face_id == store.chosen_face), None)
            pictures.offer(image, pair.faces_ns, chosen, store.running, store.shown_emotion)

    def _keep_sound(self, chunk: Chunk) -> None:
        ear, recent = self._audio_input, self._recent
        if ear is None or recent is None:
            return
        sound = ear.sound(chunk)
        recent.add_sound(sound.samples, sound.sample_rate, sound.stamp_ns)

    def _update_image_subscription(self) -> None:
        video = self._server.parts.video
        watched = video is not None and video.viewers > 0
        wanted = self._recent is not None or watched or self._wants_report_pictures
        self._images.set_wanted(wanted)
        if not wanted:
            self._join.clear()

    @property
    def _wants_report_pictures(self) -> bool:
        return self._keeps_pictures and bool(self._store.running)

    @property
    def _keeps_pictures(self) -> bool:
        return self._pictures is not None and self._pictures.config.consented

    def _choose_storage(self, choice: StorageChoice) -> None:
        """Remember what is kept; interaction_node reads the same file. Called by the server's thread."""
        parts = self._server.parts
        assert parts.choice is not None
        parts.choice.write(choice)
        self._archive = parts.archive = self._open_archive(directory_in_use("", str(parts.choice.folder)))
        parts.places = self._places()

    def _open_archive(self, folder: str) -> ConversationStore | None:
        log = self.get_logger()
        return ConversationStore(Path(folder).expanduser(), log.warning, log.info) if folder else None

    def _list_conversations(self) -> None:
        if self._archive is not None and self._server.viewers:
            try:
                self._store.set_conversations(self._archive.version())
            except StoreError as error:
                self._store.set_conversations({"problem": str(error)})  # the list asks again and shows it

    def _update_index(self) -> None:
        """Index conversations in the background: the first time it may take minutes."""
        if self._archive is not None and (self._indexing is None or not self._indexing.is_alive()):
            self._indexing = threading.Thread(target=self._index, args=(self._archive,), name="index", daemon=True)
            self._indexing.start()

    def _index(self, archive: ConversationStore) -> None:
        try:
            archive.sync(lambda: self._archive is not archive)
            deleted = archive.deleted_ids()
            if deleted and self._pictures is not None:
                self._pictures.delete_of(deleted)
                archive.forget_deleted(deleted)
        except OSError as error:
            self.get_logger().warning(f"conversations are not indexed: {error}")

    def _record_deletion(self, done: Deletion) -> None:
        self.audit.deletion(done.what, done.asked_by, done.conversations, done.pictures, done.start, done.end)

    # --- services -----------------------------------------------------------------------------------------------

    def _on_correct(self, request: CorrectEmotion.Request, response: CorrectEmotion.Response) -> Any:
        if self.state_label != "active":
            response.message = f"dashboard_node is {self.state_label}, not active"
            return response
        if self._corrections is None:
            response.message = "storing faces and voices was not consented to: store_corrections is false"
            return response
        stamp_ns = conversions.stamp_to_ns(request.stamp) or None
        try:
            kept = self._corrections.correct(
                request.label, request.face_id, request.voice_id, stamp_ns, request.annotator, request.comment
            )
        except (ValueError, OSError) as error:
            response.message = str(error)
            return response
        response.success = True
        response.path = kept["path"]
        return response

    def _start_conversation(self, name: str) -> str:
        return self._call(self._start_client, StartInteraction.Request(name=name))

    def _stop_conversation(self) -> str:
        return self._call(self._stop_client, StopInteraction.Request())

    def _call(self, client: Any, request: Any) -> str:
        """Call a service from the server's thread; returns the reason of a failure, or an empty text."""
        if not client.service_is_ready():
            return "interaction_node is not running; start it with interaction:=true"
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(SERVICE_TIMEOUT_S):
            client.remove_pending_request(future)
            return f"interaction_node did not answer within {SERVICE_TIMEOUT_S:.0f} s"
        answer = future.result()
        return "" if answer.success else answer.message


def _video_fields(parameters: Any) -> dict[str, Any]:
    return {"fps": parameters["video_fps"], "width": parameters["video_width"], "quality": parameters["video_quality"]}


def main() -> int:
    """Console script ``dashboard_node``."""
    return run(DashboardNode)


if __name__ == "__main__":
    sys.exit(main())
