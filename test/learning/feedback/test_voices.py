"""Learning from corrected voices: rehearsed, scored before and after, refused when worse, taken back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from emotion_perception.acoustic.emotion_classifier import VoiceEmotionClassifier
from emotion_perception.cli.train import main
from emotion_perception.emotions import EMOTIONS, VISUAL_EMOTIONS
from emotion_perception.errors import ModelError
from emotion_perception.feedback.corrections import CorrectionConfig, Corrections
from emotion_perception.feedback.model_versions import ModelVersions
from emotion_perception.feedback.recent import RecentEvidence
from emotion_perception.fusion.reliability import reliability_of
from emotion_perception.inference.cards import load_card
from emotion_perception.learning.feedback import learn as feedback
from emotion_perception.learning.feedback import voices as voice_feedback
from emotion_perception.learning.feedback.faces import FaceLearner
from emotion_perception.learning.feedback.voices import VoiceFeedbackTraining, VoiceLearner
from emotion_perception.learning.onnx_files import read_initializers
from emotion_perception.learning.voices.config import AcousticTraining
from emotion_perception.learning.voices.network import VoiceNetConfig
from emotion_perception.learning.voices.overlap import OverlapTraining
from emotion_perception.learning.voices.train import train
from emotion_perception.types import Box, EmotionEstimate, FaceObservation, VoiceObservation

TINY = AcousticTraining(
    epochs=12,
    batch=16,
    copies=1,
    learning_rate=0.01,
    encoder_rate=1.0,
    average_decay=0.9,
    longest_cut=1.0,
    noise_share=0.0,
    mixup_share=0.0,
    masked_bands=2,
    masked_share=0.05,
    net=VoiceNetConfig(channels=32, heads=2, layers=1, head=32, attention=16, dropout=0.1),
    overlap=OverlapTraining(mixtures=16, held=16, clips_per_speaker=2, epochs=1, batch=8),
)
QUICK = VoiceFeedbackTraining(steps=60, batch=16, learning_rate=0.01, interpolation=1.0, tolerance=0.1, base=TINY)
LOW, HIGH, STRANGE = (1, 4), (9, 14), (20, 26)  # harmonics: what is neutral, what is angry, what nobody trained with


def buzz(harmonics: tuple[int, int], rng: np.random.Generator, seconds: float = 0.9) -> np.ndarray:
    """A voice-like sound, (T,) float32: a gliding pitch of which some harmonics are loud."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    phase = 2 * np.pi * (rng.uniform(110, 160) * time + rng.uniform(2, 8) * np.sin(2 * np.pi * time))
    loud = sum(np.sin(k * phase) for k in range(*harmonics))
    return (0.1 * loud + 0.003 * rng.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RAVDESS-like actors who are neutral in a low buzz and angry in a high one."""
    data, rng = tmp_path_factory.mktemp("corpora"), np.random.default_rng(0)
    for actor in ("01", "02", "03", "19", "20", "21", "22"):
        folder = data / "ravdess_speech" / f"Actor_{actor}"
        folder.mkdir(parents=True)
        for code, harmonics in (("01", LOW), ("05", HIGH)):
            for take in range(6):
                soundfile.write(folder / f"03-01-{code}-01-0{take}-01-{actor}.flac", buzz(harmonics, rng), 16_000)
    return data


@pytest.fixture(scope="module")
def cache(corpora: Path) -> Path:
    return corpora.parent / "features"


@pytest.fixture(scope="module")
def base(corpora: Path, cache: Path) -> Path:
    """A model that tells neutral from angry, with a detector of overlapped speech and a measured reliability."""
    torch.set_num_threads(1)
    path = cache / "base.onnx"
    train(corpora, path, TINY, cache / "checkpoint")
    return path


def accept(folder: Path, harmonics: tuple[int, int], label: str, n: int = 24, status: str = "accepted") -> list[Path]:
    """Accepted corrections of voices, as the dashboard stores them."""
    (folder / status).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    made = []
    for i in range(n):
        path = folder / status / f"20261123T08{i // 60:02}{i % 60:02}Z-abcdef.json"
        soundfile.write(path.with_suffix(".wav"), buzz(harmonics, rng), 16_000, subtype="PCM_16")
        told = {"format": 1, "id": path.stem, "kind": "voice", "label": label, "said": "angry", "confidence": 0.9}
        path.write_text(json.dumps(told))
        made.append(path)
    return made


def learner(corpora: Path, cache: Path, config: VoiceFeedbackTraining = QUICK) -> VoiceLearner:
    return VoiceLearner(corpora, cache, config)


def test_corrected_sounds_become_right_and_the_rest_stays(corpora, cache, base, tmp_path):
    accept(tmp_path, STRANGE, "calm")
    versions = ModelVersions(tmp_path / "voice_models")
    report = feedback.train_from_feedback(tmp_path, learner(corpora, cache), versions, base)
    assert report["replaced"], report
    assert report["before"]["corrections_right"] == 0.0 and report["after"]["corrections_right"] > 0.8
    assert report["after"]["held_out_right"] > 0.8 and report["held_out"] >= 2, "learnt, not remembered"
    assert report["before"]["accuracy"] > 0.9 and report["after"]["accuracy"] >= report["before"]["accuracy"] - 0.1
    assert report["before"]["test_voices"] == {"ravdess_speech": 24}
    assert versions.card(2)["parent"] == 1 and versions.card(2)["scores"] == report["after"]
    classifier = VoiceEmotionClassifier(versions.link)
    assert classifier.classify(buzz(STRANGE, np.random.default_rng(99))).emotion.name == "calm", (
        "the robot says so, too"
    )


def test_interpolation_of_one_half_is_the_mean_of_old_and_trained_weights(corpora, cache, base, tmp_path):
    accept(tmp_path, STRANGE, "calm")
    found = {}
    for way in (0.0, 0.5, 1.0):
        made = learner(corpora, cache, replace(QUICK, steps=3, interpolation=way))
        made.prepare()
        net = made.load(base)
        torch.manual_seed(0)  # of the dropout
        feedback._fit(net, made, feedback.load_feedback(tmp_path, made), lambda *_: None)
        found[way] = net.state_dict()["emotion.weight"]
    torch.testing.assert_close(found[0.0], VoiceLearner(corpora, cache).load(base).state_dict()["emotion.weight"])
    torch.testing.assert_close(found[0.5], (found[0.0] + found[1.0]) / 2)
    assert not torch.allclose(found[0.0], found[1.0])


def test_what_is_beside_the_network_stays_and_it_is_calibrated_anew(corpora, cache, base, tmp_path):
    accept(tmp_path, STRANGE, "calm")
    versions = ModelVersions(tmp_path / "voice_models")
    assert feedback.train_from_feedback(tmp_path, learner(corpora, cache), versions, base)["replaced"]
    old, new = read_initializers(base), read_initializers(versions.path(2))
    assert old.keys() == new.keys()
    same = {name for name in old if np.array_equal(old[name], new[name])}
    assert {name for name in old if name.startswith("overlap.")} <= same and any("overlap." in name for name in old)
    assert {name for name in old if "running_" in name} <= same, "batch norms keep their statistics"
    assert "emotion.weight" not in same
    card, fresh = (load_card(path).to_mapping() for path in (base, versions.path(2)))
    for key in card.keys() - {"calibration", "population", "scores", "unfamiliar"}:
        assert fresh[key] == card[key], key
    assert fresh["calibration"] != card["calibration"] and fresh["feedback"]["steps"] == QUICK.steps
    assert reliability_of(str(versions.path(2))) is not None, "the model keeps its entry in fusion.yaml"


def test_a_model_that_got_worse_by_wrong_corrections_is_refused(corpora, cache, base, tmp_path):
    """Angry voices were said to be sad: what would be learnt costs more than it brings."""
    accept(tmp_path, HIGH, "sad")
    versions = ModelVersions(tmp_path / "voice_models")
    reckless = VoiceFeedbackTraining(
        steps=60, batch=16, learning_rate=0.02, feedback_share=0.9, interpolation=1.0, tolerance=0.1, base=TINY
    )
    report = feedback.train_from_feedback(tmp_path, learner(corpora, cache, reckless), versions, base)
    assert not report["replaced"] and "on the test split fell to" in report["reason"]
    assert versions.current == 1 and versions.link.read_bytes() == base.read_bytes()


def test_damaged_and_unaccepted_sounds_are_named_and_others_are_not_learnt_from(corpora, cache, base, tmp_path):
    some = accept(tmp_path, STRANGE, "calm", 7)
    some[0].with_suffix(".wav").write_bytes(b"no sound")
    soundfile.write(some[1].with_suffix(".wav"), buzz(LOW, np.random.default_rng(0), 0.1), 16_000)
    soundfile.write(some[2].with_suffix(".wav"), np.zeros(16_000, np.float32), 16_000)
    some[3].with_suffix(".wav").unlink()
    some[4].write_text(json.dumps({**json.loads(some[4].read_text()), "kind": "face"}))
    accept(tmp_path, STRANGE, "calm", 4, "pending")
    read = feedback.load_feedback(tmp_path, learner(corpora, cache))
    assert len(read.evidence) == 2 and read.pending == 4
    assert [text.partition(":")[0] for text in read.left_out] == [path.name for path in some[:4]]
    reasons = ("sound cannot be read", "0.08 s of speech", "sound is silent", "sound cannot be read")
    assert all(reason in text for text, reason in zip(read.left_out, reasons, strict=True))
    with pytest.raises(ValueError, match=r"accepted voices to learn from, at least 5 .*4 cannot be read.*4 are not"):
        feedback.train_from_feedback(tmp_path, learner(corpora, cache), ModelVersions(tmp_path / "voice_models"), base)
    assert not (tmp_path / "voice_models").exists()


def test_voices_of_one_stretch_are_learnt_or_held_out_together(corpora, cache, tmp_path):
    for i, path in enumerate(accept(tmp_path, STRANGE, "calm", 12)):
        path.write_text(json.dumps({**json.loads(path.read_text()), "stretch": f"stretch {i // 3}"}))
    held = feedback.load_feedback(tmp_path, learner(corpora, cache)).held_out.reshape(4, 3)
    assert (held == held[:, :1]).all()


def test_a_corrected_stretch_teaches_the_face_and_the_voice_model(corpora, cache, tmp_path):
    second = 1_000_000_000
    recent, sad = RecentEvidence(), EmotionEstimate.from_probabilities(np.eye(8, dtype=np.float32)[3])
    face = FaceObservation("f1", Box(40.0, 40.0, 60.0, 60.0), 0.9, 0.8, sad)
    picture = np.random.default_rng(0).integers(0, 255, (160, 160, 3), np.uint8)
    sound = (32767 * buzz(HIGH, np.random.default_rng(0), 2.0)).astype(np.int16)
    for i in range(4):
        recent.add_faces(picture, i * second // 2, [face])
    recent.add_sound(sound, 16_000, 0)
    recent.add_voice(VoiceObservation(2 * second, 1.8, "v1", 20.0, False, True, sad))
    kept = Corrections(CorrectionConfig(tmp_path), recent)
    for made in kept.correct_stretch(EMOTIONS.index("angry"), 0, 2 * second):
        kept.accept(made["id"])
    voices = feedback.load_feedback(tmp_path, learner(corpora, cache))
    faces = feedback.load_feedback(tmp_path, FaceLearner(tmp_path / "unread.npz"))
    assert len(voices.evidence) == 1 and len(faces.evidence) == 4
    assert set(voices.labels) == {EMOTIONS.index("angry")} and set(faces.labels) == {VISUAL_EMOTIONS.index("angry")}
    assert len({*voices.held_out, *faces.held_out}) == 1, "one stretch is learnt or held out as a whole"


def test_the_tolerance_fits_the_number_of_test_voices(corpora, cache):
    made = VoiceLearner(corpora, cache, VoiceFeedbackTraining(base=TINY))
    made.prepare()
    assert made.tolerance == pytest.approx((0.1 / 24) ** 0.5)


def test_versions_that_were_scored_on_other_voices_say_nothing():
    scores = {"accuracy": 0.7, "mean_recall": 0.7, "corrections_right": 0.5, "held_out_right": None}
    now, other = scores | {"test_voices": {"emodb": 90}}, scores | {"test_voices": {"nemo": 9}, "accuracy": 0.9}
    assert feedback.got_worse(now, now, [other, now], 0.01) == ""
    assert feedback.got_worse(now, now, [now | {"accuracy": 0.9}, now], 0.01)


def test_a_model_of_another_kind_is_refused_by_name(corpora, cache, tmp_path):
    accept(tmp_path, STRANGE, "calm")
    published = Path(__file__).parents[3] / "models/expression.onnx"
    versions = ModelVersions(tmp_path / "voice_models")
    with pytest.raises(ModelError, match="expression"):
        feedback.train_from_feedback(tmp_path, learner(corpora, cache), versions, published)
    assert versions.current is None


def test_one_command_trains_and_one_takes_back_and_the_faces_models_stay(
    corpora, cache, base, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(voice_feedback, "VoiceFeedbackTraining", lambda: QUICK)
    accept(tmp_path, STRANGE, "calm")
    faces = ModelVersions(tmp_path / "models")
    faces.add(base, {"scores": {}})
    command = ["acoustic", "--feedback", str(tmp_path)]
    training = ["--data", str(corpora), "--initial", str(base), "--checkpoint", str(cache / "x"), "--threads", "1"]
    assert main([*command, *training]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["version"] == 2
    assert main([*command, "--versions"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["version"], line["current"]) for line in lines] == [(1, False), (2, True)]
    assert main([*command, "--roll-back"]) == 0
    assert (tmp_path / "voice_models" / "current.onnx").read_bytes() == base.read_bytes()
    assert main([*command, "--roll-back"]) == 2
    assert "there is no version before 1" in capsys.readouterr().err
    assert faces.current == 1 and len(faces.cards()) == 1


def test_fusion_learns_from_no_feedback(capsys):
    with pytest.raises(SystemExit):
        main(["fusion", "--feedback", "somewhere", "--data", "."])
    assert "--feedback needs emotion-train visual or acoustic" in capsys.readouterr().err


def test_voice_feedback_is_learnt_in_the_measured_precision(corpora, cache, base, tmp_path, used_precisions):
    accept(tmp_path, STRANGE, "calm")
    config = replace(QUICK, steps=3)
    feedback.train_from_feedback(tmp_path, learner(corpora, cache, config), ModelVersions(tmp_path / "models"), base)
    assert used_precisions == [None, *[torch.bfloat16] * 3]
