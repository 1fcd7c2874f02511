"""Corpora are read in the folder layouts in which they are distributed; all files here are synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emotion_perception.emotions import ANGRY, DISGUSTED, FEARFUL, HAPPY, NEUTRAL, SAD, SURPRISED
from emotion_perception.learning.voices.corpora import find_corpora, load_speech
from emotion_perception.learning.voices.corpus_layouts import CORPORA, corpus_of

# Folder as distributed, files with label and speaker; None: an emotion outside the vocabulary.
LAYOUTS: dict[str, Sequence[tuple[str, int | None, str]]] = {
    "tess": [
        ("OAF_angry/OAF_back_angry.wav", ANGRY, "OAF"),
        ("OAF_neutral/OA_bite_neutral.wav", NEUTRAL, "OAF"),
        ("YAF_pleasant_surprised/YAF_bar_ps.wav", SURPRISED, "YAF"),
    ],
    "ased": [("n1-01-01-01-05.ogg", NEUTRAL, "05"), ("a5-02-01-02-10.ogg", ANGRY, "10")],
    "CREMA-D": [("AudioWAV/1001_DFA_ANG_XX.wav", ANGRY, "1001"), ("AudioWAV/1002_IEO_SAD_HI.wav", SAD, "1002")],
    "jl": [
        ("JL/female1_angry_10a_1.wav", ANGRY, "female1"),
        ("JL/male2_excited_1b_2.wav", HAPPY, "male2"),
        ("JL/male1_anxious_1b_2.wav", None, "male1"),
    ],
    "thorsten-emotional_v02": [
        ("amused/1a.wav", HAPPY, "thorsten"),
        ("surprised/1b.wav", SURPRISED, "thorsten"),
        ("whisper/1c.wav", None, "thorsten"),
    ],
    "EMNS": [("wavs/a.wav", DISGUSTED, "emns"), ("wavs/b.wav", None, "emns")],
    "emozionalmente_dataset": [("audio/f1.wav", HAPPY, "33"), ("audio/f2.wav", NEUTRAL, "34")],
    "SUBESCO": [("F_01_OISHI_S_10_ANGRY_5.wav", ANGRY, "F01"), ("M_12_NIPUN_S_1_SURPRISE_1.wav", SURPRISED, "M12")],
    "MESD": [("Anger_C_A_abajo.wav", ANGRY, "C"), ("Sadness_F_B_ayer.wav", SAD, "F")],
    "BanglaSER": [("03-01-01-02-01-01-07.wav", HAPPY, "07"), ("03-01-05-01-02-01-02.wav", NEUTRAL, "02")],
    "SAVEE": [("AudioData/DC/sa01.wav", SAD, "DC"), ("JE_f02.wav", FEARFUL, "JE")],
    "URDU-Dataset": [("Angry/SM1_F1_A01.wav", ANGRY, "SM1"), ("Sad/SF5_F2_S3.wav", SAD, "SF5")],
}
TABLES = {
    "EMNS": ("metadata.csv", "id|emotion|audio_recording\n1|Disgusted|wavs/a.webm\n2|Sarcastic|wavs/b.webm\n"),
    "emozionalmente_dataset": (
        "metadata/samples.csv",
        "id,file_name,actor,emotion_expressed\n1,f1.wav,33,joy\n2,f2.wav,34,neutrality\n",
    ),
}


def make_corpus(root: Path, name: str) -> Path:
    folder = root / name
    for file, _, _ in LAYOUTS[name]:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(1600, np.float32), 16_000)
    if name in TABLES:
        table, text = TABLES[name]
        (folder / table).parent.mkdir(parents=True, exist_ok=True)
        (folder / table).write_text(text)
    return folder


@pytest.mark.parametrize("name", LAYOUTS)
def test_labels_and_speakers_are_read_from_the_distributed_layout(tmp_path: Path, name: str) -> None:
    split = load_speech(make_corpus(tmp_path, name), "all")
    expected = {
        (file.rsplit("/", 1)[-1], label, f"{split.corpus}/{speaker}")
        for file, label, speaker in LAYOUTS[name]
        if label is not None
    }
    found = {(p.name, int(k), str(s)) for p, k, s in zip(split.paths, split.labels, split.speakers, strict=True)}
    assert found == expected
    assert split.present[split.labels].all(), "the corpus' label mask contains its labels"
    assert CORPORA[split.corpus].licence


def test_every_corpus_has_a_layout_test() -> None:
    covered = {corpus_of(Path(name)).name for name in LAYOUTS} | {"ravdess_speech", "emodb", "nemo"}
    assert covered == set(CORPORA)


def test_graded_intensity_is_ordered(tmp_path: Path) -> None:
    folder = tmp_path / "crema-d"
    folder.mkdir()
    for level in ("LO", "MD", "HI", "XX"):
        soundfile.write(folder / f"1001_IEO_ANG_{level}.wav", np.zeros(1600), 16_000)
    split = load_speech(folder, "all")
    intensity = dict(zip([p.stem[-2:] for p in split.paths], split.intensity, strict=True))
    assert 0 < intensity["LO"] < intensity["MD"] < intensity["HI"] < 1
    assert np.isnan(intensity["XX"])


def test_without_listed_speakers_every_tenth_is_held_out(tmp_path: Path) -> None:
    folder = tmp_path / "SUBESCO"
    folder.mkdir()
    for n in range(1, 21):
        soundfile.write(folder / f"F_{n:02d}_NAME_S_1_SAD_1.wav", np.zeros(1600), 16_000)
    parts = {part: set(load_speech(folder, part).speakers) for part in ("train", "validation", "test")}
    assert [len(speakers) for speakers in parts.values()] == [16, 2, 2]
    assert len(set.union(*parts.values())) == 20


def test_corpora_are_found_in_a_folder_of_folders_and_by_their_own_path(tmp_path: Path) -> None:
    savee, mesd = make_corpus(tmp_path / "a", "SAVEE"), make_corpus(tmp_path / "b", "MESD")
    assert find_corpora([tmp_path / "a", mesd]) == {"mesd": mesd, "savee": savee}
    with pytest.raises(ValueError, match="same corpus"):
        find_corpora([tmp_path / "a", savee])


def test_foreign_file_names_and_missing_tables_are_reported(tmp_path: Path) -> None:
    folder = make_corpus(tmp_path, "SAVEE")
    soundfile.write(folder / "JE_x02.wav", np.zeros(1600), 16_000)
    with pytest.raises(ValueError, match=r"JE_x02\.wav"):
        load_speech(folder, "all")
    emns = make_corpus(tmp_path, "EMNS")
    (emns / "metadata.csv").unlink()
    with pytest.raises(ValueError, match=r"metadata\.csv"):
        load_speech(emns, "all")
