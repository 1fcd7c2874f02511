"""Voices and their emotions: ``audio`` to ``voices/emotions``."""

from __future__ import annotations

import sys
import time
from typing import Any

from std_msgs.msg import Bool

from emotion_msgs.msg import AudioChunk, VoiceEmotion
from emotion_perception.nodes import conversions
from emotion_perception.nodes.conversions import ConversionError
from emotion_perception.nodes.lifecycle import PerceptionNode, one_thread_each, run
from emotion_perception.nodes.parameters import acoustic_parameters

CHUNKS_WAITING = 500  # 10 s of 20 ms chunks: a decision takes a fraction of a second, and no chunk may get lost


class AcousticNode(PerceptionNode):
    """Listens to every chunk in order; deaf while the robot itself speaks."""

    def __init__(self, **options: Any) -> None:
        super().__init__("acoustic_node", acoustic_parameters(), **options)
        self._perception = None
        self._voices = None
        self._deaf_until = 0.0  # monotonic s

    def configure(self) -> None:
        """Load voice activity detector and voice classifier."""
        from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception

        self._perception = AcousticPerception(self.parameters.config(AcousticConfig))
        one_thread_each()  # again: the libraries are loaded only now
        self.model_name = self._perception.name
        self._voices = self.publish_to(VoiceEmotion, "voices/emotions", "estimates")

    def activate(self) -> None:
        """Start to listen."""
        self._perception.reset()
        self._deaf_until = 0.0
        worker = self.work_on(self._listen, CHUNKS_WAITING)
        self.subscribe_to(AudioChunk, "audio", worker.submit, "audio_in")
        self.subscribe_to(Bool, "/robot_speaking", self._on_robot_speaking, "switch")

    def cleanup(self) -> None:
        """Free the models."""
        self._perception = self._voices = None

    def extra_diagnostics(self) -> dict[str, str]:
        """Whether the robot's own voice keeps it from listening, and what was wrong with the sound so far."""
        counts = self._perception.counts if self._perception is not None else {}
        return {"muted": str(self._muted).lower(), **{kind: str(count) for kind, count in counts.items()}}

    def _on_robot_speaking(self, message: Bool) -> None:
        if self.parameters["mute_while_robot_speaks"]:
            tail = time.monotonic() + self.parameters["mute_tail"]  # echo and reverberation after the last word
            self._deaf_until = float("inf") if message.data else min(self._deaf_until, tail)

    def _listen(self, message: AudioChunk) -> None:
        try:
            samples, sample_rate, stamp_ns = conversions.audio_from_message(message)
        except ConversionError as error:
            self.reject(str(error))
            return
        self._perception.set_muted(self._muted)
        for voice in self._perception.push(samples, sample_rate, stamp_ns):
            self._voices.publish(conversions.voice_to_message(voice, message.header.frame_id))
        for warning in self._perception.take_warnings():  # gaps, jumps, clipping: told, but not a reason to stop
            self.reporter.report(warning)
        if not self._muted:
            end_ns = stamp_ns + len(samples) * conversions.SECOND // sample_rate
            self.meter.done((self.now_ns - end_ns) / conversions.SECOND)

    @property
    def _muted(self) -> bool:
        return time.monotonic() < self._deaf_until


def main() -> int:
    """Console script ``acoustic_node``."""
    return run(AcousticNode)


if __name__ == "__main__":
    sys.exit(main())
