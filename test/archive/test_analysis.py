"""From recordings to rows: segments, faces, voices, and that the parts do not depend on how they are reached."""

from __future__ import annotations

import itertools
import weakref
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import bags
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from archive_world import CREMAD, FPS, SIZE, actor, analyse, marker, mono, portrait, rows, wall
from clips import RATE, write_clip
from skimage import data

from emotion_perception.archive.analysis import BATCH, Analyser, Part, Settings, Shot, count_parts
from emotion_perception.archive.schema import SEGMENTS, arrow_schema
from emotion_perception.media.items import LazyFrame, MediaAudio, MediaFrame, thumbnail_of
from emotion_perception.media.opening import open_media


@pytest.fixture(scope="module")
def analyser() -> Analyser:
    return Analyser(Settings(part_s=5.0))


@pytest.fixture(scope="module")
def archive(film, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("archive")
    analyse(out, film)
    return out


def test_shots_are_found_and_each_face_in_them_has_a_row(archive, film):
    shots = rows(archive, kind="shot")
    assert [(shot["opened_by"], shot["start_s"], shot["end_s"]) for shot in shots] == [
        ("start", 0.0, pytest.approx(4.0)),
        ("cut", pytest.approx(4.0), pytest.approx(8.0)),
        ("cut", pytest.approx(8.0), pytest.approx(12.0)),
    ]
    faces = rows(archive, kind="face")
    assert [(face["segment"], face["subject"], face["label"]) for face in faces] == [
        (0, "face_1", "happy"),
        (2, "face_1", "happy"),
    ]
    first = faces[0]
    assert first["samples"] == len(first["course"]) == 20 and first["confidence"] > 0.8 and first["valence"] > 0.5
    assert sum(first["probabilities"]) == pytest.approx(1, abs=1e-5)
    look = first["course"][5]
    assert look["time_s"] == pytest.approx(1.0)
    assert look["x"] < 160 < look["x"] + look["width"]
    assert {row["path"] for row in faces} == {str(film)} and {row["place"] for row in faces} == {"shop_a"}


def test_rows_know_the_calendar_by_the_file_s_name(archive):
    began = [shot["began_at"] for shot in rows(archive, kind="shot")]
    assert began[1] == datetime(2026, 11, 25, 14, 30, 4, tzinfo=timezone.utc)


def test_a_file_of_rows_has_the_documented_columns(archive):
    (file,) = archive.glob("segments/*/*.parquet")
    assert pq.ParquetFile(file).schema_arrow.equals(arrow_schema(SEGMENTS))


def test_the_marker_sums_a_recording_up_and_its_arc_lies_beside(archive, film):
    told = marker(archive, film)
    assert told["status"] == "done" and told["duration_s"] == pytest.approx(12, abs=0.1)
    assert (told["shots"], told["faces"], told["voices"]) == (3, 2, 0)
    assert told["summary"]["emotion"]["label"] == "happy" and 0.5 < told["summary"]["coverage"]["any"] < 0.85
    arc = pq.ParquetFile(archive / f"arcs/recording={told['recording']}/arc.parquet").read().to_pylist()
    assert [step["label"] for step in arc[1:3]] == ["happy", "happy"]
    assert arc[6]["status"] == "NO_EVIDENCE" and arc[6]["valence"] is None
    assert "Emotional arc" in (archive / f"arcs/recording={told['recording']}/arc.html").read_text()


def test_a_part_is_the_same_whether_the_film_was_read_to_it_or_sought_in(analyser, film):
    with open_media(film) as media:
        through = list(analyser.observe(media))
        assert [(part.start, round(part.end, 1)) for part in through] == [(0.0, 5.0), (5.0, 10.0), (10.0, 12.0)]
        assert [[shot.opened_by for shot in part.shots] for part in through] == [
            ["start", "cut"],
            ["part", "cut"],
            ["part"],
        ]
        for number in (2, 1):
            (alone,) = analyser.observe(media, number, number)
            ours, theirs = (
                analyser.rows(part, faces)
                for part, faces in zip((alone, through[number]), analyser.read([alone, through[number]]), strict=True)
            )
            assert [row["kind"] for row in ours] == [row["kind"] for row in theirs]
            for mine, other in zip(ours, theirs, strict=True):
                assert mine["start_s"] == pytest.approx(other["start_s"], abs=1e-6)
                assert [look["time_s"] for look in mine["course"]] == pytest.approx(
                    [look["time_s"] for look in other["course"]]
                )
                if mine["kind"] == "face":
                    np.testing.assert_allclose(mine["probabilities"], other["probabilities"], atol=1e-6)


def test_parts_that_are_there_already_are_passed_over(analyser, film):
    with open_media(film) as media:
        assert [part.number for part in analyser.observe(media, skip=frozenset({0, 1}))] == [2]


def test_a_face_is_read_the_same_in_any_company(analyser):
    picture = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    (face,) = analyser.visual.detect_still(picture)
    others = [cv2.flip(face.crop, 0)] * (BATCH + 3)

    def part(crops):
        return Part(0, 0, 1, (Shot("start", 0, 1, [(0.0, tuple(replace(face, crop=crop) for crop in crops))]),), (), 0)

    ((alone,), crowd) = analyser.read([part([face.crop]), part([*others, face.crop])])
    np.testing.assert_array_equal(alone.emotion.probabilities, crowd[-1].emotion.probabilities)
    assert len(crowd) == BATCH + 4


def test_utterances_are_found_and_cut_where_a_part_ends(tmp_path, analyser, speech):
    silence = np.random.default_rng(0).normal(0, 8, 2 * RATE).astype(np.int16)
    sound = np.concatenate([silence, speech, silence, speech])  # speech at about 2.4 and 6.8 s
    path = write_clip(tmp_path / "talk.wav", samples=sound, audio_codec="pcm_s16le")
    out = tmp_path / "out"
    analyse(out, path)
    whole = rows(out, kind="voice")
    assert len(whole) == 2
    lag = 2 + len(speech) / RATE
    assert whole[1]["start_s"] - whole[0]["start_s"] == pytest.approx(lag, abs=0.3)
    assert all(row["course"][-1]["final"] and row["subject"] == "voice" for row in whole)
    assert all(0.8 < row["end_s"] - row["start_s"] < 3 for row in whole)
    assert whole[0]["label"] == whole[1]["label"]

    middle = whole[0]["start_s"] + 0.65
    cut = tmp_path / "cut"
    analyse(cut, path, part_s=middle)
    first, second, *_ = rows(cut, kind="voice")
    assert first["end_s"] == pytest.approx(middle, abs=0.05) and second["start_s"] >= first["end_s"] - 1e-6
    assert (first["part"], second["part"]) == (0, 1)
    assert (first["opened_by"], second["opened_by"]) == ("speech", "part")


@pytest.mark.skipif(not CREMAD.exists(), reason="CREMA-D's clips are not on this machine")
def test_a_film_of_clips_in_known_order_gives_back_segments_and_labels(tmp_path):
    order = ("HAP", "NEU", "ANG", "HAP", "SAD", "NEU")
    pictures = {name: actor(name) for name in set(order)}
    sounds = {name: mono(CREMAD / f"1001_DFA_{name}_XX.flv") for name in set(order)}
    film, sound, limits = [], [], [0.0]
    for name in order:
        length = round(len(pictures[name]) / 30 * RATE)
        film += pictures[name]
        sound.append(np.pad(sounds[name], (0, max(0, length - len(sounds[name]))))[:length])
        limits.append(len(film) / 30)
    path = write_clip(tmp_path / "composite.mp4", film, np.concatenate(sound), fps=30)
    out, alone = tmp_path / "out", tmp_path / "alone"
    analyse(out, path)
    analyse(alone, *(CREMAD / f"1001_DFA_{name}_XX.flv" for name in set(order)))

    shots = rows(out, kind="shot")
    assert len(shots) == len(order)
    np.testing.assert_allclose([shot["start_s"] for shot in shots], limits[:-1], atol=0.3)
    np.testing.assert_allclose([shot["end_s"] for shot in shots], limits[1:], atol=0.3)

    def by_clip(kind: str) -> dict[str, dict]:
        return {Path(row["path"]).stem.split("_")[2]: row for row in rows(alone, kind=kind)}

    seen = by_clip("face")
    faces = rows(out, kind="face")
    assert [face["segment"] for face in faces] == list(range(len(order)))
    assert [face["label"] for face in faces] == [seen[name]["label"] for name in order]
    assert [face["label"] for face, name in zip(faces, order, strict=True) if name in ("HAP", "NEU")] == [
        "happy",
        "neutral",
        "happy",
        "neutral",
    ]
    heard = by_clip("voice")
    said = rows(out, kind="voice")
    spoken = [(begin, name) for begin, name in zip(limits, order, strict=False) if name in heard]
    assert len(said) == len(spoken) >= 4
    for row, (begin, name) in zip(said, spoken, strict=True):
        assert row["start_s"] == pytest.approx(begin + heard[name]["start_s"], abs=0.3)
        assert row["end_s"] == pytest.approx(begin + heard[name]["end_s"], abs=0.3)


def test_pictures_bags_and_sounds_are_recordings_too(tmp_path):
    picture = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    cv2.imwrite(str(tmp_path / "crop.png"), cv2.resize(picture[60:170, 170:280], (48, 48)))
    speaker = bags.Speaker(bags.typestore())
    frames = [MediaFrame(i / FPS, image) for i, image in enumerate([*portrait(1), *wall(1)])]
    messages = [speaker.compressed(frame) for frame in frames]
    bag = bags.write(tmp_path / "bag", speaker.store, messages)
    sqlite = bags.write(tmp_path / "bag3", speaker.store, messages, bags.StoragePlugin.SQLITE3)
    out = tmp_path / "out"
    tally, _ = analyse(out, tmp_path, part_s=1.0)
    assert tally.done == 4 and not tally.troubles
    assert [row["label"] for row in rows(out, kind="face")] == ["happy"] * 4
    for recording in (bag, sqlite):
        shots = rows(out, kind="shot", path=str(recording))
        assert [(shot["part"], shot["start_s"]) for shot in shots] == [(0, 0.0), (1, 1.0)]
        assert shots[0]["began_at"] == datetime.fromtimestamp(bags.START / 1e9, timezone.utc)


class Endless:
    """A film and its sound without end; counts how many of its pictures and blocks are held at once."""

    has_video = has_audio = seekable = True
    is_image = False
    duration = None
    fps = 10.0
    errors = 0

    def __init__(self) -> None:
        self.alive = self.most = 0

    def _count(self, thing):
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(thing, self._gone)
        return thing

    def _gone(self) -> None:
        self.alive -= 1

    def frames(self, start: float = 0.0, interval: float = 0.0):
        for i in itertools.count(round(start * 10)):
            image = self._count(np.full((*SIZE, 3), 90, np.uint8))
            yield LazyFrame(i / 10, i % 2 == 0, lambda x=image: x, lambda x=image: thumbnail_of(x[..., 0]))

    def sound(self, start: float = 0.0):
        for i in itertools.count(round(start * 10)):
            yield MediaAudio(i / 10, self._count(np.zeros((800, 1), np.int16)), 8000)


def test_however_long_a_recording_is_little_of_it_is_held():
    media = Endless()
    parts = Analyser(Settings(part_s=30.0)).observe(media)
    assert [part.number for part in itertools.islice(parts, 3)] == [0, 1, 2]
    assert media.most < 120  # some pictures, and the 5 s of sound that lead the next part twice: not 30 s


def test_what_a_container_states_a_little_wrong_makes_no_part_of_its_own():
    assert [count_parts(s, 120.0) for s in (None, 0.0, 119.0, 121.0, 132.5, 240.0, 3600.0)] == [1, 1, 1, 1, 2, 2, 30]


def test_recordings_of_an_upside_down_camera_are_turned_on_request(tmp_path):
    upright, turned = tmp_path / "upright.mp4", tmp_path / "turned.mp4"
    write_clip(upright, portrait(2), fps=FPS)
    write_clip(turned, [np.ascontiguousarray(frame[::-1, ::-1]) for frame in portrait(2)], fps=FPS)
    analyse(tmp_path / "a", upright)
    analyse(tmp_path / "b", turned, image_rotation="180")
    expected, found = (rows(tmp_path / name, kind="face") for name in ("a", "b"))
    assert [row["label"] for row in found] == [row["label"] for row in expected] and found
    assert found[0]["quality"] == pytest.approx(expected[0]["quality"], abs=0.05)


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match="part_s"):
        Settings(part_s=0.0)
