"""File names, labels, licences and held-out speakers of the speech corpora that training can read.

Each corpus is read in the folder layout in which it is distributed; audio may have been converted to another format.
"Sellable" is whether the licence of the recordings permits commercial use; it is no legal advice.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from emotion_perception.emotions import (
    ANGRY,
    CALM,
    CREMAD_CODES,
    DISGUSTED,
    EMODB_CODES,
    FEARFUL,
    HAPPY,
    NEUTRAL,
    RAVDESS_CODES,
    SAD,
    SURPRISED,
)

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".webm")
# Intensity 0..1 of graded corpora; the values are a convention of this project.
LOW_INTENSITY, NORMAL_INTENSITY, STRONG_INTENSITY = 0.2, 0.4, 0.9
NAN = float("nan")
SEVEN = (NEUTRAL, HAPPY, SAD, ANGRY, FEARFUL, DISGUSTED, SURPRISED)
RESEARCH_ONLY = "research only"
# Years, from the documentation of the corpora.
EMODB_AGES = dict(zip(("03", "08", "09", "10", "11", "12", "13", "14", "15", "16"), (31.0, 34.0, 21.0, 32.0, 26.0, 30.0,
                      32.0, 35.0, 25.0, 31.0), strict=True))  # fmt: skip
NEMO_AGES = {"EB0": 27.0, "IC0": 28.0, "KD0": 28.0, "KS0": 23.0, "SM0": 24.0, "TP0": 26.0}
WORDS = {
    "neutral": NEUTRAL,
    "neutrality": NEUTRAL,
    "calm": CALM,
    "happy": HAPPY,
    "happiness": HAPPY,
    "joy": HAPPY,
    "excited": HAPPY,
    "amused": HAPPY,
    "sad": SAD,
    "sadness": SAD,
    "angry": ANGRY,
    "anger": ANGRY,
    "fear": FEARFUL,
    "fearful": FEARFUL,
    "disgust": DISGUSTED,
    "disgusted": DISGUSTED,
    "surprise": SURPRISED,
    "surprised": SURPRISED,
    "ps": SURPRISED,  # pleasant surprise (TESS)
}


@dataclass(frozen=True)
class ClipInfo:
    """What the name of a clip, or the corpus' table, states about it."""

    speaker: str
    label: int | None  # index into EMOTIONS; None: an emotion outside the vocabulary, the clip is not used
    intensity: float = NAN  # 0..1
    female: float = NAN  # 1 woman, 0 man; for scores by group and the study in docs/acoustic_model.md only
    age: float = NAN  # years; for scores by group only


@dataclass(frozen=True)
class Corpus:
    """A speech corpus in the layout of its distribution."""

    name: str  # of its folder
    language: str
    licence: str
    sellable: bool  # the licence permits commercial use of the recordings
    labels: tuple[int, ...]
    parse: Callable[[Path], ClipInfo]  # raises KeyError, IndexError or ValueError for a foreign file name
    held_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # speakers by split; empty: see corpora.py
    aliases: tuple[str, ...] = ()  # other names of the folder, in lower case


def corpus_of(folder: Path) -> Corpus:
    """The corpus in ``folder``, by the folder's name in any case.

    Raises:
        ValueError: unknown name; the message lists the known corpora.
    """
    name = Path(folder).resolve().name.lower()
    for corpus in CORPORA.values():
        if name == corpus.name or name in corpus.aliases:
            return corpus
    raise ValueError(f"{folder} is not one of the speech corpora {', '.join(CORPORA)}")


def _ravdess(path: Path) -> ClipInfo:
    _, _, emotion, intensity, _, _, actor = path.stem.split("-")
    label = RAVDESS_CODES[emotion]
    strength = {"01": NORMAL_INTENSITY, "02": STRONG_INTENSITY}[intensity]
    return ClipInfo(actor, label, NAN if label == NEUTRAL else strength, float(int(actor) % 2 == 0))


def _emodb(path: Path) -> ClipInfo:
    speaker = path.stem[:2]
    label = EMODB_CODES[path.stem[5]]
    return ClipInfo(speaker, label, female=float(speaker in ("08", "09", "13", "14", "16")), age=EMODB_AGES[speaker])


def _nemo(path: Path) -> ClipInfo:
    speaker, emotion, _ = path.stem.split("_")
    female = float(speaker in ("EB0", "IC0", "KD0"))
    return ClipInfo(speaker, WORDS[emotion], female=female, age=NEMO_AGES.get(speaker, NAN))


def _tess(path: Path) -> ClipInfo:
    name, _, emotion = path.stem.split("_")
    speaker = {"OAF": "OAF", "YAF": "YAF", "OA": "OAF"}[name]  # a misspelt file of the corpus is OA_bite_neutral
    return ClipInfo(speaker, WORDS[emotion.lower()], female=1.0, age={"OAF": 64.0, "YAF": 26.0}[speaker])


def _ased(path: Path) -> ClipInfo:
    emotion, _, _, sex, speaker = path.stem.split("-")
    label = {"n": NEUTRAL, "f": FEARFUL, "h": HAPPY, "s": SAD, "a": ANGRY}[emotion[0]]
    return ClipInfo(speaker, label, female={"01": 1.0, "02": 0.0}[sex])


def _crema_d(path: Path) -> ClipInfo:
    speaker, _, emotion, level = path.stem.split("_")[:4]
    intensity = {"LO": LOW_INTENSITY, "MD": NORMAL_INTENSITY, "HI": STRONG_INTENSITY}.get(level, NAN)
    return ClipInfo(speaker, CREMAD_CODES[emotion], intensity)


def _jl(path: Path) -> ClipInfo:
    speaker, emotion = path.stem.split("_")[:2]
    if not speaker.startswith(("female", "male")):
        raise ValueError(f"unknown speaker {speaker}")
    secondary = ("anxious", "apologetic", "pensive", "worried", "assertive", "concerned", "encouraging")
    return ClipInfo(
        speaker, None if emotion in secondary else WORDS[emotion], female=float(speaker.startswith("female"))
    )


def _thorsten(path: Path) -> ClipInfo:
    other = ("drunk", "sleepy", "whisper")
    return ClipInfo("thorsten", None if path.parent.name in other else WORDS[path.parent.name], female=0.0)


def _emns(path: Path) -> ClipInfo:
    row = _table(_find_up(path, "metadata.csv"), "audio_recording")[path.stem]
    return ClipInfo("emns", WORDS.get(row["emotion"].lower()), female=1.0)


def _emozionalmente(path: Path) -> ClipInfo:
    row = _table(_find_up(path, "metadata/samples.csv"), "file_name")[path.stem]
    return ClipInfo(row["actor"], WORDS[row["emotion_expressed"].lower()])


def _subesco(path: Path) -> ClipInfo:
    sex, number, _, _, _, emotion, _ = path.stem.split("_")
    return ClipInfo(f"{sex}{number}", WORDS[emotion.lower()], female={"F": 1.0, "M": 0.0}[sex])


def _mesd(path: Path) -> ClipInfo:
    emotion, group, _, _ = path.stem.split("_")  # speakers are only known as group: F, M or C (child)
    return ClipInfo(group, WORDS[emotion.lower()], female={"F": 1.0, "M": 0.0, "C": NAN}[group])


def _banglaser(path: Path) -> ClipInfo:
    _, _, emotion, intensity, _, _, actor = path.stem.split("-")
    label = {"01": HAPPY, "02": SAD, "03": ANGRY, "04": SURPRISED, "05": NEUTRAL}[emotion]
    strength = {"01": NORMAL_INTENSITY, "02": STRONG_INTENSITY}[intensity]
    return ClipInfo(actor, label, NAN if label == NEUTRAL else strength, float(int(actor) % 2 == 0))


def _savee(path: Path) -> ClipInfo:
    speaker, _, code = path.stem.rpartition("_")  # DC_a01.wav, or DC/a01.wav
    codes = {"a": ANGRY, "d": DISGUSTED, "f": FEARFUL, "h": HAPPY, "n": NEUTRAL, "sa": SAD, "su": SURPRISED}
    return ClipInfo(speaker or path.parent.name, codes[code.rstrip("0123456789")], female=0.0)


def _urdu(path: Path) -> ClipInfo:
    speaker, _, code = path.stem.split("_")
    label = {"A": ANGRY, "H": HAPPY, "N": NEUTRAL, "S": SAD}[code[0]]
    return ClipInfo(speaker, label, female={"F": 1.0, "M": 0.0}[speaker[1]])


def _find_up(path: Path, name: str) -> Path:
    """The file ``name`` in the nearest of the three folders above ``path`` that has it."""
    for folder in list(path.parents)[:3]:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"no {name} above it")


@lru_cache(maxsize=4)
def _table(path: Path, key: str) -> dict[str, dict[str, str]]:
    """Rows of a CSV file (comma or ``|``) by the stem of the file named in column ``key``.

    Raises:
        ValueError: the file has no such column.
    """
    text = path.read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines(), delimiter="|" if "|" in text.partition("\n")[0] else ","))
    if not rows or key not in rows[0]:
        raise ValueError(f"{path} has no column {key}")
    return {Path(row[key]).stem: row for row in rows}


# Held-out speakers by split; all others are training data. Women and men alternate where the corpus is large enough.
CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        Corpus(
            "ravdess_speech", "English", "CC BY-NC-SA 4.0", False, tuple(range(8)), _ravdess,
            {"validation": ("19", "20"), "test": ("21", "22", "23", "24")}, ("ravdess",),
        ),
        Corpus(
            "emodb", "German", RESEARCH_ONLY, False, tuple(EMODB_CODES.values()), _emodb,
            {"validation": ("09", "12"), "test": ("15", "16")},
        ),
        Corpus(
            "nemo", "Polish", "CC BY-NC-SA 4.0", False, (NEUTRAL, HAPPY, SAD, ANGRY, FEARFUL, SURPRISED), _nemo,
            {"validation": ("IC0",), "test": ("SM0",)},
        ),
        Corpus("tess", "English", "CC BY-NC-ND 4.0", False, SEVEN, _tess, {"test": ("YAF",)}),
        Corpus(
            "ased", "Amharic", RESEARCH_ONLY, False, (NEUTRAL, HAPPY, SAD, ANGRY, FEARFUL), _ased,
            {
                "validation": ("17", "18", "26", "29"),
                "test": ("23", "30", "33", "38", "45", "55", "58", "62"),
            },
        ),
        Corpus(
            "crema-d", "English", "ODbL 1.0", True, tuple(CREMAD_CODES.values()), _crema_d,
            aliases=("cremad", "crema_d", "cremad_clips", "audiowav"),
        ),
        Corpus("jl", "English", "CC0 1.0", True, (NEUTRAL, HAPPY, SAD, ANGRY), _jl, aliases=("jl-corpus", "jl_corpus")),
        Corpus(
            "thorsten-emotional", "German", "CC0 1.0", True, (NEUTRAL, HAPPY, ANGRY, DISGUSTED, SURPRISED), _thorsten,
            aliases=("thorsten", "thorsten-emotional_v02"),
        ),
        Corpus("emns", "English", "Apache-2.0", True, (NEUTRAL, HAPPY, SAD, ANGRY, DISGUSTED, SURPRISED), _emns),
        Corpus("emozionalmente", "Italian", "CC BY 4.0", True, SEVEN, _emozionalmente,
               aliases=("emozionalmente_dataset",)),
        Corpus("subesco", "Bangla", "CC BY 4.0", True, SEVEN, _subesco),
        Corpus("mesd", "Spanish", "CC BY 4.0", True, (NEUTRAL, HAPPY, SAD, ANGRY, FEARFUL, DISGUSTED), _mesd),
        Corpus("banglaser", "Bangla", "CC BY 4.0", True, (NEUTRAL, HAPPY, SAD, ANGRY, SURPRISED), _banglaser),
        Corpus("savee", "English", RESEARCH_ONLY, False, SEVEN, _savee),
        Corpus("urdu", "Urdu", RESEARCH_ONLY, False, (NEUTRAL, HAPPY, SAD, ANGRY), _urdu,
               aliases=("urdu-dataset", "urdu_dataset")),
    )
}  # fmt: skip
