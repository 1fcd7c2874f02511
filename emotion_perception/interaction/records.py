"""The records of a conversation's journal (start, samples, end), and the conversation rebuilt from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.arc import ArcSample
from emotion_perception.interaction.conversation import Conversation, ConversationConfig
from emotion_perception.interaction.journal import read_journal
from emotion_perception.interaction.summary import ConversationSummary
from emotion_perception.types import SECOND, EmotionEstimate, EmotionStatus

JOURNAL_SUFFIX = ".journal.jsonl"
JOURNAL_VERSION = 1


def start_record(conversation: Conversation) -> dict[str, Any]:
    """The first record: all that rebuilding the conversation needs."""
    config = conversation.config
    return {
        "kind": "start",
        "version": JOURNAL_VERSION,
        "interaction_id": conversation.interaction_id,
        "name": conversation.name,
        "person_id": conversation.person_id,
        "place": config.place,
        "automatic": conversation.automatic,
        "start_ns": conversation.start_ns,
        "step_s": config.step_s,
        "hold_s": config.hold_s,
        "sample_rate": config.sample_rate,
        "min_evidence_s": config.min_evidence_s,
    }


def sample_record(sample: ArcSample) -> dict[str, Any]:
    """The record of one sample."""
    if not sample.has_evidence:
        return {"kind": "sample", "t": sample.time_ns, "status": 0}
    return {
        "kind": "sample",
        "t": sample.time_ns,
        "status": int(sample.status),
        "p": [round(float(p), 5) for p in sample.probabilities],
        "confidence": round(sample.confidence, 4),
        "valence": round(sample.valence, 4),
        "arousal": round(sample.arousal, 4),
        "weights": [round(weight, 4) for weight in sample.weights],
        "person_id": sample.person_id,
        "sense_labels": list(sample.sense_labels),
    }


def end_record(end_ns: int, ended_by: str) -> dict[str, Any]:
    """The last record."""
    return {"kind": "end", "end_ns": end_ns, "ended_by": ended_by}


def _sample_from_record(record: Mapping[str, Any]) -> ArcSample:
    status = EmotionStatus(record["status"])
    if status == EmotionStatus.NO_EVIDENCE:
        unknown = EmotionEstimate.unknown()
        return ArcSample(int(record["t"]), status, unknown.probabilities, 0.0, 0.0, 0.0, (0.0, 0.0, 0.0))
    visual, acoustic, text = map(float, record["weights"])
    probabilities = np.array(record["p"], dtype=np.float32)
    if probabilities.shape != (len(EMOTIONS),) or not probabilities.sum() > 0:
        raise ValueError(f"not a distribution: {record['p']}")
    return ArcSample(
        int(record["t"]),
        status,
        probabilities / probabilities.sum(),
        float(record["confidence"]),
        float(record["valence"]),
        float(record["arousal"]),
        (visual, acoustic, text),
        str(record["person_id"]),
        _sense_labels(record.get("sense_labels")),
    )


def _sense_labels(value: Any) -> tuple[int, ...]:
    """The labels of the senses; unknown in journals of earlier versions and in damaged ones."""
    labels = tuple(value) if isinstance(value, list) else ()
    known = len(labels) == 3 and all(type(label) is int and -1 <= label < len(EMOTIONS) for label in labels)
    return labels if known else (-1, -1, -1)


def samples_of(records: Iterator[Mapping[str, Any]]) -> Iterator[ArcSample]:
    """The samples among a journal's records; damaged records are skipped."""
    for record in records:
        if record.get("kind") != "sample":
            continue
        try:
            yield _sample_from_record(record)
        except (KeyError, TypeError, ValueError, OverflowError):
            continue


def summary_from_journal(path: Path) -> ConversationSummary | None:
    """The summary of a journal, ended or not; None if its first record cannot be read.

    Raises:
        OSError: the file cannot be read.
    """
    conversation: Conversation | None = None
    end_ns, ended_by, recovered = 0, "interrupted: the process was killed or lost its power", True

    def records() -> Iterator[Mapping[str, Any]]:
        nonlocal conversation, end_ns, ended_by, recovered
        for record in read_journal(path):
            if record.get("kind") == "start" and conversation is None:
                # The id is the file's own name: nothing inside a file may decide where to write.
                conversation = _conversation_from_record(record, path.name.removesuffix(JOURNAL_SUFFIX))
            elif record.get("kind") == "end" and isinstance(record.get("end_ns"), int):
                end_ns, ended_by, recovered = record["end_ns"], str(record.get("ended_by", "")), False
            yield record

    for sample in samples_of(records()):
        if conversation is None:
            return None
        conversation.add(sample)
    if conversation is None:
        return None
    if recovered:  # until the next sample would have been due
        end_ns = conversation.last_ns + round(SECOND / conversation.config.sample_rate)
    return conversation.summary(end_ns, ended_by, recovered)


def _conversation_from_record(record: Mapping[str, Any], interaction_id: str) -> Conversation | None:
    try:
        config = ConversationConfig(
            place=str(record.get("place", "")),
            step_s=record["step_s"],
            hold_s=record["hold_s"],
            sample_rate=record["sample_rate"],
            min_evidence_s=record["min_evidence_s"],
        )
        return Conversation(
            start_ns=int(record["start_ns"]),
            config=config,
            person_id=str(record["person_id"]),
            name=str(record["name"]),
            automatic=bool(record["automatic"]),
            interaction_id=interaction_id,
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
