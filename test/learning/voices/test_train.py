"""Corpora, their masks and splits, and the training of the voice model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sounds import DATA, PUBLISHED, card_of, tone

from emotion_perception.acoustic.emotion_classifier import VoiceEmotionClassifier
from emotion_perception.acoustic.features import log_mel
from emotion_perception.emotions import ANGRY, CALM, DISGUSTED, FEARFUL, HAPPY, NEUTRAL, SAD, SURPRISED
from emotion_perception.errors import ModelError
from emotion_perception.learning.onnx_files import read_initializers
from emotion_perception.learning.voices import augmentation as augmentation
from emotion_perception.learning.voices.calibration import HeldOutLogits, fit_calibration
from emotion_perception.learning.voices.config import AcousticTraining
from emotion_perception.learning.voices.corpora import corpus_labels, load_speech
from emotion_perception.learning.voices.dataset import Speech, Targets
from emotion_perception.learning.voices.features import FeatureBank
from emotion_perception.learning.voices.network import SpeechEncoder, VoiceNet, VoiceNetConfig
from emotion_perception.learning.voices.overlap import OverlapTraining
from emotion_perception.learning.voices.train import (
    adamw,
    describe_corpora,
    emotion_loss,
    intensity_loss,
    interpolate,
    train,
)
from emotion_perception.learning.voices.weights import load_initial, load_voice, publish_voice, save_encoder

AVAILABLE = ("ravdess_speech", "emodb", "nemo", "tess", "ased")  # in the folder of test data
needs_data = pytest.mark.skipif(
    not all((DATA / name).is_dir() for name in AVAILABLE), reason="the speech corpora are not in ../shared/data"
)
TINY = AcousticTraining(
    epochs=2,
    batch=8,
    copies=2,
    longest_cut=1.2,
    net=VoiceNetConfig(channels=16, heads=2, layers=1, head=16, attention=16),
    overlap=OverlapTraining(mixtures=16, held=16, clips_per_speaker=2, epochs=1, batch=8),
)


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """A few buzzes named like RAVDESS (actors 1, 2 and 19 to 22) and EmoDB (speakers 03, 09 and 15)."""
    data = tmp_path / "data"
    for actor in ("01", "02", "19", "20", "21", "22"):
        folder = data / "ravdess_speech" / f"Actor_{actor}"
        folder.mkdir(parents=True)
        for emotion in range(1, 9):
            name = f"03-01-{emotion:02d}-01-01-01-{actor}.flac"
            soundfile.write(folder / name, tone(0.8, level=0.1 + 0.02 * emotion), 16_000)
    (data / "emodb").mkdir()
    for speaker in ("03", "09", "15"):
        for code in "WLEAFTN":
            soundfile.write(data / "emodb" / f"{speaker}a01{code}a.flac", tone(0.7), 16_000)
    return data


@needs_data
@pytest.mark.parametrize("corpus", AVAILABLE)
def test_no_speaker_is_in_two_splits_and_no_clip_is_left_out(corpus: str) -> None:
    splits = {name: load_speech(DATA / corpus, name) for name in ("train", "validation", "test")}
    speakers = [set(split.speakers) for split in splits.values()]
    assert speakers[0] and speakers[2]
    assert speakers[1] or corpus == "tess", "of two speakers, one is the test speaker and none is left for validation"
    assert sum(map(len, speakers)) == len(set.union(*speakers))
    everything = load_speech(DATA / corpus, "all")
    assert sum(map(len, splits.values())) == len(everything)


@needs_data
def test_ravdess_is_split_by_actor_as_the_project_says() -> None:
    test = load_speech(DATA / "ravdess_speech", "test")
    assert sorted(set(test.speakers)) == [f"ravdess_speech/{n}" for n in (21, 22, 23, 24)]
    assert np.bincount(test.labels).tolist() == [16, 32, 32, 32, 32, 32, 32, 32]


@needs_data
@pytest.mark.parametrize("corpus", AVAILABLE)
def test_a_corpus_has_the_labels_it_is_said_to_have(corpus: str) -> None:
    labels = load_speech(DATA / corpus, "all").labels
    assert set(np.unique(labels)) == set(np.flatnonzero(corpus_labels(corpus)))


def test_labels_and_strength_are_read_from_the_names(corpora: Path) -> None:
    (corpora / "ravdess_speech/Actor_01/03-01-05-02-01-01-01.flac").touch()
    split = load_speech(corpora / "ravdess_speech", "train")
    by_name = dict(zip([p.stem for p in split.paths], range(len(split)), strict=True))
    normal, strong = by_name["03-01-05-01-01-01-01"], by_name["03-01-05-02-01-01-01"]
    assert split.labels[normal] == split.labels[strong] == ANGRY
    assert 0 < split.intensity[normal] < split.intensity[strong] < 1
    assert np.isnan(split.intensity[by_name["03-01-01-01-01-01-01"]])
    emodb = load_speech(corpora / "emodb", "train")
    assert emodb.labels.tolist() == [FEARFUL, DISGUSTED, HAPPY, CALM, NEUTRAL, SAD, ANGRY]  # A E F L N T W
    assert np.isnan(emodb.intensity).all()


def test_a_file_with_another_name_is_named(corpora: Path) -> None:
    (corpora / "emodb" / "03a01Qa.flac").touch()
    with pytest.raises(ValueError, match="03a01Qa"):
        load_speech(corpora / "emodb", "train")


def test_unknown_corpus_and_split_are_refused(corpora: Path) -> None:
    with pytest.raises(ValueError, match="not one of the speech corpora"):
        load_speech(corpora, "train")
    with pytest.raises(ValueError, match="unknown split"):
        load_speech(corpora / "emodb", "dev")


@pytest.mark.parametrize(("handicap", "share"), [(0.0, 1.0), (1.0, np.exp(-1.0)), (1e4, 0.0)])
def test_a_label_that_a_corpus_lacks_is_punished_less(handicap: float, share: float) -> None:
    present = torch.from_numpy(corpus_labels("nemo"))[None]
    logits = torch.zeros(1, 8, requires_grad=True)
    config = AcousticTraining(handicap=handicap, smoothing=0.0)
    emotion_loss(logits, torch.tensor([ANGRY]), present, config).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, ANGRY] < 0 < logits.grad[0, SURPRISED]
    for lacking in (CALM, DISGUSTED):
        assert logits.grad[0, lacking] == pytest.approx(share * float(logits.grad[0, SURPRISED]), abs=1e-6)


def test_unknown_strength_teaches_nothing() -> None:
    logits = torch.zeros(2, 8, requires_grad=True)
    loss = intensity_loss(logits, torch.tensor([HAPPY, SAD]), torch.tensor([float("nan"), 0.9]), torch.ones(2))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert logits.grad[0].abs().sum() == 0
    assert logits.grad[1, SAD] < 0
    assert intensity_loss(logits, torch.tensor([0, 0]), torch.full((2,), float("nan")), torch.ones(2)) == 0


def test_corpora_are_drawn_by_share_and_labels_alike(corpora: Path) -> None:
    splits = [load_speech(corpora / name, "train") for name in ("ravdess_speech", "emodb")]
    targets = Targets.of(splits, {"ravdess_speech": 0.75, "emodb": 0.25}.__getitem__)
    n = len(splits[0])
    assert targets.draw[:n].sum() == pytest.approx(0.75)
    assert targets.draw[n:].sum() == pytest.approx(0.25)
    for label in range(8):
        drawn = targets.draw[:n][targets.labels[:n] == label].sum()
        assert drawn == pytest.approx(0.75 / 8)


def test_calibration_undoes_overconfidence_and_trusts_short_stretches_less(corpora: Path) -> None:
    split = load_speech(corpora / "emodb", "all")
    mel = np.tile(log_mel(tone(3.0)), (len(split), 1)).astype(np.float16)
    frames = len(mel) // len(split)
    starts = np.arange(len(split)) * frames
    bank = FeatureBank(mel, np.stack([starts, starts + frames], axis=1)[:, None])
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(split), 8)).astype(np.float32)

    class Oracle(VoiceNet):
        """Right where it hears all, guessing where it hears a second or less, and always sure."""

        def forward(self, mel, frames=None, sex=None):
            row = noise.copy()
            row[np.arange(len(split)), split.labels] += 3.0 if int(frames[0]) > 150 else 0.0
            return torch.from_numpy(self.sureness * row), torch.zeros(len(split), 8), None

    oracle = Oracle()
    oracle.sureness = 1.0
    once = fit_calibration(HeldOutLogits.of(oracle, Speech((split,), bank)))
    oracle.sureness = 5.0
    five = fit_calibration(HeldOutLogits.of(oracle, Speech((split,), bank)))
    assert once["short_s"] > 0.3
    assert five["scale"] == pytest.approx(once["scale"] / 5, rel=0.05)


def test_training_writes_a_model_that_the_robot_reads_and_resumes_to_the_same_weights(
    corpora: Path, tmp_path: Path
) -> None:
    card = train(corpora, tmp_path / "once.onnx", TINY, tmp_path / "once.checkpoint")
    assert card["corpora"] == ["ravdess_speech", "emodb"]
    assert "21" in card["held_out"]["ravdess_speech"]["test"]
    assert "prior" not in card, "labels are drawn evenly: the posterior is under the balanced prior"
    probabilities = VoiceEmotionClassifier(tmp_path / "once.onnx").classify(tone(1)).emotion.probabilities
    assert probabilities.shape == (8,)
    again = train(corpora, tmp_path / "again.onnx", TINY, tmp_path / "once.checkpoint")
    assert again["calibration"] == card["calibration"]
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "once.onnx").read_bytes()
    assert not any("sex" in name for name in read_initializers(tmp_path / "once.onnx"))


def test_both_networks_are_trained_in_the_measured_precision(corpora: Path, tmp_path: Path, used_precisions) -> None:
    train(corpora, tmp_path / "voice.onnx", TINY, tmp_path / "checkpoint")
    assert used_precisions.count(None) == 2 and used_precisions[0] is None
    assert set(used_precisions) == {None, torch.bfloat16}


def test_published_weights_get_another_detector_of_overlap_and_stay_as_they_are(corpora: Path, tmp_path: Path) -> None:
    once, again = tmp_path / "once.onnx", tmp_path / "again.onnx"
    studied = replace(TINY, sex="condition")
    train(corpora, once, studied, tmp_path / "once.checkpoint")
    card = train(corpora, again, replace(TINY, epochs=0), tmp_path / "again.checkpoint", None, once)
    assert card["training"]["sex"] == "condition"
    assert card["unfamiliar"]["slope"] > 0 and load_voice(again)[2].outputs["distance"] == "distance"
    before, after = read_initializers(once), read_initializers(again)
    assert before.keys() == after.keys()
    for name, value in before.items():
        if not name.startswith(("overlap.", "distance.")):  # both are made anew
            np.testing.assert_array_equal(value, after[name])
    wider = replace(TINY, epochs=0, net=VoiceNetConfig(layers=1))
    with pytest.raises(ModelError, match=r"once\.onnx"):
        train(corpora, again, wider, tmp_path / "wider.checkpoint", None, once)


def test_training_begins_with_the_first_layers_of_an_encoder_and_changes_it_slowly(
    corpora: Path, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    encoder = SpeechEncoder(channels=16, heads=2, layers=2)
    save_encoder(tmp_path / "encoder.safetensors", encoder, "a test")
    kept = encoder.half().float().state_dict()
    net = VoiceNet(TINY.net)
    load_initial(net, tmp_path / "encoder.safetensors")
    for name, value in net.encoder.state_dict().items():
        torch.testing.assert_close(value, kept[name])
    rates = {id(p): group["lr"] for group in adamw(net, 0.01, 0.1, 0.05).param_groups for p in group["params"]}
    assert {rates[id(p)] for p in net.encoder.parameters()} == {0.001}
    assert rates[id(net.project.weight)] == 0.01
    frozen = replace(TINY, encoder_rate=0.0)
    train(corpora, tmp_path / "w.onnx", frozen, tmp_path / "c", None, tmp_path / "encoder.safetensors")
    after = read_initializers(tmp_path / "w.onnx")
    for name, value in net.encoder.state_dict().items():
        np.testing.assert_array_equal(after[f"encoder.{name}"], value.numpy())
    with pytest.raises(ValueError, match="encoder_rate"):
        train(corpora, tmp_path / "w.onnx", frozen, tmp_path / "another")
    with pytest.raises(ModelError, match=r"encoder\.safetensors"):
        load_initial(VoiceNet(replace(TINY.net, channels=32)), tmp_path / "encoder.safetensors")


def test_telling_the_sex_is_a_second_task_only_where_asked_for() -> None:
    mel = torch.randn(2, 100, 80)
    assert VoiceNet()(mel)[2] is None
    assert VoiceNet(sex="task")(mel)[2].shape == (2,)
    given = VoiceNet(sex="condition").eval()
    woman, man, unknown = (given(mel, None, torch.full((2,), float(s)))[0] for s in (1, -1, 0))
    assert not torch.allclose(woman, man)
    torch.testing.assert_close(unknown, given(mel)[0])
    with pytest.raises(ValueError, match="must be one of"):
        VoiceNet(sex="maybe")


def test_a_corpus_alone_trains_and_a_folder_without_corpora_is_refused(corpora: Path, tmp_path: Path) -> None:
    card = train([corpora / "ravdess_speech"], tmp_path / "w.onnx", replace(TINY, epochs=1), tmp_path / "c")
    assert card["corpora"] == ["ravdess_speech"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="known are ravdess_speech"):
        train(tmp_path / "empty", tmp_path / "w.onnx", TINY, tmp_path / "d")


def test_card_lists_licences_and_whether_the_weights_may_be_sold(corpora: Path, tmp_path: Path) -> None:
    card = train(corpora, tmp_path / "w.onnx", replace(TINY, epochs=1), tmp_path / "c")
    assert card["licences"] == {"ravdess_speech": "CC BY-NC-SA 4.0", "emodb": "research only"}
    assert card["sellable"] is False
    assert "non-commercial" in card["licence"]
    free = [replace(load_speech(corpora / "emodb", "all"), corpus=name) for name in ("subesco", "crema-d")]
    assert describe_corpora(free)["sellable"] is True


def test_stages_follow_each_other_and_a_detector_is_taken_over(corpora: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.onnx"
    train(corpora, first, TINY, tmp_path / "first.checkpoint")
    second = tmp_path / "second.onnx"
    stages = [replace(TINY, epochs=1), replace(TINY, epochs=1, learning_rate=1e-5)]
    card = train(corpora, second, stages, tmp_path / "c.checkpoint", None, None, None, first)
    assert (tmp_path / "c.stage1.checkpoint").exists() and card["training"]["learning_rate"] == 1e-5
    before, after = read_initializers(first), read_initializers(second)
    assert any(name.startswith("overlap.") for name in after)
    for name, value in after.items():
        if name.startswith("overlap."):
            np.testing.assert_array_equal(value, before[name])
    assert any(not np.array_equal(value, before[name]) for name, value in after.items())
    assert card["overlap"]["threshold"] == load_voice(first)[2].details["overlap"]["threshold"]


def test_the_published_network_is_under_16_mb() -> None:
    assert PUBLISHED.stat().st_size < 16e6


def test_playing_faster_shortens_and_raises_the_pitch() -> None:
    time = np.arange(16_000) / 16_000
    faster = augmentation.change_speed(np.sin(2 * np.pi * 500 * time).astype(np.float32), 1.25)
    assert len(faster) == pytest.approx(12_800, abs=2)
    assert np.abs(np.fft.rfft(faster)).argmax() * 16_000 / len(faster) == pytest.approx(625, abs=3)


@pytest.mark.parametrize("kind", augmentation.NOISES)
@pytest.mark.parametrize("snr", [0, 15])
def test_noise_is_added_at_the_ratio_asked_for(kind: str, snr: float) -> None:
    rng = np.random.default_rng(0)
    voice = tone(1.5)
    noise = augmentation.make_noise(kind, len(voice), rng, [tone(0.4), tone(3)])
    heard = augmentation.add_noise(voice, noise, snr)
    assert 10 * np.log10(np.mean(voice**2) / np.mean((heard - voice) ** 2)) == pytest.approx(snr, abs=0.1)


def test_a_room_prolongs_a_click() -> None:
    click = np.zeros(16_000, np.float32)
    click[1000] = 1
    room = augmentation.reverberate(click, 0.5, 0.0, np.random.default_rng(0))
    assert room[1000] == pytest.approx(1)
    assert np.sum(room[1001:] ** 2) == pytest.approx(1, abs=0.1)
    early, late = np.sum(room[1100:3000] ** 2), np.sum(room[7000:9000] ** 2)
    assert early > 100 * late


@pytest.mark.parametrize("codec", augmentation.CODECS)
def test_reencoding_keeps_length_and_level_and_changes_the_sound(codec: str) -> None:
    sound = tone(0.7) + 0.01 * np.random.default_rng(0).normal(size=len(tone(0.7))).astype(np.float32)
    heard = augmentation.reencode(sound, codec, 1.0)
    assert heard.shape == sound.shape and heard.dtype == np.float32
    assert np.std(heard) == pytest.approx(np.std(sound), rel=0.1)
    assert not np.allclose(heard, sound, atol=1e-5)


def test_band_limiting_removes_what_is_above_the_cut_off() -> None:
    noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(augmentation.band_limit(noise, 4_000)))
    assert spectrum[5_000:].mean() < 0.1 * spectrum[:3_000].mean()


def test_a_cut_has_the_length_asked_for_where_the_clip_has() -> None:
    rng = np.random.default_rng(0)
    ramp = np.repeat(np.arange(300, dtype=np.float32)[:, None], 80, axis=1)
    part = augmentation.cut(ramp, 100, 1.1, rng)
    assert part.shape == (100, 80)
    assert np.diff(part[:, 0]) == pytest.approx(1.1, abs=0.02)
    assert len(augmentation.cut(ramp, 1000, 0.9, rng)) == pytest.approx(333, abs=1)


def test_masking_leaves_most_of_a_spectrogram_as_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    mel = torch.randn(16, 120, 80)
    masked = augmentation.mask_spectrogram(mel, torch.full((16,), 120), 10, 0.2, generator)
    changed = (masked != mel).float().mean((1, 2))
    assert (changed < 0.7).all()
    assert changed.mean() > 0.1


def test_interpolated_weights_lie_between_the_initial_and_the_trained_ones(tmp_path: Path) -> None:
    initial, trained = VoiceNet(TINY.net).eval(), VoiceNet(TINY.net).eval()
    publish_voice(tmp_path / "initial.onnx", initial, None, card_of(initial))
    before = trained.project.weight.detach().clone()
    interpolate(trained, tmp_path / "initial.onnx", 0.25)
    expected = 0.75 * initial.project.weight + 0.25 * before
    torch.testing.assert_close(trained.project.weight, expected, atol=1e-3, rtol=0)  # the file has fp16 weights


def test_interpolation_needs_a_published_network_to_start_from(corpora: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="published voice model"):
        train(corpora, tmp_path / "voice.onnx", replace(TINY, epochs=1, interpolation=0.5), tmp_path / "state")
