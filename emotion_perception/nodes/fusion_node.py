"""Late fusion: ``faces/emotions`` and ``voices/emotions`` to ``emotion_state``, ``emotion_states``, ``group_emotion``.

Attention and engagement of each person are on ``person_states``; they also decide who the conversation partner is.
Optional inputs are ``transcript``; ``sound_direction``, ``camera_info`` and ROS4HRI's persons, which help to assign a
voice to a person; and a depth image and TF for attention.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rclpy.lifecycle import LifecyclePublisher
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float32, String

from emotion_msgs.msg import (
    EmotionState,
    EmotionStateArray,
    FaceEmotionArray,
    GroupEmotion,
    PersonStateArray,
    VoiceEmotion,
)
from emotion_perception.attention.config import AttentionConfig
from emotion_perception.attention.geometry import Camera
from emotion_perception.attention.speaking import SpeakingNow
from emotion_perception.attention.tracker import AttentionTracker
from emotion_perception.compliance.deployment import ARTICLE, RESTRICTED, UNSET
from emotion_perception.compliance.notice import NoticeSettings
from emotion_perception.fusion.config import FusionConfig
from emotion_perception.fusion.engine import EmotionFusion
from emotion_perception.fusion.reliability import Reliability, reliability_of
from emotion_perception.fusion.text import text_available, text_evidence
from emotion_perception.interaction.group import group_emotion
from emotion_perception.ros import conversions
from emotion_perception.ros.attention_inputs import DepthInput, RobotHead
from emotion_perception.ros.lifecycle import JUMP_BACK, NOT_CONFIGURED, PerceptionNode, run
from emotion_perception.ros.node_settings import node_settings
from emotion_perception.ros.person_ids import PersonIds
from emotion_perception.types import EmotionState as State
from emotion_perception.types import FaceObservation, PersonState


class FusionNode(PerceptionNode):
    """Publishes at a steady rate, and at once when evidence arrives."""

    def __init__(self, **options: Any) -> None:
        super().__init__("fusion_node", node_settings("fusion_node"), **options)
        self._fusion: EmotionFusion = NOT_CONFIGURED
        self._state: LifecyclePublisher = NOT_CONFIGURED
        self._states: LifecyclePublisher = NOT_CONFIGURED
        self._group: LifecyclePublisher = NOT_CONFIGURED
        self._person_states: LifecyclePublisher = NOT_CONFIGURED
        self._attention: AttentionTracker = NOT_CONFIGURED
        self._speaking = SpeakingNow()
        self._camera: Camera | None = None
        self._depth: DepthInput | None = None
        self._robot_head: RobotHead | None = None
        self._published_ns = 0
        self._clock_ns = 0
        self._frame_id = ""
        self._notice: LifecyclePublisher = NOT_CONFIGURED
        self._notice_text = ""
        self._warned_of_context = False
        self._persons = PersonIds(self, ("face_id", "voice_id"), self._on_person_ids)
        self._speaker = "nobody"

    def configure(self) -> None:
        """Read the models' reliability; make the pool and the publishers."""
        visual, acoustic = self._reliability("expression_model"), self._reliability("voice_model")
        self._fusion = EmotionFusion(self.parameters.config(FusionConfig), visual, acoustic)
        self.model_name = "log-linear pooling"
        self._state = self.publish_to(EmotionState, "emotion_state", "state")
        self._states = self.publish_to(EmotionStateArray, "emotion_states", "state")
        self._group = self.publish_to(GroupEmotion, "group_emotion", "state")
        self._attention = AttentionTracker(self.parameters.config(AttentionConfig))
        self._person_states = self.publish_to(PersonStateArray, "person_states", "state")
        notice = self.parameters.config(NoticeSettings, notice_languages=self.parameters["notice_languages"])
        self._notice_text = notice.text
        self._notice = self.publish_to(String, "emotion_notice", "state")
        self._report_deployment()

    def activate(self) -> None:
        """Subscribe to evidence; the first state published is NO_EVIDENCE."""
        self._reset()
        if self._notice_text:
            self._notice.publish(String(data=self._notice_text))
        self._published_ns = self._clock_ns = 0
        self.subscribe_to(FaceEmotionArray, "faces/emotions", self._on_faces, "estimates")
        self.subscribe_to(VoiceEmotion, "voices/emotions", self._on_voice, "estimates")
        self.subscribe_to(Float32, "sound_direction", self._on_direction, "estimates")
        self.subscribe_to(CameraInfo, "camera_info", self._on_camera, "image_in")
        self._subscribe_to_transcript()
        self._persons.open()
        if self.parameters["depth_topic"]:
            self._depth = DepthInput()
            self.subscribe_to(Image, self.parameters["depth_topic"], self._depth.on_image, "image_in")
        if self.parameters["robot_head_frame"]:
            self._robot_head = RobotHead(self, self.parameters["robot_head_frame"])
        self.every(1 / self.parameters["rate"], self._on_tick)

    def _report_deployment(self) -> None:
        """State once in the log where emotions are inferred, on behalf of all nodes."""
        context, reason = self.parameters["deployment_context"], self.parameters["deployment_reason"]
        if context in RESTRICTED:
            self.get_logger().warning(f"deployment_context is {context}; stated reason ({ARTICLE}): {reason}")
        elif not context and not self._warned_of_context:
            self._warned_of_context = True
            self.get_logger().warning(UNSET)

    def deactivate(self) -> None:
        """Remove the subscriptions of all persons, and of TF."""
        self._persons.close()
        if self._robot_head is not None:
            self._robot_head.close()
        self._depth = self._robot_head = None

    def extra_diagnostics(self) -> dict[str, str]:
        """The speaker posterior, the engagement of each person, and counts of evidence that was dropped."""
        if self._fusion is NOT_CONFIGURED:
            return {}
        people = engagement_text(self._attention.states(self.now_ns))
        counts = {name: str(count) for name, count in self._fusion.counts.items()}
        return {"speaker": self._speaker, "engagement": people, **counts}

    def input_problem(self) -> str:
        """What is wrong with the depth image or TF."""
        depth, head = self._depth, self._robot_head
        return (depth.problem if depth is not None else "") or (head.problem if head is not None else "")

    def cleanup(self) -> None:
        """Free the pool."""
        self._fusion = self._state = self._states = self._group = NOT_CONFIGURED
        self._attention = self._person_states = NOT_CONFIGURED
        self._camera = None

    def _reset(self) -> None:
        self._fusion.reset()
        self._attention.reset()
        self._speaking.reset()

    def _on_faces(self, message: FaceEmotionArray) -> None:
        began_ns = self.now_ns
        stamp_ns, faces = conversions.faces_from_message(message)
        self._frame_id = message.header.frame_id
        self._fusion.add_faces(stamp_ns, faces)
        self._attend(stamp_ns, faces)
        self._on_evidence()
        arrived, taken = (began_ns - stamp_ns) / conversions.SECOND, (self.now_ns - began_ns) / conversions.SECOND
        self.meter.stages({"age of arriving faces": arrived, "fusion": taken})

    def _attend(self, stamp_ns: int, faces: Sequence[FaceObservation]) -> None:
        """Update everybody's attention, and by it the choice of the conversation partner."""
        if self._robot_head is not None:
            self._attention.set_robot_head(self._robot_head.position(self._frame_id))
        self._attention.add_faces(
            stamp_ns,
            faces,
            {face.face_id: self._fusion.person_of(face.face_id) for face in faces},
            self._speaking.probabilities(self._fusion.speakers, stamp_ns) if self._speaking.heard else None,
            self._depth.distances(stamp_ns, faces, self._camera) if self._depth is not None else None,
        )
        self._fusion.set_engagement(self._attention.levels(stamp_ns))

    def _on_voice(self, message: VoiceEmotion) -> None:
        voice = conversions.voice_from_message(message)
        self._fusion.add_voice(voice)
        self._speaking.add(voice)
        self._on_evidence()

    def _reliability(self, parameter: str) -> Reliability | None:
        """Reliability of the model in a parameter; empty where the robot does not have that model's file."""
        model, fusion_file = self.parameters[parameter], self.parameters["fusion_model"]
        if not model or not fusion_file:
            return None
        reliability = reliability_of(model, fusion_file)
        if reliability is None:
            self.get_logger().warning(
                f"the reliability of {model} is not in {fusion_file}; assuming full reliability "
                "(measure it with `emotion-train fusion`)"
            )
        return reliability

    def _on_direction(self, message: Float32) -> None:
        """The message has no stamp; its time of arrival is used."""
        if not math.isfinite(message.data):
            self.reject(f"sound_direction is {message.data}", "sound_direction")
            return
        self._fusion.add_direction(self.now_ns, message.data)

    def _on_camera(self, message: CameraInfo) -> None:
        focal, centre = message.k[0], message.k[2]
        if not (0 < focal < math.inf and math.isfinite(centre)):  # not calibrated
            centre = message.width / 2
            focal = centre / math.tan(math.radians(self.parameters["horizontal_fov"]) / 2)
            self._camera = Camera(focal, focal, centre, message.height / 2)
        else:
            self._camera = Camera(focal, message.k[4], centre, message.k[5])
        if not (self._camera.focal_y > 0 and self._camera.centre_y > 0):  # NaN, too
            self._camera = None
        self._attention.set_camera(self._camera)
        if focal > 0:
            self._fusion.set_camera(focal, centre)

    def _subscribe_to_transcript(self) -> None:
        kind = self.parameters["transcript_type"]
        if kind == "off":
            return
        if not text_available():
            self.get_logger().info("transcripts are not used: vaderSentiment is not installed")
            return
        if kind == "String":
            self.subscribe_to(String, "transcript", self._on_text, "estimates")
            return
        try:
            from hri_msgs.msg import LiveSpeech
        except ImportError as error:
            raise ValueError(f"transcript_type is LiveSpeech, but hri_msgs cannot be imported ({error})") from error
        self.subscribe_to(LiveSpeech, "transcript", self._on_live_speech, "estimates")

    def _on_text(self, message: String) -> None:
        """The message has no stamp; its time of arrival is used."""
        self._on_transcript(message.data, self.now_ns)

    def _on_live_speech(self, message: Any) -> None:
        stamp_ns = conversions.stamp_to_ns(message.header.stamp)
        if message.final:
            self._on_transcript(message.final, stamp_ns or self.now_ns)

    def _on_transcript(self, text: str, stamp_ns: int) -> None:
        words = text_evidence(text)
        if words is not None:
            self._fusion.add_text(stamp_ns, words)

    def _on_person_ids(self, person_id: str, ids: dict[str, str]) -> None:
        if self._fusion is not NOT_CONFIGURED:
            self._fusion.set_person(person_id, **ids)

    def _on_evidence(self) -> None:
        if self.now_ns - self._published_ns >= conversions.SECOND / self.parameters["max_rate"]:
            self._publish(self.now_ns)

    def _on_tick(self) -> None:
        now = self.now_ns
        if now < self._clock_ns - JUMP_BACK:
            self.reject("the clock was set back; starting over", "clock")
            self._reset()
            self._published_ns = 0
        self._clock_ns = now
        # Nothing has changed if evidence was published less than half a period ago.
        if now - self._published_ns >= conversions.SECOND / self.parameters["rate"] / 2:
            self._publish(now)
        states = self._fusion.states(now)
        self._speaker = speakers(self._fusion.speakers)
        self._states.publish(conversions.states_to_message(states, now, self._frame_id))
        group = group_emotion(states, self._fusion.in_view, now)
        self._group.publish(conversions.group_to_message(group, self._frame_id))
        self._publish_persons(states, now)

    def _publish_persons(self, states: Sequence[State], now: int) -> None:
        partner = states[0].face_id if states else ""
        persons = list(self._attention.states(now, partner))
        out_of_view = self._speaking.probabilities(self._fusion.speakers, now).get("", 0.0)
        unseen = next((state for state in states if not state.face_id), None)
        if unseen is not None and out_of_view >= 0.5:
            heard = PersonState(unseen.stamp_ns, unseen.person_id, "", unseen is states[0], speaking=out_of_view)
            persons.insert(0 if unseen is states[0] else len(persons), heard)
        self._person_states.publish(conversions.persons_to_message(persons, now, self._frame_id))

    def _publish(self, now: int) -> None:
        message = conversions.state_to_message(self._fusion.state(now), now, self._frame_id)
        self._state.publish(message)
        self._published_ns = now
        self.meter.done(conversions.duration_to_seconds(message.latency))


def engagement_text(persons: Sequence[PersonState]) -> str:
    """Level and distance of everybody in view, for people."""
    texts = [
        f"{person.person_id or person.face_id} {person.engagement.name.lower()}"
        + ("" if math.isnan(person.distance) else f" at {person.distance:.1f} m")
        for person in persons
    ]
    return "; ".join(texts) or "nobody"


def speakers(heard: Mapping[str, Mapping[str, float]]) -> str:
    """Whose each voice is taken to be, and how surely, for people: the likeliest first."""
    texts = []
    for chances in heard.values():
        likely = sorted(chances.items(), key=lambda item: -item[1])
        texts.append(", ".join(f"{name or 'nobody in view'} {share:.2f}" for name, share in likely if share >= 0.05))
    return "; ".join(texts) or "nobody"


def main() -> int:
    """Console script ``fusion_node``."""
    return run(FusionNode)


if __name__ == "__main__":
    sys.exit(main())
