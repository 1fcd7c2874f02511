"""One conversation in memory, and the settings of all."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from emotion_perception.interaction.arc import Arc, ArcSample, EmotionalArc
from emotion_perception.interaction.summary import ConversationSummary, summarize
from emotion_perception.settings import check_settings, setting
from emotion_perception.types import SECOND, EmotionEstimate, EmotionState, EmotionStatus

MAX_PERSONS = 64  # most people listed in the summary of one conversation


class ConversationError(RuntimeError):
    """A conversation cannot be started or stopped; the text gives the reason."""


@dataclass(frozen=True)
class ConversationConfig:
    """Settings of conversations; each is a ROS parameter of ``interaction_node`` with the same name.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    directory: str = setting(
        "", "Folder for the journals and reports of conversations, readable by the robot's user only. Empty: nothing "
        "is stored.",
    )  # fmt: skip
    retention_days: float = setting(
        0.0,
        "Age at which stored conversations are deleted with their journals, reports and pictures, checked daily. "
        "0: they are kept until somebody deletes them.",
        0.0,
        3650.0,
        "days",
    )
    place: str = setting(
        "", "Name of the place, such as a shop or a desk. It is stored with each conversation, to filter by it."
    )
    auto_start: bool = setting(
        True,
        "Start a conversation when somebody engages, and stop it when everybody has left. false: start and stop "
        "conversations by service only.",
    )
    engage_on: str = setting(
        "any",
        "What starts a conversation: a face or a voice (any), or only a face (face; for places with other voices).",
        choices=("any", "face"),
    )
    start_after_s: float = setting(
        3.0, "Presence that starts a conversation. Larger ignores more passers-by.", 0.0, 600.0, "s"
    )
    stop_after_s: float = setting(
        10.0,
        "Absence that ends a conversation, at the moment when the last person left. Larger bridges longer absences.",
        1.0,
        3600.0,
        "s",
    )
    sample_rate: float = setting(
        5.0,
        "Rate at which emotion states are recorded. Higher follows faster changes; 5 Hz makes a journal of 1 kB/s.",
        0.5,
        30.0,
        "Hz",
    )
    hold_s: float = setting(1.0, "Time for which a sample is valid; after that the arc has a gap.", 0.1, 60.0, "s")
    step_s: float = setting(
        1.0, "Bin width of the arc. It is doubled repeatedly as a conversation gets long.", 0.2, 60.0, "s"
    )
    window_s: float = setting(60.0, "Length of the arc that is published outside conversations.", 10.0, 600.0, "s")
    min_evidence_s: float = setting(
        10.0, "Evidence required for a satisfaction score. Larger is more cautious.", 1.0, 3600.0, "s"
    )
    sync_s: float = setting(
        1.0,
        "Time between two syncs of the journal to disk: the most that a power failure loses (a killed process loses "
        "nothing). 0: sync every sample, which wears flash memory.",
        0.0,
        60.0,
        "s",
    )

    @property
    def folder(self) -> Path | None:
        """``directory`` as a path, ``~`` expanded; None if nothing is stored."""
        return Path(self.directory).expanduser() if self.directory else None

    def __post_init__(self) -> None:
        check_settings(self)
        try:
            _ = self.folder
        except RuntimeError as error:  # ~ of an unknown user
            raise ValueError(f"directory {self.directory!r}: {error}") from None
        if self.hold_s * self.sample_rate < 1:
            raise ValueError(f"hold_s ({self.hold_s:g}) must reach to the next sample (1 / {self.sample_rate:g} s)")


class Conversation:
    """One conversation in memory.

    Args:
        start_ns: its start.
        config: bin width, hold time and least evidence.
        person_id: only this person's states count; empty: those of every conversation partner.
        name: entered by a person; may be empty.
        automatic: started because somebody engaged; it stops when they leave.
        interaction_id: made by :func:`new_id` if empty.
    """

    def __init__(
        self,
        start_ns: int,
        config: ConversationConfig | None = None,
        person_id: str = "",
        name: str = "",
        automatic: bool = False,
        interaction_id: str = "",
    ) -> None:
        self.config = config or ConversationConfig()
        self.start_ns, self.person_id, self.name, self.automatic = start_ns, person_id, name, automatic
        self.interaction_id = interaction_id or new_id(start_ns)
        self.samples = 0
        self.last_ns = start_ns  # of the last sample
        self.evidence_ns = start_ns  # of the last sample with evidence
        self._arc = EmotionalArc(start_ns, self.config.step_s, self.config.hold_s)
        self._persons: dict[str, float] = {}
        self._present = ""  # person of the last sample

    def add(self, sample: ArcSample) -> ArcSample | None:
        """Add a sample; the sample as it was kept (without another person's evidence), None if it was out of order."""
        if self.person_id and sample.person_id != self.person_id and sample.has_evidence:
            unknown = EmotionEstimate.unknown()
            state = EmotionState(sample.time_ns, EmotionStatus.NO_EVIDENCE, "", "", "", unknown, ())
            sample = ArcSample.from_state(state, sample.time_ns)
        if not self._arc.add(sample):
            return None
        if self._present and (self._present in self._persons or len(self._persons) < MAX_PERSONS):
            seconds = min((sample.time_ns - self.last_ns) / SECOND, self.config.hold_s)
            self._persons[self._present] = self._persons.get(self._present, 0.0) + seconds
        self._present = sample.person_id if sample.has_evidence else ""
        self.samples += 1
        self.last_ns = sample.time_ns
        if sample.has_evidence:
            self.evidence_ns = sample.time_ns
        return sample

    def arc(self, now_ns: int) -> Arc:
        """The arc so far."""
        return self._arc.arc(now_ns)

    def summary(self, end_ns: int, ended_by: str, recovered: bool = False) -> ConversationSummary:
        """The summary as of ``end_ns``."""
        arc = self._arc.arc(max(end_ns, self.start_ns))
        return summarize(
            arc,
            interaction_id=self.interaction_id,
            name=self.name,
            person_id=self.person_id,
            persons=self._persons,
            place=self.config.place,
            ended_by=ended_by,
            recovered=recovered,
            min_evidence_s=self.config.min_evidence_s,
        )


def new_id(start_ns: int) -> str:
    """An id that sorts by the start of the conversation, is safe as a file name, and is given only once."""
    try:
        start = f"{datetime.fromtimestamp(start_ns / SECOND, timezone.utc):%Y%m%dT%H%M%SZ}"
    except (OverflowError, ValueError, OSError):  # a clock far beyond the calendar
        start = f"{max(0, start_ns // SECOND):020d}"
    return f"{start}-{secrets.token_hex(3)}"
