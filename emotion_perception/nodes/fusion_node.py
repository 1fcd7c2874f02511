"""One state from all evidence: ``faces/emotions``, ``voices/emotions`` to ``emotion_state``, ``emotion_states``,
``group_emotion``."""

from __future__ import annotations

import sys
from typing import Any

from emotion_msgs.msg import EmotionState, EmotionStateArray, FaceEmotionArray, GroupEmotion, VoiceEmotion
from emotion_perception.fusion.group import group_emotion
from emotion_perception.fusion.state import EmotionFusion, FusionConfig
from emotion_perception.nodes import conversions
from emotion_perception.nodes.conversions import ConversionError
from emotion_perception.nodes.lifecycle import JUMP_BACK, PerceptionNode, run
from emotion_perception.nodes.parameters import fusion_parameters


class FusionNode(PerceptionNode):
    """Publishes at a steady rate, and at once when there is new evidence."""

    def __init__(self, **options: Any) -> None:
        super().__init__("fusion_node", fusion_parameters(), **options)
        self._fusion = None
        self._state = None
        self._states = None
        self._group = None
        self._published_ns = 0
        self._clock_ns = 0
        self._frame_id = ""

    def configure(self) -> None:
        """Make the pool and the publishers."""
        self._fusion = EmotionFusion(self.parameters.config(FusionConfig))
        self.model_name = "log-linear pooling"
        self._state = self.publish_to(EmotionState, "emotion_state", "state")
        self._states = self.publish_to(EmotionStateArray, "emotion_states", "state")
        self._group = self.publish_to(GroupEmotion, "group_emotion", "state")

    def activate(self) -> None:
        """Start to gather evidence; the first state says that there is none."""
        self._fusion.reset()
        self._published_ns = self._clock_ns = 0
        self.subscribe_to(FaceEmotionArray, "faces/emotions", self._on_faces, "estimates")
        self.subscribe_to(VoiceEmotion, "voices/emotions", self._on_voice, "estimates")
        self.every(1 / self.parameters["rate"], self._on_tick)

    def cleanup(self) -> None:
        """Free the pool."""
        self._fusion = self._state = self._states = self._group = None

    def _on_faces(self, message: FaceEmotionArray) -> None:
        try:
            stamp_ns, faces = conversions.faces_from_message(message)
        except ConversionError as error:
            self.reject(str(error))
            return
        self._frame_id = message.header.frame_id
        self._fusion.add_faces(stamp_ns, faces)
        self._on_evidence()

    def _on_voice(self, message: VoiceEmotion) -> None:
        try:
            voice = conversions.voice_from_message(message)
        except ConversionError as error:
            self.reject(str(error))
            return
        self._fusion.add_voice(voice)
        self._on_evidence()

    def _on_evidence(self) -> None:
        if self.now_ns - self._published_ns >= conversions.SECOND / self.parameters["max_rate"]:
            self._publish(self.now_ns)

    def _on_tick(self) -> None:
        now = self.now_ns
        if now < self._clock_ns - JUMP_BACK:
            self.reject("the clock was set back; starting afresh", "clock")
            self._fusion.reset()
            self._published_ns = 0
        self._clock_ns = now
        # Less than half a period after new evidence was published there is nothing to add.
        if now - self._published_ns >= conversions.SECOND / self.parameters["rate"] / 2:
            self._publish(now)
        states = self._fusion.states(now)
        self._states.publish(conversions.states_to_message(states, now, self._frame_id))
        group = group_emotion(states, self._fusion.in_view, now)
        self._group.publish(conversions.group_to_message(group, self._frame_id))

    def _publish(self, now: int) -> None:
        message = conversions.state_to_message(self._fusion.state(now), now, self._frame_id)
        self._state.publish(message)
        self._published_ns = now
        self.meter.done(conversions.duration_to_seconds(message.latency))


def main() -> int:
    """Console script ``fusion_node``."""
    return run(FusionNode)


if __name__ == "__main__":
    sys.exit(main())
