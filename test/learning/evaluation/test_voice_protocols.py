"""How the voice model is measured: what is held out, how sure the numbers are, overlap, noise, the voice's baseline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import PUBLISHED, tone

pytest.importorskip("torch")

from emotion_perception.acoustic.adaptation import SpeakerBaseline
from emotion_perception.cli import evaluate
from emotion_perception.learning.evaluation import voice_protocols as protocols
from emotion_perception.learning.evaluation.noise_table import KINDS, SNRS_DB, noise_table
from emotion_perception.learning.evaluation.speaker_adaptation import draw_utterances, measure_adaptation
from emotion_perception.learning.evaluation.voice_ablation import VARIANTS, ablate
from emotion_perception.learning.voices.augmentation import add_noise_to_spectrogram
from emotion_perception.learning.voices.calibration import HeldOutLogits, fit_calibration, read_folds
from emotion_perception.learning.voices.config import AcousticTraining
from emotion_perception.learning.voices.corpora import load_speech
from emotion_perception.learning.voices.network import VoiceNetConfig
from emotion_perception.learning.voices.overlap import OverlapTraining, Voices, train_overlap

TINY = AcousticTraining(
    epochs=1,
    batch=16,
    copies=1,
    longest_cut=1.0,
    net=VoiceNetConfig(channels=16, heads=2, layers=1, head=16, attention=16),
)
ACTORS = ("01", "02", "05", "06", "19", "20", "21", "22")


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Buzzes of eight RAVDESS actors and three EmoDB speakers."""
    data = tmp_path_factory.mktemp("corpora")
    for actor in ACTORS:
        folder = data / "ravdess_speech" / f"Actor_{actor}"
        folder.mkdir(parents=True)
        for emotion in range(1, 9):
            sound = tone(0.8, level=0.1 + 0.02 * emotion)
            soundfile.write(folder / f"03-01-{emotion:02d}-01-01-01-{actor}.flac", sound, 16_000)
    (data / "emodb").mkdir()
    for speaker in ("03", "09", "15"):
        for code in "WLEAFTN":
            soundfile.write(data / "emodb" / f"{speaker}a01{code}a.flac", tone(0.7), 16_000)
    return data


def splits(data: Path):
    return [load_speech(data / name, "all") for name in ("ravdess_speech", "emodb")]


@pytest.mark.parametrize("protocol", protocols.PROTOCOLS)
def test_no_clip_trains_and_tests_in_one_fold(corpora: Path, protocol: str) -> None:
    for fold in protocols.FOLDS[protocol](splits(corpora), 7):
        for train, test in zip(fold.train, fold.test, strict=True):
            assert not (train & test).any()
            assert (train | test).all() or protocol == "cross-corpus"


def test_no_speaker_trains_and_tests_in_one_fold_and_each_is_tested_once(corpora: Path) -> None:
    corpus = splits(corpora)
    tested: list[str] = []
    for fold in protocols.leave_speakers_out(corpus, 7):
        for split, train, test in zip(corpus, fold.train, fold.test, strict=True):
            assert not set(split.speakers[train]) & set(split.speakers[test])
            tested += sorted(set(split.speakers[test]))
    assert sorted(tested) == sorted({speaker for split in corpus for speaker in split.speakers})


def test_the_random_split_takes_as_much_of_every_label_and_follows_its_seed(corpora: Path) -> None:
    ravdess, _ = splits(corpora)
    test = protocols.random_split(splits(corpora), 7)[0].test
    assert np.bincount(ravdess.labels[test[0]]).tolist() == [2] * 8
    assert not test[1].any()
    assert (protocols.random_split(splits(corpora), 7)[0].test[0] == test[0]).all()
    assert (protocols.random_split(splits(corpora), 8)[0].test[0] != test[0]).any()


def test_another_corpus_tests_what_never_heard_it(corpora: Path) -> None:
    folds = protocols.cross_corpus(splits(corpora), 7)
    assert [(fold.train[0].all(), fold.test[0].all()) for fold in folds] == [(False, True), (True, False)]


def test_a_protocol_trains_tests_and_goes_on_where_it_stopped(corpora: Path, tmp_path: Path, capsys) -> None:
    config = tmp_path / "tiny.yaml"
    config.write_text(
        "batch: 16\ncopies: 1\nlongest_cut: 1.0\nnet: {channels: 16, heads: 2, layers: 1, head: 16, attention: 16}\n"
    )
    command = ["acoustic", "--protocol", "leave-speakers-out", "--data", str(corpora), "--out", str(tmp_path / "out")]
    command += ["--config", str(config), "--epochs", "1"]
    assert evaluate.main([*command, "--folds", "1"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [fold["fold"] for fold in first["folds"]] == ["fold_01"]
    written = (tmp_path / "out" / "fold_01.npz").stat().st_mtime_ns
    assert evaluate.main(command) == 0
    both = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (tmp_path / "out" / "fold_01.npz").stat().st_mtime_ns == written
    assert len(both["folds"]) == 3
    pooled = both["pooled"]["ravdess_speech"]
    assert (pooled["n"], pooled["speakers"]) == (64, 8)
    assert both["all"]["n"] == sum(scores["n"] for scores in both["pooled"].values()) > 64
    assert pooled["accuracy_95"][0] <= pooled["accuracy"] <= pooled["accuracy_95"][1]
    assert (tmp_path / "out" / "ravdess_speech" / "report.json").exists()
    assert not {"ravdess_speech/21", "ravdess_speech/22"} & set(read_folds(tmp_path / "out").speakers)
    with pytest.raises(ValueError, match="another protocol or configuration"):
        protocols.run_protocol("leave-speakers-out", corpora, tmp_path / "out", [replace(TINY, seed=8)])
    rows = measure_adaptation(tmp_path / "out", tmp_path / "adaptation")
    assert {row["strength"] for row in rows} == {0.0, 0.5, 1.0}
    assert all(row["gain"] == 0 for row in rows if row["strength"] == 0)


def test_a_stage_begins_with_what_the_one_before_it_learnt(corpora: Path, tmp_path: Path) -> None:
    learns, keeps = replace(TINY, epochs=1), replace(TINY, epochs=0)
    found = []
    for stages in ([learns], [learns, keeps], [keeps]):
        out = tmp_path / str(len(found))
        protocols.run_protocol("random", corpora, out, stages)
        found.append(HeldOutLogits.load(out / "random.npz").logits)
        assert not list(out.glob("*.checkpoint"))
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_alike_clips_of_one_voice_widen_the_interval() -> None:
    hit = np.repeat(np.arange(10) % 2, 20).astype(float)
    of_clips = protocols.interval(lambda rows: float(hit[rows].mean()), np.arange(200))
    of_voices = protocols.interval(lambda rows: float(hit[rows].mean()), np.repeat(np.arange(10), 20))
    assert of_clips[0] < 0.5 < of_clips[1]
    assert of_voices[1] - of_voices[0] > 3 * (of_clips[1] - of_clips[0])


def test_a_clip_has_no_say_in_how_sure_the_network_is_of_it() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(8, size=400)
    logits = rng.normal(size=(4, 400, 8)).astype(np.float32)
    logits[:, np.arange(400), labels] += 2
    verdicts = HeldOutLogits(logits, np.full((4, 400), 2, np.float32), labels, np.array(["ravdess_speech/01"] * 400))
    folds = {"fold_01": verdicts.where(np.arange(400) < 200), "fold_02": verdicts.where(np.arange(400) >= 200)}
    scores = protocols.score_folds(folds, by_clip=True)
    sharper = replace(folds["fold_01"], logits=100 * folds["fold_01"].logits)
    changed = protocols.score_folds({**folds, "fold_01": sharper}, by_clip=True)
    assert scores["folds"][0]["ravdess_speech"]["ece"] < 0.12 < changed["folds"][0]["ravdess_speech"]["ece"]
    assert fit_calibration(sharper)["scale"] < 0.1 * fit_calibration(folds["fold_01"])["scale"]


def test_noise_in_a_spectrogram_has_the_ratio_asked_for() -> None:
    rng = np.random.default_rng(0)
    speech, noise = 10 * rng.normal(size=(100, 80)), 10 * rng.normal(size=(30, 80))
    noisy = add_noise_to_spectrogram(speech.astype(np.float32), [noise.astype(np.float16)], 6.0)
    power = 10 ** (speech / 10)
    assert 10 * np.log10(power.mean() / (10 ** (noisy / 10) - power).mean()) == pytest.approx(6.0, abs=0.05)


def test_noise_goes_on_before_and_after_the_speech() -> None:
    rng = np.random.default_rng(0)
    speech, noise = 10 * rng.normal(size=(100, 80)).astype(np.float32), np.zeros((30, 80), np.float32)
    noisy = add_noise_to_spectrogram(speech, [noise], 6.0, before=20, after=7)
    assert noisy.shape == (127, 80)
    around = np.concatenate([noisy[:20], noisy[120:]])
    assert np.ptp(around) < 1e-3 and (noisy[20:120] > around.max()).mean() > 0.99
    loudness = 10 * np.log10((10 ** (speech / 10)).mean())
    assert loudness - around.mean() == pytest.approx(6.0, abs=0.05)


def test_mixtures_are_of_one_corpus_and_of_one_to_as_many_as_it_has(corpora: Path) -> None:
    voices = Voices([split.where(split.held_for("test")) for split in splits(corpora)], 2, 0)
    assert [len(corpus) for corpus in voices.corpora] == [2]  # EmoDB has one test speaker here, and nobody to mix with
    mixtures = voices.mixtures(12, 0)
    assert np.bincount(mixtures.speakers).tolist() == [0, 6, 6]
    assert {len(mel) for mel in mixtures.mel} != {len(mixtures.mel[0])}


def test_the_detector_of_overlap_says_how_well_it_does(corpora: Path) -> None:
    config = OverlapTraining(mixtures=32, held=32, clips_per_speaker=2, epochs=1, batch=8)
    _, card = train_overlap(splits(corpora), None, config)
    assert 0 <= card["auc_95"][0] <= card["auc"] <= card["auc_95"][1] <= 1
    assert 0 < card["threshold"] < 1
    assert card["test_mixtures"] == 32


def test_the_noise_table_has_every_noise_at_every_ratio(corpora: Path, tmp_path: Path) -> None:
    table = noise_table(corpora / "ravdess_speech", "test", tmp_path, PUBLISHED, clips=2)
    assert table["n"] == 2
    assert [(row["noise"], row["snr_db"]) for row in table["rows"]] == [
        ("none", None),
        *((kind, snr) for kind in KINDS for snr in SNRS_DB),
    ]
    assert len((tmp_path / "noise_table.md").read_text().splitlines()) == 2 + 1 + len(KINDS) * len(SNRS_DB)


def test_the_ablation_trains_every_variant_and_says_what_it_gains(corpora: Path, tmp_path: Path) -> None:
    rows = ablate(corpora, tmp_path, TINY, seeds=1)
    assert [row["variant"] for row in rows if "tested" not in row["variant"]] == list(VARIANTS)
    assert rows[0]["gain"] == 0
    assert (tmp_path / "ablation.json").exists()
    stamps = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*_0.npz"))]
    assert ablate(corpora, tmp_path, TINY, seeds=1) == rows
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("*_0.npz"))] == stamps


def test_a_baseline_is_believed_more_the_longer_a_voice_is_known() -> None:
    own = np.array([0, 0, 0, 2, 0, 0, 0, 0], np.float32)
    baseline = SpeakerBaseline(np.zeros(8), 1.0)
    left = []
    for _ in range(50):
        left.append(float(baseline.normalise(own)[3]))
        baseline.add(own)
    assert left[0] == 2
    assert all(np.diff(left) < 0)
    assert left[-1] < 0.3
    baseline.reset()
    assert baseline.normalise(own)[3] == 2
    with pytest.raises(ValueError, match="strength"):
        SpeakerBaseline(np.zeros(8), 2.0)


def test_a_lasting_mood_has_one_emotion_in_most_utterances() -> None:
    labels = np.repeat(np.arange(8), 10)
    heard = labels[draw_utterances(labels, 2 / 3, np.random.default_rng(0))]
    assert np.bincount(heard).max() / len(heard) == pytest.approx(2 / 3, abs=0.02)
    assert sorted(draw_utterances(labels, 0.0, np.random.default_rng(0))) == list(range(80))
