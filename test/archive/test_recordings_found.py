"""Which recordings there are, where and when they were made."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import bags
import numpy as np
import pytest
from archive_world import FPS, portrait, wall
from clips import write_clip

from emotion_perception.archive.recordings import ArchiveRecording, batches, find_recordings, recorded_at
from emotion_perception.media.items import MediaFrame
from emotion_perception.media.opening import open_media


@pytest.fixture
def shops(tmp_path) -> Path:
    """Files of two shops; nobody looks into them here."""
    for name in ("shop_a/mon/cam1.mp4", "shop_a/tue/cam1.MKV", "shop_b/talk.wav", "entrance.jpg", ".hidden/x.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "shop_a/notes.txt").write_text("no media")
    return tmp_path


def names(found) -> dict[str, str]:
    return {Path(r.path).name: r.place for r in found.recordings}


def test_a_folder_is_searched_and_each_place_is_the_folder_right_below_it(shops):
    found = find_recordings([str(shops)])
    assert names(found) == {
        "cam1.MKV": "shop_a",
        "cam1.mp4": "shop_a",
        "talk.wav": "shop_b",
        "entrance.jpg": shops.name,
    }
    assert found.passed_over == 1 and found.missing == ()


def test_a_named_file_is_taken_whatever_it_is_called_and_globs_go_through_folders(shops):
    assert names(find_recordings([str(shops / "shop_a/notes.txt")])) == {"notes.txt": "shop_a"}
    assert names(find_recordings([str(shops / "**/*.mp4")])) == {"cam1.mp4": "mon"}
    assert find_recordings([str(shops / "*.avi")]).missing == (str(shops / "*.avi"),)


def test_a_recording_that_is_found_twice_is_there_once(shops):
    assert len(find_recordings([str(shops), str(shops / "shop_b/talk.wav"), str(shops / "shop_b")]).recordings) == 4


def test_a_file_that_changes_is_another_recording(shops):
    (before,) = find_recordings([str(shops / "shop_b")]).recordings
    (same,) = find_recordings([str(shops / "shop_b")]).recordings
    os.utime(shops / "shop_b/talk.wav", ns=(0, before.modified_ns + 1_000_000))
    (after,) = find_recordings([str(shops / "shop_b")]).recordings
    assert before == same and before.id != after.id


def test_a_bag_is_one_recording_and_begins_at_its_first_stamp(tmp_path):
    speaker = bags.Speaker(bags.typestore())
    frames = [MediaFrame(i / FPS, image) for i, image in enumerate(portrait(0.5))]
    bag = bags.write(tmp_path / "robot/bag", speaker.store, bags.film_messages(speaker, frames))
    (recording,) = find_recordings([str(tmp_path / "robot")]).recordings
    assert recording.path == str(bag) and recording.size > 1000
    with open_media(bag) as media:
        assert recorded_at(recording, media) == (bags.START, "stamps")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2026-11-25_14-30-05.mp4", datetime(2026, 11, 25, 13, 30, 5, tzinfo=timezone.utc)),
        ("cam3_20260701T093000_front.mp4", datetime(2026, 7, 1, 7, 30, tzinfo=timezone.utc)),
        ("20269999_999999.mp4", None),
    ],
)
def test_a_date_in_the_name_is_local_time(tmp_path, name, expected):
    path = write_clip(tmp_path / name, wall(0.5), fps=FPS)
    (recording,) = find_recordings([str(path)]).recordings
    with open_media(path) as media:
        began, told_by = recorded_at(recording, media, ZoneInfo("Europe/Berlin"))
    if expected is None:
        assert told_by == "file" and began == recording.modified_ns - 500_000_000
    else:
        assert (began, told_by) == (round(expected.timestamp()) * 1_000_000_000, "name")


def test_small_recordings_are_put_together_and_large_ones_stand_alone():
    sizes = [1, 1, 1, 50, 1, 1]
    made = [ArchiveRecording(str(i), f"/{i}", "", size, 0) for i, size in enumerate(sizes)]
    assert [[r.size for r in batch] for batch in batches(made, 2, 10)] == [[1, 1], [1], [50], [1, 1]]
    assert np.sum([len(batch) for batch in batches(made, 100, 1)]) == 6
