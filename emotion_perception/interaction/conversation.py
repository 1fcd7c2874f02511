"""Conversations: when one begins and ends, what is kept of it, its summary. No ROS, torch, pictures or sounds.

:class:`Conversations` is fed with emotion states. It samples them, notices who comes and goes, keeps the arc of the
running conversation in bounded memory and, where a folder is configured, its journal on disk. At the end it writes a
summary (JSON), every sample (CSV) and a report (HTML) beside each other, each as a whole or not at all, and deletes
the journal. A journal without an end, from a process that was killed, is finished by :meth:`Conversations.recover`.

Without a folder nothing is written: what is known of a conversation is gone with the process.
"""

from __future__ import annotations

import math
import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.arc import Arc, ArcSample, ArcShape, EmotionalArc
from emotion_perception.interaction.journal import Journal, is_locked, read_journal
from emotion_perception.interaction.satisfaction import Satisfaction, rate
from emotion_perception.reports import conversation as report
from emotion_perception.settings import check_settings, setting
from emotion_perception.types import SECOND, EmotionEstimate, EmotionState, EmotionStatus

JOURNAL_SUFFIX = ".journal.jsonl"
JOURNAL_VERSION = 1
PRESENCE_GAP_S = 1.0  # a person missed for less (s) has not left
CLOCK_JUMP_S = 1.0  # a state so much (s) older than the newest says that the clock was set back
FORGOTTEN_S = 3600.0  # a conversation without evidence for so long (s) was forgotten, or the clock was set forward
MAX_UNSAVED = 16  # finished conversations that wait for a disk that refuses
RETRY_S = 10.0  # time between two attempts to save them
MAX_PERSONS = 64  # of one conversation, told apart in its summary


class ConversationError(RuntimeError):
    """A conversation cannot be started or stopped; the text says why."""


@dataclass(frozen=True)
class ConversationConfig:
    """The settings of :class:`Conversations`; each is a ROS parameter of ``interaction_node`` with the same name.

    Raises:
        ValueError: a value is out of range; the message names it.
    """

    directory: str = setting(
        "", "Folder for the journals and reports of conversations, readable by the robot's user only. Empty: nothing "
        "is stored.",
    )  # fmt: skip
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
        """``directory`` as a path, ``~`` expanded; None where nothing is to be stored."""
        return Path(self.directory).expanduser() if self.directory else None

    def __post_init__(self) -> None:
        check_settings(self)
        try:
            _ = self.folder
        except RuntimeError as error:  # ~ of an unknown user
            raise ValueError(f"directory {self.directory!r}: {error}") from None
        if self.hold_s * self.sample_rate < 1:
            raise ValueError(f"hold_s ({self.hold_s:g}) must reach to the next sample (1 / {self.sample_rate:g} s)")


@dataclass(frozen=True, eq=False)
class ConversationSummary:
    """What a conversation was like."""

    interaction_id: str
    name: str  # given at the start, for people; may be empty
    person_id: str  # given at the start, or who was there longest; empty where nobody was told apart
    persons: dict[str, float]  # seconds by person id
    start_ns: int
    end_ns: int
    ended_by: str  # why it ended, in plain English
    recovered: bool  # True: made from the journal of a process that did not end it
    arc: Arc
    satisfaction: Satisfaction
    emotion: EmotionEstimate  # mean over the time with evidence; unknown without
    seconds_by_label: np.ndarray  # (8,) time during which each emotion was the label of its bin, s
    label_changes: int  # from one bin with evidence to the next
    best: tuple[float, float] | None  # time, s from the start, and value of the highest smoothed valence
    worst: tuple[float, float] | None  # of the lowest
    valence_change: float  # end minus beginning, means over a fifth of the evidence each; NaN without evidence

    @property
    def duration(self) -> float:
        """From start to end, s."""
        return self.arc.duration

    @property
    def coverage(self) -> float:
        """Share of the time with any evidence, 0..1."""
        return self._share(self.arc.evidence_s)

    @property
    def visual_coverage(self) -> float:
        """Share of the time with a face, 0..1."""
        return self._share(self.arc.visual_s)

    @property
    def acoustic_coverage(self) -> float:
        """Share of the time with a voice, 0..1."""
        return self._share(self.arc.acoustic_s)

    @property
    def text(self) -> str:
        """A few plain English sentences."""
        who = f" with {self.person_id}" if self.person_id else ""
        if self.coverage == 0:
            return f"{report.clock(self.duration)}{who}; nobody was seen or heard."
        seconds = self.seconds_by_label
        top = int(seconds.argmax())
        parts = [
            f"{report.clock(self.duration)}{who}, {100 * self.coverage:.0f} % of it with evidence.",
            f"Mostly {EMOTIONS[top]} ({100 * seconds[top] / seconds.sum():.0f} %).",
        ]
        if self.satisfaction.score is None:
            parts.append(f"No satisfaction score: {self.satisfaction.reason}.")
        else:
            parts.append(
                f"Satisfaction {self.satisfaction.score} +/- {self.satisfaction.margin} of 100"
                f" ({self.satisfaction.verdict})."
            )
        shape = self.arc.shape
        if shape.shape >= ArcShape.RAGS_TO_RICHES:
            parts.append(f"Arc: {shape.text}, correlation {shape.correlation:.2f}.")
        else:
            parts.append(f"Arc: {shape.text}.")
        return " ".join(parts)

    def _share(self, seconds: np.ndarray) -> float:
        return float(min(1.0, seconds.sum() / self.duration)) if self.duration > 0 else 0.0


class Conversation:
    """One conversation in memory.

    Args:
        start_ns: its beginning.
        config: step, hold and least evidence.
        person_id: only this person's states count; empty for whoever the robot talks with.
        name: for people; may be empty.
        automatic: started because someone engaged, so it also stops when they leave.
        interaction_id: made from time and chance where it is not given.
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
        self.interaction_id = interaction_id or new_id()
        self.samples = 0
        self.last_ns = start_ns  # of the last sample
        self.evidence_ns = start_ns  # of the last sample with evidence
        self._arc = EmotionalArc(start_ns, self.config.step_s, self.config.hold_s)
        self._persons: dict[str, float] = {}
        self._present = ""  # person of the last sample

    def add(self, sample: ArcSample) -> ArcSample | None:
        """Take a sample; what was kept of it (nothing of another person's), None where it came out of order."""
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
            ended_by=ended_by,
            recovered=recovered,
            min_evidence_s=self.config.min_evidence_s,
        )


def summarize(
    arc: Arc,
    interaction_id: str,
    name: str = "",
    person_id: str = "",
    persons: Mapping[str, float] | None = None,
    ended_by: str = "",
    recovered: bool = False,
    min_evidence_s: float = 10.0,
) -> ConversationSummary:
    """The summary of an arc."""
    persons = dict(sorted((persons or {}).items(), key=lambda item: -item[1]))
    known = arc.known
    labels = arc.labels[known]
    emotion = EmotionEstimate.unknown()
    best = worst = None
    valence_change = math.nan
    if known.any():
        mass = arc.trust[known] * arc.seconds[known]
        mean = mass @ arc.probabilities[known] / mass.sum()
        emotion = EmotionEstimate(
            probabilities=mean.astype(np.float32),
            intensities=np.full(len(EMOTIONS), np.nan, np.float32),
            confidence=float(mass @ arc.confidence[known] / mass.sum()),
            valence=float(mass @ arc.valence[known] / mass.sum()),
            arousal=float(mass @ arc.arousal[known] / mass.sum()),
        )
        high, low = int(np.nanargmax(arc.smooth_valence)), int(np.nanargmin(arc.smooth_valence))
        best = (float(arc.times[high]), float(arc.smooth_valence[high]))
        worst = (float(arc.times[low]), float(arc.smooth_valence[low]))
        fifth = max(1, len(mass) // 5)
        valence = arc.valence[known]
        valence_change = float(
            np.average(valence[-fifth:], weights=mass[-fifth:]) - np.average(valence[:fifth], weights=mass[:fifth])
        )
    return ConversationSummary(
        interaction_id=interaction_id,
        name=name,
        person_id=person_id or next(iter(persons), ""),
        persons=persons,
        start_ns=arc.start_ns,
        end_ns=arc.end_ns,
        ended_by=ended_by,
        recovered=recovered,
        arc=arc,
        satisfaction=rate(arc, min_evidence_s),
        emotion=emotion,
        seconds_by_label=np.bincount(labels, weights=arc.evidence_s[known], minlength=len(EMOTIONS)),
        label_changes=int(np.count_nonzero(np.diff(labels.astype(int)))),
        best=best,
        worst=worst,
        valence_change=valence_change,
    )


@dataclass(frozen=True)
class Outcome:
    """A conversation that has ended."""

    summary: ConversationSummary
    files: tuple[Path, ...]  # JSON, CSV and HTML; empty without a folder, or while the disk refuses
    problem: str  # why there are no files although a folder is configured; empty while all is well


class Presence:
    """Notices who comes and goes. Short misses are bridged; a voice can keep a conversation going that a face began."""

    def __init__(self, config: ConversationConfig) -> None:
        self._face_only = config.engage_on == "face"
        self._start_ns, self._stop_ns = (round(s * SECOND) for s in (config.start_after_s, config.stop_after_s))
        self._gap_ns = round(PRESENCE_GAP_S * SECOND)
        self.forget()

    def forget(self) -> None:
        """Nobody has been there."""
        self._since: int | None = None
        self._last: int | None = None

    def add(self, sample: ArcSample) -> None:
        """Take the next sample."""
        now = sample.time_ns
        if self._last is not None and now - self._last > self._gap_ns:
            self._since = None  # whoever was there left; the last time is kept for `gone`
        if not sample.has_evidence:
            return
        begins = not self._face_only or sample.status in (EmotionStatus.VISUAL_ONLY, EmotionStatus.AUDIO_VISUAL)
        if self._since is None and begins:
            self._since = now
        if self._since is not None or self._last is not None:
            self._last = now

    def engaged_since(self) -> int | None:
        """When someone who has been there long enough came; None where there is no such person."""
        if self._since is None or self._last is None or self._last - self._since < self._start_ns:
            return None
        return self._since

    def gone(self, now_ns: int) -> bool:
        """Whether nobody has been there for the time to stop."""
        return self._last is None or now_ns - self._last >= self._stop_ns


class Conversations:
    """All conversations of a robot, one at a time. Fed with states; not thread-safe; never raises because of the
    disk.

    Args:
        config: what can be set.
        tell: is told in plain English what happens, for the log.
        warn: is told what goes wrong.
    """

    def __init__(
        self,
        config: ConversationConfig | None = None,
        tell: Callable[[str], object] = lambda text: None,
        warn: Callable[[str], object] = lambda text: None,
    ) -> None:
        self.config = config or ConversationConfig()
        self.last: Outcome | None = None
        self.completed = 0
        self._tell, self._warn = tell, warn
        self._period_ns = round(SECOND / self.config.sample_rate * 0.95)  # a state that is a little early is in time
        self._presence = Presence(self.config)
        self._running: Conversation | None = None
        self._journal: Journal | None = None
        self._newest: ArcSample | None = None
        self._recent: deque[ArcSample] = deque()
        self._rest = False  # stopped by hand: whoever is still there does not start the next one
        self._unsaved: list[tuple[ConversationSummary, Journal]] = []
        self._retry_ns: int | None = None
        self._told = ""

    @property
    def running(self) -> Conversation | None:
        """The conversation going on."""
        return self._running

    @property
    def problem(self) -> str:
        """What is wrong with the disk; empty while all is well."""
        journals = [self._journal] if self._journal else []
        journals += [journal for _, journal in self._unsaved]
        return next((journal.problem for journal in journals if journal.problem), "")

    @property
    def unsaved(self) -> int:
        """Ended conversations whose files the disk has not taken."""
        return len(self._unsaved)

    def add(self, state: EmotionState, time_ns: int) -> None:
        """Take a state made at ``time_ns``; start or stop a conversation where that is due."""
        sample = ArcSample.from_state(state, time_ns)
        newest = self._newest
        if newest is not None:
            passed = (time_ns - newest.time_ns) / SECOND
            if passed < -CLOCK_JUMP_S:
                self.forget(f"the clock was set back by {-passed:.1f} s")
            elif passed < 0 or (
                time_ns - newest.time_ns < self._period_ns and sample.has_evidence == newest.has_evidence
            ):
                return
        self._newest = sample
        if self._running is not None and time_ns - self._running.evidence_ns > FORGOTTEN_S * SECOND:
            self._end(self._running.evidence_ns, f"there was no evidence for {FORGOTTEN_S / 60:.0f} minutes")
        self._follow(time_ns)  # whoever was there may be gone since the sample before
        self._presence.add(sample)
        self._record(sample)
        self._recent.append(sample)
        reach = max(self.config.window_s, self.config.start_after_s + 2 * PRESENCE_GAP_S)
        while self._recent and self._recent[0].time_ns < time_ns - reach * SECOND:
            self._recent.popleft()
        self._follow(time_ns)

    def tick(self, now_ns: int) -> None:
        """To be called about once a second: ends what is over although no state comes, looks after the disk."""
        self._follow(now_ns)
        if self._journal is not None:
            self._journal.flush()
        if self._unsaved and (
            self._retry_ns is None or now_ns >= self._retry_ns or now_ns < self._retry_ns - RETRY_S * SECOND
        ):
            self._save_unsaved(now_ns)
        self._watch_disk()

    def start(self, now_ns: int, person_id: str = "", name: str = "") -> Conversation:
        """Start by hand; an automatic one that is running ends.

        Raises:
            ConversationError: one that was started by hand is running.
        """
        if self._running is not None:
            if not self._running.automatic:
                raise ConversationError(f"interaction {self._running.interaction_id} is already running")
            self._end(now_ns, "another was started by hand")
        return self._begin(Conversation(now_ns, self.config, person_id, name))

    def stop(self, now_ns: int, interaction_id: str = "") -> Outcome:
        """Stop by hand. The id of the one that ended last gives that again; an empty id means the one running.

        Raises:
            ConversationError: no such conversation.
        """
        if self._running is not None and interaction_id in ("", self._running.interaction_id):
            self._rest = True
            return self._end(now_ns, "stopped by hand")
        if self.last is not None and interaction_id == self.last.summary.interaction_id:
            return self.last
        what = f"interaction {interaction_id}" if interaction_id else "interaction"
        raise ConversationError(f"no {what} is running")

    def close(self, now_ns: int, why: str) -> Outcome | None:
        """End what is running, as no more states will come."""
        outcome = self._end(now_ns, why) if self._running is not None else None
        if self._unsaved:
            self._save_unsaved(now_ns)
        for _, journal in self._unsaved:
            journal.close()  # what is on disk by now is finished by the next recovery
        return outcome

    def arc(self, now_ns: int) -> tuple[str, str, Arc]:
        """Interaction id, person id and arc of the running conversation, else of the last ``window_s`` without ids."""
        if self._running is not None:
            persons = self._running.person_id
            return self._running.interaction_id, persons, self._running.arc(now_ns)
        start = now_ns - round(self.config.window_s * SECOND)
        window = EmotionalArc(start, self.config.step_s, self.config.hold_s)
        for sample in self._recent:
            if start <= sample.time_ns <= now_ns:
                window.add(sample)
        return "", "", window.arc(now_ns)

    def recover(self) -> list[Outcome]:
        """Finish the journals that killed processes left in the folder; one that is being written is left alone."""
        folder = self.config.folder
        if folder is None or not folder.is_dir():
            return []
        outcomes = []
        for path in sorted(folder.glob(f"*{JOURNAL_SUFFIX}")):
            try:
                if is_locked(path):
                    continue
                summary = summary_from_journal(path)
                if summary is None:
                    path.rename(path.with_name(path.name + ".damaged"))
                    self._warn(f"{path}: no conversation can be read from it; kept as {path.name}.damaged")
                    continue
                files = self._write(summary, read_journal(path))
                path.unlink()
            except OSError as error:
                self._warn(f"{path} cannot be finished: {error.strerror or error}")
                continue
            outcomes.append(Outcome(summary, files, ""))
            self._tell(f"recovered interaction {summary.interaction_id}: {summary.text}")
        return outcomes

    def _follow(self, now_ns: int) -> None:
        """Start and stop by who is there."""
        gone = self._presence.gone(now_ns)
        if gone:
            self._rest = False
        if self._running is not None:
            if self._running.automatic and gone:
                self._end(max(self._running.evidence_ns, self._running.start_ns), "nobody was there any more")
            return
        since = self._presence.engaged_since()
        if self.config.auto_start and not self._rest and not gone and since is not None:
            since = max(since, self._recent[0].time_ns)  # of somebody who has been there for long, what is still known
            conversation = self._begin(Conversation(since, self.config, automatic=True))
            for sample in self._recent:
                if sample.time_ns >= conversation.start_ns:
                    self._record(sample)

    def _begin(self, conversation: Conversation) -> Conversation:
        self._running = conversation
        if self.config.folder is not None:
            path = self.config.folder / (conversation.interaction_id + JOURNAL_SUFFIX)
            self._journal = Journal(path, self.config.sync_s)
            self._journal.append(_start_record(conversation), sync=True)
        self._tell(f"interaction {conversation.interaction_id} started")
        self._watch_disk()
        return conversation

    def _record(self, sample: ArcSample) -> None:
        if self._running is None:
            return
        kept = self._running.add(sample)
        if kept is not None and self._journal is not None:
            self._journal.append(_sample_record(kept))

    def _end(self, end_ns: int, ended_by: str) -> Outcome:
        assert self._running is not None
        summary = self._running.summary(end_ns, ended_by)
        files: tuple[Path, ...] = ()
        problem = ""
        if self._journal is not None:
            self._journal.append({"kind": "end", "end_ns": summary.end_ns, "ended_by": ended_by}, sync=True)
            self._unsaved.append((summary, self._journal))
            if len(self._unsaved) > MAX_UNSAVED:
                lost, journal = self._unsaved.pop(0)
                journal.close()
                self._warn(f"interaction {lost.interaction_id} is given up: too many wait for the disk")
            files = self._save(summary, self._journal)
            problem = "" if files else self._journal.problem
        self._running = self._journal = None
        self.completed += 1
        self.last = Outcome(summary, files, problem)
        self._tell(f"interaction {summary.interaction_id} ended, {ended_by}. {summary.text}")
        self._watch_disk()
        return self.last

    def forget(self, why: str) -> None:
        """End what is running and start as if nobody had ever been there; what waits for the disk goes on waiting."""
        if self._running is not None:
            self._end(self._running.last_ns, why)
        self._recent.clear()
        self._presence.forget()
        self._newest = None
        self._rest = False
        self._retry_ns = None

    def _save(self, summary: ConversationSummary, journal: Journal) -> tuple[Path, ...]:
        """Write the files of an ended conversation; none, with the journal's problem set, where the disk refuses."""
        if not journal.flush(sync=True):
            return ()
        try:
            files = self._write(summary, read_journal(journal.path))
            journal.delete()
        except OSError as error:
            journal.problem = f"{self.config.directory}: {error.strerror or error}"
            return ()
        self._unsaved = [item for item in self._unsaved if item[1] is not journal]
        return files

    def _save_unsaved(self, now_ns: int) -> None:
        self._retry_ns = now_ns + round(RETRY_S * SECOND)
        for summary, journal in list(self._unsaved):
            files = self._save(summary, journal)
            if files and self.last is not None and self.last.summary is summary:
                self.last = Outcome(summary, files, "")

    def _write(self, summary: ConversationSummary, records: Iterator[dict[str, Any]]) -> tuple[Path, ...]:
        assert self.config.folder is not None
        return report.write_files(self.config.folder, summary, samples_of(records))

    def _watch_disk(self) -> None:
        """Say once that the disk refuses, and once that it takes again."""
        problem = self.problem
        if problem and not self._told:
            self._warn(f"conversations are kept in memory for now: {problem}")
        elif self._told and not problem:
            self._tell("the disk takes conversations again; nothing was lost")
        self._told = problem


def new_id() -> str:
    """An id that sorts by time and is safe as a file name."""
    return f"{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def _start_record(conversation: Conversation) -> dict[str, Any]:
    config = conversation.config
    return {
        "kind": "start",
        "version": JOURNAL_VERSION,
        "interaction_id": conversation.interaction_id,
        "name": conversation.name,
        "person_id": conversation.person_id,
        "automatic": conversation.automatic,
        "start_ns": conversation.start_ns,
        "step_s": config.step_s,
        "hold_s": config.hold_s,
        "sample_rate": config.sample_rate,
        "min_evidence_s": config.min_evidence_s,
    }


def _sample_record(sample: ArcSample) -> dict[str, Any]:
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
    }


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
    )


def samples_of(records: Iterator[Mapping[str, Any]]) -> Iterator[ArcSample]:
    """The samples among a journal's records; what is damaged is skipped."""
    for record in records:
        if record.get("kind") != "sample":
            continue
        try:
            yield _sample_from_record(record)
        except (KeyError, TypeError, ValueError):
            continue


def summary_from_journal(path: Path) -> ConversationSummary | None:
    """The summary of a journal, ended or not; None where its beginning cannot be read.

    Raises:
        OSError: the file cannot be read.
    """
    conversation: Conversation | None = None
    end_ns, ended_by, recovered = 0, "interrupted: the process was killed or lost its power", True

    def records() -> Iterator[Mapping[str, Any]]:
        nonlocal conversation, end_ns, ended_by, recovered
        for record in read_journal(path):
            if record.get("kind") == "start" and conversation is None:
                # The file's own name, not one within it: nothing in a file may say where to write.
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
    if recovered:  # it went on until the sample after the last would have been due
        end_ns = conversation.last_ns + round(SECOND / conversation.config.sample_rate)
    return conversation.summary(end_ns, ended_by, recovered)


def _conversation_from_record(record: Mapping[str, Any], interaction_id: str) -> Conversation | None:
    try:
        config = ConversationConfig(
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
    except (KeyError, TypeError, ValueError):
        return None
