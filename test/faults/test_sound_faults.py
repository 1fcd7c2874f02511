"""A microphone with gaps, jumps and nonsense: told once, counted, and worked on again at once."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from node_world import World, now_header
from stage import Ear

from emotion_msgs.msg import AudioChunk
from emotion_perception.ros import conversions
from emotion_perception.types import SECOND

Measured = Callable[[str, str, float | str], None]
HOUR = 3600 * SECOND


def test_gaps_jumps_and_repeated_chunks(ros: World, measured: Measured):
    ear = Ear(ros)
    end = ear.say(time.time_ns(), 1.0, live=True)  # stamps more than 1 s ahead of the clock would be corrected
    end = ear.say(end + SECOND // 2, 1.0, live=True)  # half a second is missing
    measured("half a second of sound is missing", "voices on either side of the gap", ear.listens(end))
    assert any("missing" in line or "gap" in line for line in ear.told), ear.told
    for hours in (1, -1):
        began = time.time_ns() + hours * HOUR
        measured(f"the microphone's clock is {hours:+d} h off", "its sound starts afresh", ear.listens(began))
    ros.spin(6.0)  # after 5 quiet seconds the next backward stamp is a burst of its own, and is told
    told = len(ear.told)
    now = time.time_ns()
    header = conversions.make_header(now, "microphone")
    for _ in range(20):
        ear.microphone.publish(conversions.audio_to_message(ear.second[:320], ear.RATE, header))
    ros.spin(0.3)
    measured("duplicate stamps of sound", "the repeated chunks are dropped", ear.listens(now + SECOND))
    assert len(ear.told) > told
    assert ear.node.state_label == "active"


def test_nonsense_chunks(ros: World, measured: Measured):
    ear = Ear(ros)
    end = ear.say(time.time_ns(), 0.5)
    nonsense = [
        AudioChunk(header=now_header(), sample_rate=0, channels=1, samples=[1, 2, 3]),
        AudioChunk(header=now_header(), sample_rate=16_000, channels=0, samples=[1, 2, 3]),
        AudioChunk(header=now_header(), sample_rate=16_000, channels=2, samples=[1, 2, 3]),
        AudioChunk(header=now_header(), sample_rate=16_000, channels=1),
    ]
    for message in nonsense * 3:
        ear.microphone.publish(message)
    assert ros.until(lambda: ear.node.meter.rejected >= 12)
    assert len(ear.told) <= len(nonsense) + 1, "each kind once"
    measured("sound of no rate, no channels, half a sample", "nothing of it", ear.listens(end + SECOND))


def test_clipped_and_silent_sound_is_survived(ros: World, measured: Measured):
    ear = Ear(ros)
    end = time.time_ns()
    for level in (np.int16(32767), np.int16(0)):
        ear.second = np.full(ear.RATE, level, np.int16)
        end = ear.say(end, 1.0)
    voices = len(ear.voices)
    ear.second = (3000 * np.sin(np.arange(ear.RATE) * 0.05)).astype(np.int16)
    measured("sound is clipped, then dead silent", "no voice of it" if not voices else "voices", ear.listens(end))
    assert voices == 0
