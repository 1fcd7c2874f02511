"""Feedback: kept only with its evidence, reviewed, and gone when its time is over."""

from __future__ import annotations

import io
import json
import stat
import wave

import cv2
import numpy as np
import pytest
from page_world import a_face, happy

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.store import Store
from emotion_perception.emotions import ANGRY, CALM, SAD
from emotion_perception.feedback.corrections import (
    CorrectionConfig,
    CorrectionError,
    Corrections,
    read_correction,
)
from emotion_perception.feedback.recent import RecentEvidence
from emotion_perception.types import VoiceObservation

S = 1_000_000_000
DAY = 86400.0


@pytest.fixture
def recent() -> RecentEvidence:
    """Ten seconds of one face and one voice."""
    made = RecentEvidence(reach_s=60)
    picture = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    for i in range(100):
        made.add_faces(picture, i * S // 10, [a_face("f1")])
        made.add_sound((np.sin(np.arange(1600) / 20) * 9000).astype(np.int16), 16000, i * S // 10)
    made.add_voice(VoiceObservation(9 * S, 1.5, "v1", 20.0, False, True, happy()))
    return made


@pytest.fixture
def kept(tmp_path, recent, clock) -> Corrections:
    return Corrections(CorrectionConfig(tmp_path / "corrections", retention_days=30), recent, clock=clock)


def test_a_corrected_face_is_kept_with_what_the_model_said(kept, tmp_path):
    made = kept.correct(SAD, face_id="f1", annotator="Ana", comment="grandmother's funeral")
    assert made["label"] == "sad" and made["said"] == "happy" and made["status"] == "pending"
    (fields,) = kept.listed()
    assert fields["annotator"] == "Ana" and fields["probabilities"][2] == pytest.approx(0.8)
    data, kind = kept.evidence(made["id"])
    face = cv2.imdecode(np.frombuffer(data, np.uint8), 1)
    assert kind == "image/jpeg" and face.shape == (240, 200, 3), "the box with half of it around it"


def test_only_the_robots_own_user_can_read_them(kept, tmp_path):
    kept.correct(SAD)
    for path in (tmp_path / "corrections/pending").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "corrections/pending").stat().st_mode) == 0o700


def test_every_folder_that_is_made_is_for_the_robots_own_user_alone(tmp_path, recent, clock):
    deep = tmp_path / "robot" / "corrections"
    Corrections(CorrectionConfig(deep), recent, clock=clock).correct(SAD)
    for folder in (tmp_path / "robot", deep, deep / "pending"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_corrected_voice_is_kept_as_the_stretch_that_was_judged(kept):
    made = kept.correct(CALM, voice_id="v1")
    data, kind = kept.evidence(made["id"])
    with wave.open(io.BytesIO(data)) as file:
        assert kind == "audio/wav" and file.getframerate() == 16000
        assert file.getnframes() == pytest.approx(1.5 * 16000, abs=2)


def test_a_moment_means_the_face_there_then(kept, recent):
    assert kept.correct(SAD, stamp_ns=4 * S)["stamp"] == pytest.approx(4.0, abs=0.5)


def test_a_stretch_keeps_some_faces_of_who_was_seen_most_in_it_and_its_speech(kept, recent):
    picture = np.zeros((480, 640, 3), np.uint8)
    recent.add_faces(picture, 10 * S, [a_face("f2")])
    made = kept.correct_stretch(SAD, 2 * S, 10 * S, "Ana")
    faces, voices = ([item for item in made if item["kind"] == kind] for kind in ("face", "voice"))
    assert len(faces) == 10 and {item["who"] for item in faces} == {"f1"}
    stamps = [item["stamp"] for item in faces]
    assert stamps == sorted(stamps) and stamps[0] == 2.0 and stamps[-1] > 8.5
    assert [(item["who"], item["label"]) for item in voices] == [("v1", "sad")]
    assert len({item["stretch"] for item in made}) == 1 and made[0]["stretch"]
    assert kept.correct(SAD)["stretch"] == ""


def test_of_a_stretch_the_utterances_are_kept_once_each_and_what_is_still_being_said(tmp_path, recent, clock):
    recent._faces.clear()
    for stamp, duration, final in ((2, 1.0, False), (3, 1.5, True), (6, 1.0, False), (6.5, 1.5, False), (9, 1.5, True)):
        recent.add_voice(VoiceObservation(int(stamp * S), duration, "v1", 20.0, False, final, happy()))
    recent._voices = type(recent._voices)(sorted(recent._voices, key=lambda voice: voice.stamp_ns))
    kept = Corrections(CorrectionConfig(tmp_path), recent, clock=clock)
    made = kept.correct_stretch(CALM, 1 * S, 7 * S)
    assert [(item["kind"], item["stamp"]) for item in made] == [("voice", 3.0), ("voice", 6.5)]
    with wave.open(io.BytesIO(kept.evidence(made[0]["id"])[0])) as file:
        assert file.getnframes() == pytest.approx(1.5 * 16000, abs=2)


def test_a_stretch_that_faces_do_not_show_means_its_speech(kept):
    (made,) = kept.correct_stretch(CALM, 7 * S, 9 * S)
    assert made["kind"] == "voice" and made["label"] == "calm", "there are faces, too, but no face is calm"


def test_a_stretch_without_a_face_means_its_speech(tmp_path, recent, clock):
    recent._faces.clear()
    (made,) = Corrections(CorrectionConfig(tmp_path), recent, clock=clock).correct_stretch(ANGRY, 7 * S, 9 * S)
    assert made["kind"] == "voice"


@pytest.mark.parametrize(
    ("label", "start", "end", "reason"),
    [
        (SAD, 9, 2, "0 to 30 s"),
        (SAD, 0, 31, "0 to 30 s"),
        (CALM, 2, 5, "faces do not show"),
        (8, 2, 5, "no emotion has the label"),
        (SAD, 200, 210, "no face or voice of that moment"),
    ],
)
def test_a_stretch_that_cannot_be_kept_is_refused_with_the_reason(kept, label, start, end, reason):
    with pytest.raises(CorrectionError, match=reason):
        kept.correct_stretch(label, start * S, end * S)
    assert kept.listed() == []


def test_where_no_face_was_the_voice_is_meant(tmp_path, recent, clock):
    recent._faces.clear()
    kept = Corrections(CorrectionConfig(tmp_path), recent, clock=clock)
    assert kept.correct(ANGRY, stamp_ns=8 * S)["kind"] == "voice"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"label": 8}, "no emotion has the label 8"),
        ({"label": -1}, "no emotion has the label -1"),
        ({"label": CALM, "face_id": "f1"}, "faces do not show 'calm'"),
        ({"label": SAD, "face_id": "gone"}, "no face 'gone' of that moment is at hand; the last 60 s are"),
        ({"label": SAD, "stamp_ns": 200 * S}, "no face or voice of that moment"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(kept, arguments, reason):
    with pytest.raises(CorrectionError, match=reason):
        kept.correct(**arguments)
    assert kept.listed() == []


def test_what_is_older_than_the_reach_is_not_even_in_memory(recent):
    recent.add_faces(np.zeros((480, 640, 3), np.uint8), 200 * S, [a_face("f2")])
    recent.add_sound(np.zeros(1600, np.int16), 16000, 200 * S)
    assert recent.face("f1", None) is None and recent.face("f2", None) is not None
    assert len(recent._sounds) == 1


def test_accepted_is_for_training_and_rejected_is_gone(kept, tmp_path):
    good, bad = kept.correct(SAD)["id"], kept.correct(ANGRY)["id"]
    kept.accept(good)
    kept.reject(bad)
    assert [(item["id"], item["status"]) for item in kept.listed()] == [(good, "accepted")]
    names = sorted(path.name for path in (tmp_path / "corrections").rglob("*.*"))
    assert names == [f"{good}.jpg", f"{good}.json"]
    assert read_correction(tmp_path / f"corrections/accepted/{good}.json")["label"] == "sad"


@pytest.mark.parametrize("name", ["nobody", "../../etc/passwd", "20261123T000000Z-abcdef", ""])
def test_an_id_that_is_none_leads_nowhere(kept, name):
    for act in (kept.accept, kept.reject, kept.evidence):
        with pytest.raises(CorrectionError, match="there is no correction"):
            act(name)


def test_after_the_retention_everything_of_it_is_deleted(kept, tmp_path, clock):
    first = kept.correct(SAD)["id"]
    kept.accept(first)
    clock.now += 20 * DAY
    second = kept.correct(ANGRY)["id"]
    clock.now += 11 * DAY
    assert [item["id"] for item in kept.listed()] == [second]
    assert not list((tmp_path / "corrections/accepted").glob("*.*"))


def test_delete_everything_leaves_nothing_on_disk_or_in_memory(kept, tmp_path, recent):
    kept.accept(kept.correct(SAD)["id"])
    kept.correct(ANGRY)
    assert kept.delete_all() == 2
    assert not list((tmp_path / "corrections").rglob("*.*")) and recent.face("", None) is None


def test_a_full_folder_takes_no_more(tmp_path, recent, clock):
    kept = Corrections(CorrectionConfig(tmp_path, max_mb=0.0001), recent, clock=clock)
    with pytest.raises(CorrectionError, match="holds 0.0001 MB already"):
        kept.correct(SAD)


def test_a_damaged_file_is_left_out_and_told(kept, tmp_path, clock):
    made = kept.correct(SAD)["id"]
    told: list[str] = []
    (tmp_path / f"corrections/pending/{made}.json").write_text("{")
    assert Corrections(kept.config, kept.recent, told.append, clock).listed() == []
    assert len(told) == 1 and made in told[0]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": NaN}', "\0", '{"format": 1}', "[]", '"\\ud800"'])
def test_a_damaged_file_hides_no_other_correction(kept, tmp_path, text):
    good, bad = kept.correct(SAD)["id"], kept.correct(ANGRY)["id"]
    (tmp_path / f"corrections/pending/{bad}.json").write_text(text)
    warnings: list[str] = []
    listed = Corrections(kept.config, kept.recent, warnings.append, lambda: kept._clock()).listed()
    assert [item["id"] for item in listed] == [good]
    assert len(warnings) == 1 and bad in warnings[0]


# --- through the server


def test_without_consent_nothing_can_be_kept_or_seen(serve):
    client = serve(Parts(Store()))
    for answer in (client.get("/api/corrections"), client.post("/api/corrections", '{"label": 3}')):
        assert answer.status == 409 and "was not consented to" in answer.error


def test_a_correction_goes_through_the_page_from_click_to_review(serve, kept):
    client = serve(Parts(Store(), corrections=kept))
    made = client.post("/api/corrections", json.dumps({"label": SAD, "face_id": "f1", "annotator": "<b>Ana</b>"})).json
    assert client.get(f"/api/corrections/{made['id']}/evidence").headers["Content-Type"] == "image/jpeg"
    assert client.post(f"/api/corrections/{made['id']}/accept").status == 200
    assert client.get("/api/corrections").json["corrections"][0]["status"] == "accepted"
    assert client.ask("DELETE", "/api/corrections").json == {"deleted": 1}


@pytest.mark.parametrize("body", ["", "[]", '{"label": "sad"}', '{"label": true}', '{"label": 3, "time": "x"}', "{"])
def test_a_correction_that_makes_no_sense_is_refused(serve, kept, body):
    answer = serve(Parts(Store(), corrections=kept)).post("/api/corrections", body)
    assert answer.status == 400 and answer.error
