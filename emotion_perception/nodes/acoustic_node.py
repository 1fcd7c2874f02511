"""Voices and their emotions: ``audio`` to ``voices/emotions``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from emotion_msgs.msg import VoiceEmotion
from emotion_perception.acoustic.place import PlaceCalibration, describe_place, load_place, save_place
from emotion_perception.messages.audio import DIALECTS, message_class
from emotion_perception.ros import conversions
from emotion_perception.ros.audio_input import AudioInput, Chunk
from emotion_perception.ros.lifecycle import NOT_CONFIGURED, PerceptionNode, one_thread_each, run
from emotion_perception.ros.node_settings import node_settings

if TYPE_CHECKING:
    from rclpy.lifecycle import LifecyclePublisher

    from emotion_perception.acoustic.perception import AcousticPerception

NO_PLACE = "not active, place_adaptation is 0, or the voice model has no class statistics"
SAVE_PERIOD = 600.0  # s between two writes of the place
QUEUED_CHUNKS = 500  # 10 s of 20 ms: a decision takes a fraction of a second, and no chunk may be lost


class AcousticNode(PerceptionNode):
    """Processes every audio chunk in order; muted while the robot itself speaks.

    Services (``std_srvs/Trigger``): ``~/reset_place`` forgets what was learnt about microphone, room and language, when
    the robot has been moved; ``~/calibrate_place`` learns it from the next 45 s of speech (``place_calibration_s``).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("acoustic_node", node_settings("acoustic_node"), **options)
        self._perception: AcousticPerception = NOT_CONFIGURED
        self._voices: LifecyclePublisher = NOT_CONFIGURED
        self._audio: AudioInput | None = None
        self._muted_until = 0.0  # monotonic s
        self._calibration: PlaceCalibration | None = None
        self.create_service(Trigger, "~/reset_place", self._on_reset_place)
        self.create_service(Trigger, "~/calibrate_place", self._on_calibrate_place)

    def configure(self) -> None:
        """Load voice activity detector and voice classifier; fail if a configured message type is not installed."""
        from emotion_perception.acoustic.perception import AcousticConfig, AcousticPerception

        if self.parameters["audio_format"] in DIALECTS:
            message_class(DIALECTS[self.parameters["audio_format"]])
        self._perception = AcousticPerception(self.parameters.config(AcousticConfig))
        one_thread_each()  # again, for the libraries that are loaded only now
        self._load_place()
        self.model_name = self._perception.name
        self._voices = self.publish_to(VoiceEmotion, "voices/emotions", "estimates")

    def activate(self) -> None:
        """Subscribe to audio."""
        self._perception.reset()
        self.run_in_background(self._perception.warm_up)
        self._muted_until = 0.0
        worker = self.process(self._process_chunk, QUEUED_CHUNKS)
        self._audio = AudioInput(self, "audio", worker.submit, report_silence=True)
        self.subscribe_to(Bool, "robot_speaking", self._on_robot_speaking, "switch")
        self.every(SAVE_PERIOD, self._save_place, steady=True)

    def deactivate(self) -> None:
        """Unsubscribe from audio and save the place."""
        self._audio = None
        self._calibration = None
        self._save_place()

    def cleanup(self) -> None:
        """Free the models."""
        self._perception = self._voices = NOT_CONFIGURED

    def input_failure(self) -> str:
        """Why no audio arrives."""
        return self._audio.watch.problem if self._audio is not None else ""

    def input_problem(self) -> str:
        """Stamps of another clock."""
        return self._audio.problem if self._audio is not None else ""

    def extra_diagnostics(self) -> dict[str, str]:
        """Type and topic of the audio, whether it is muted, and counts of what was wrong with it."""
        counts = {} if self._perception is NOT_CONFIGURED else self._perception.counts
        status = {} if self._audio is None else self._audio.status
        if self._perception is not NOT_CONFIGURED and self._perception.place.active:
            status = {**status, **describe_place(self._perception.place, self._calibration)}
        return {**status, "muted": str(self._muted).lower(), **{kind: str(count) for kind, count in counts.items()}}

    def _on_robot_speaking(self, message: Bool) -> None:
        if self.parameters["mute_while_robot_speaks"]:
            tail = time.monotonic() + self.parameters["mute_tail"]  # echo and reverberation after the last word
            self._muted_until = float("inf") if message.data else min(self._muted_until, tail)

    def _process_chunk(self, chunk: Chunk) -> None:
        audio = self._audio
        if audio is None:
            return  # the node is being deactivated
        sound = audio.sound(chunk)
        self._perception.set_muted(self._muted)
        for voice in self._perception.push(sound.samples, sound.sample_rate, sound.stamp_ns):
            self._voices.publish(conversions.voice_to_message(voice, sound.frame_id))
            if voice.final and self._calibration is not None and self._calibration.add(voice.duration):
                self._calibration = None
                self._save_place()
        for warning in self._perception.take_warnings():  # gaps, jumps, clipping
            self.reporter.report(warning)
        if not self._muted:
            end_ns = sound.stamp_ns + len(sound.samples) * conversions.SECOND // sound.sample_rate
            self.meter.done((self.now_ns - end_ns) / conversions.SECOND)

    def _on_reset_place(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._perception is not NOT_CONFIGURED and self._perception.place.active
        if response.success:
            self._calibration = None
            self._perception.place.reset()
            self._save_place()
        response.message = "place forgotten" if response.success else NO_PLACE
        return response

    def _on_calibrate_place(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._audio is not None and self._perception.place.active
        if response.success:
            self._perception.place.reset()
            self._calibration = PlaceCalibration(self.parameters["place_calibration_s"])
        seconds = self.parameters["place_calibration_s"]
        response.message = f"learning from the next {seconds:g} s of speech" if response.success else NO_PLACE
        return response

    def _load_place(self) -> None:
        path = self.parameters["place_file"]
        if not path or not Path(path).exists():
            return
        try:
            self._perception.place.reset(load_place(Path(path)))
        except (ValueError, OSError) as error:  # a stale calibration must not keep the robot from starting
            self.reporter.report(f"place not used: {error}")

    def _save_place(self) -> None:
        path = self.parameters["place_file"]
        if path and self._perception is not NOT_CONFIGURED and self._perception.place.active:
            try:
                save_place(Path(path), self._perception.place.state)
            except OSError as error:
                self.reporter.report(f"place not saved: {error}")

    @property
    def _muted(self) -> bool:
        return time.monotonic() < self._muted_until


def main() -> int:
    """Console script ``acoustic_node``."""
    return run(AcousticNode)


if __name__ == "__main__":
    sys.exit(main())
