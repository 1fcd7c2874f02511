"""Voices and their emotions: ``audio`` to ``voices/emotions``."""

from __future__ import annotations

import sys
import time
from typing import Any

from std_msgs.msg import Bool

from emotion_msgs.msg import VoiceEmotion
from emotion_perception.messages.audio import DIALECTS, message_class
from emotion_perception.ros import conversions
from emotion_perception.ros.audio_input import AudioInput, Chunk
from emotion_perception.ros.lifecycle import PerceptionNode, one_thread_each, run
from emotion_perception.ros.node_settings import node_settings

CHUNKS_WAITING = 500  # 10 s of 20 ms chunks: a decision takes a fraction of a second, and no chunk may get lost


class AcousticNode(PerceptionNode):
    """Listens to every chunk in order; deaf while the robot itself speaks."""

    def __init__(self, **options: Any) -> None:
        super().__init__("acoustic_node", node_settings("acoustic_node"), **options)
        self._perception = None
        self._voices = None
        self._ear: AudioInput | None = None
        self._deaf_until = 0.0  # monotonic s

    def configure(self) -> None:
        """Load voice activity detector and voice classifier; see that the sound's message can be received."""
        from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception

        if self.parameters["audio_format"] in DIALECTS:
            message_class(DIALECTS[self.parameters["audio_format"]])
        self._perception = AcousticPerception(self.parameters.config(AcousticConfig))
        one_thread_each()  # again: the libraries are loaded only now
        self.model_name = self._perception.name
        self._voices = self.publish_to(VoiceEmotion, "voices/emotions", "estimates")

    def activate(self) -> None:
        """Start to listen."""
        self._perception.reset()
        self.beside(self._perception.warm_up)
        self._deaf_until = 0.0
        worker = self.work_on(self._listen, CHUNKS_WAITING)
        self._ear = AudioInput(self, "audio", worker.submit)
        self.subscribe_to(Bool, "robot_speaking", self._on_robot_speaking, "switch")

    def deactivate(self) -> None:
        """Stop to listen."""
        self._ear = None

    def cleanup(self) -> None:
        """Free the models."""
        self._perception = self._voices = None

    def extra_diagnostics(self) -> dict[str, str]:
        """What sound is heard, whether the robot's own voice keeps it from listening, what was wrong with the sound."""
        counts = self._perception.counts if self._perception is not None else {}
        heard = self._ear.status if self._ear is not None else {}
        return {**heard, "muted": str(self._muted).lower(), **{kind: str(count) for kind, count in counts.items()}}

    def _on_robot_speaking(self, message: Bool) -> None:
        if self.parameters["mute_while_robot_speaks"]:
            tail = time.monotonic() + self.parameters["mute_tail"]  # echo and reverberation after the last word
            self._deaf_until = float("inf") if message.data else min(self._deaf_until, tail)

    def _listen(self, chunk: Chunk) -> None:
        ear = self._ear
        if ear is None:
            return  # deactivated meanwhile
        sound = ear.sound(chunk)
        self._perception.set_muted(self._muted)
        for voice in self._perception.push(sound.samples, sound.sample_rate, sound.stamp_ns):
            self._voices.publish(conversions.voice_to_message(voice, sound.frame_id))
        for warning in self._perception.take_warnings():  # gaps, jumps, clipping: told, but not a reason to stop
            self.reporter.report(warning)
        if not self._muted:
            end_ns = sound.stamp_ns + len(sound.samples) * conversions.SECOND // sound.sample_rate
            self.meter.done((self.now_ns - end_ns) / conversions.SECOND)

    @property
    def _muted(self) -> bool:
        return time.monotonic() < self._deaf_until


def main() -> int:
    """Console script ``acoustic_node``."""
    return run(AcousticNode)


if __name__ == "__main__":
    sys.exit(main())
