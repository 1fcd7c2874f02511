"""The recipes of docs/extending.md work in the whole package, not only in their own code blocks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bags
import numpy as np
from rosbags.typesys import get_types_from_msg

from emotion_perception.media.files import MediaAudio, open_media

RunPage = Callable[..., dict[str, Any]]
PAGE = "docs/extending.md"


def test_a_recording_with_the_added_audio_message_is_read(run_page: RunPage, tmp_path: Path):
    run_page(PAGE, "Another audio message")
    store = bags.typestore()
    kind = "my_robot_msgs/msg/Microphone"
    store.register(get_types_from_msg("std_msgs/Header header\nuint32 rate\nfloat32[] data\n", kind))
    speaker = bags.Speaker(store)
    sound = np.linspace(-0.5, 0.5, 1600, dtype=np.float32)
    messages = [
        ("/sound", kind, bags.START, speaker.make(kind, header=speaker.header(at / 10), rate=16_000, data=sound))
        for at in range(5)
    ]
    path = bags.write(tmp_path / "bag", store, messages)
    with open_media(path) as recording:
        items = [item for item in recording.read() if isinstance(item, MediaAudio)]
    assert [item.sample_rate for item in items] == [16_000] * 5
    np.testing.assert_allclose(items[2].samples[:, 0] / 32768, sound, atol=1 / 32768)
