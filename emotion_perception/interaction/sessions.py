"""When conversations start and end, and what is stored of them. No ROS, no torch, no images, no sound.

:class:`Conversations` takes emotion states with their times. It samples them, follows who is present, keeps the arc of
the running conversation in bounded memory and, if a folder is configured, its journal on disk. At the end a writer
makes the files of the conversation, and the journal is deleted. The journal of a process that was killed is finished by
:meth:`Conversations.recover`.

Without a folder nothing is written, and a conversation is lost with its process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from emotion_perception.interaction.arc import Arc, ArcSample, EmotionalArc
from emotion_perception.interaction.conversation import Conversation, ConversationConfig, ConversationError
from emotion_perception.interaction.journal import Journal, is_locked, read_journal
from emotion_perception.interaction.presence import PRESENCE_GAP_S, Presence
from emotion_perception.interaction.records import (
    JOURNAL_SUFFIX,
    end_record,
    sample_record,
    samples_of,
    start_record,
    summary_from_journal,
)
from emotion_perception.interaction.summary import ConversationSummary
from emotion_perception.types import SECOND, EmotionState

CLOCK_JUMP_S = 1.0  # a state older than the newest by more than this (s) means that the clock was set back
FORGOTTEN_S = 3600.0  # without evidence for so long (s) a conversation was forgotten, or the clock was set forward
MAX_UNSAVED = 16  # ended conversations that wait for a disk that refuses
RETRY_S = 10.0  # time between two attempts to save them

# Writes the files of an ended conversation into a folder and returns their paths; raises OSError if the disk refuses.
Writer = Callable[[Path, ConversationSummary, Iterator[ArcSample]], "tuple[Path, ...]"]


@dataclass(frozen=True)
class Outcome:
    """An ended conversation."""

    summary: ConversationSummary
    files: tuple[Path, ...]  # JSON, CSV and HTML; empty without a folder, or if the disk refused
    problem: str  # why a configured folder has no files; empty if it has


class Conversations:
    """All conversations of a robot, one at a time. Not thread-safe; a disk that refuses raises nothing.

    Args:
        config: settings.
        write: makes the files of an ended conversation; needed if ``config`` has a folder.
        inform: called with each event in plain English, for the log.
        warn: called with each problem.

    Raises:
        ValueError: there is a folder, but no writer.
    """

    def __init__(
        self,
        config: ConversationConfig | None = None,
        write: Writer | None = None,
        inform: Callable[[str], object] = lambda text: None,
        warn: Callable[[str], object] = lambda text: None,
    ) -> None:
        self.config = config or ConversationConfig()
        self.last: Outcome | None = None
        self.completed = 0
        if self.config.folder is not None and write is None:
            raise ValueError(f"conversations are stored in {self.config.directory}, but nothing writes their files")
        self._write_files, self._inform, self._warn = write, inform, warn
        self._period_ns = round(SECOND / self.config.sample_rate * 0.95)  # states are never exactly on time
        self._presence = Presence(self.config)
        self._running: Conversation | None = None
        self._journal: Journal | None = None
        self._newest: ArcSample | None = None
        self._recent: deque[ArcSample] = deque()
        self._rest = False  # stopped manually: people who are still present do not start the next one
        self._unsaved: list[tuple[ConversationSummary, Journal]] = []
        self._retry_ns: int | None = None
        self._reported = ""  # problem of the disk in the log

    def reconfigure(self, config: ConversationConfig) -> bool:
        """Use other settings from the next conversation on; False while one is running or waits for the disk."""
        if self._running is not None or self._unsaved:
            return False
        self.config = config
        return True

    @property
    def running(self) -> Conversation | None:
        """The running conversation."""
        return self._running

    @property
    def problem(self) -> str:
        """Why the disk refuses; empty if it does not."""
        journals = [self._journal] if self._journal else []
        journals += [journal for _, journal in self._unsaved]
        return next((journal.problem for journal in journals if journal.problem), "")

    @property
    def unsaved(self) -> int:
        """Ended conversations whose files could not be written so far."""
        return len(self._unsaved)

    def add(self, state: EmotionState, time_ns: int) -> None:
        """Add a state made at ``time_ns``; start or stop a conversation if that is due."""
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
        self._follow(time_ns)  # people may have left since the last sample
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
        """Start manually; a running automatic conversation is ended.

        Raises:
            ConversationError: a manually started one is running.
        """
        if self._running is not None:
            if not self._running.automatic:
                raise ConversationError(f"interaction {self._running.interaction_id} is already running")
            self._end(now_ns, "another was started by hand")
        return self._begin(Conversation(now_ns, self.config, person_id, name))

    def stop(self, now_ns: int, interaction_id: str = "") -> Outcome:
        """Stop manually. The id of the last conversation returns its summary again; an empty id means the running one.

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
        """End the running conversation, as no more states will come."""
        outcome = self._end(now_ns, why) if self._running is not None else None
        if self._unsaved:
            self._save_unsaved(now_ns)
        for _, journal in self._unsaved:
            journal.close()  # the next recovery finishes what is on the disk
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
        """Finish the journals that killed processes left in the folder; one that is being written is not touched."""
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
                files = self._write(summary, path)
                path.unlink()
            except OSError as error:
                self._warn(f"{path} cannot be finished: {error.strerror or error}")
                continue
            outcomes.append(Outcome(summary, files, ""))
            self._inform(f"recovered interaction {summary.interaction_id}: {summary.text}")
        return outcomes

    def _follow(self, now_ns: int) -> None:
        """Start and stop by presence."""
        gone = self._presence.gone(now_ns)
        if gone:
            self._rest = False
        if self._running is not None:
            if self._running.automatic and gone:
                self._end(max(self._running.evidence_ns, self._running.start_ns), "nobody was there any more")
            return
        since = self._presence.engaged_since()
        if self.config.auto_start and not self._rest and not gone and since is not None:
            since = max(since, self._recent[0].time_ns)  # of somebody present for long, only what is still in memory
            conversation = self._begin(Conversation(since, self.config, automatic=True))
            for sample in self._recent:
                if sample.time_ns >= conversation.start_ns:
                    self._record(sample)

    def _begin(self, conversation: Conversation) -> Conversation:
        self._running = conversation
        if self.config.folder is not None:
            path = self.config.folder / (conversation.interaction_id + JOURNAL_SUFFIX)
            self._journal = Journal(path, self.config.sync_s)
            self._journal.append(start_record(conversation), sync=True)
        self._inform(f"interaction {conversation.interaction_id} started")
        self._watch_disk()
        return conversation

    def _record(self, sample: ArcSample) -> None:
        if self._running is None:
            return
        kept = self._running.add(sample)
        if kept is not None and self._journal is not None:
            self._journal.append(sample_record(kept))

    def _end(self, end_ns: int, ended_by: str) -> Outcome:
        assert self._running is not None
        summary = self._running.summary(end_ns, ended_by)
        files: tuple[Path, ...] = ()
        problem = ""
        if self._journal is not None:
            self._journal.append(end_record(summary.end_ns, ended_by), sync=True)
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
        self._inform(f"interaction {summary.interaction_id} ended, {ended_by}. {summary.text}")
        self._watch_disk()
        return self.last

    def forget(self, why: str) -> None:
        """End the running conversation and start again as if nobody had been present; unsaved ones stay."""
        if self._running is not None:
            self._end(self._running.last_ns, why)
        self._recent.clear()
        self._presence.forget()
        self._newest = None
        self._rest = False
        self._retry_ns = None

    def _save(self, summary: ConversationSummary, journal: Journal) -> tuple[Path, ...]:
        """Write the files of an ended conversation; none, with the journal's problem set, if the disk refuses."""
        if not journal.flush(sync=True):
            return ()
        try:
            files = self._write(summary, journal.path)
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

    def _write(self, summary: ConversationSummary, journal: Path) -> tuple[Path, ...]:
        assert self.config.folder is not None and self._write_files is not None
        return self._write_files(self.config.folder, summary, samples_of(read_journal(journal)))

    def _watch_disk(self) -> None:
        """Report once that the disk refuses, and once that it works again."""
        problem = self.problem
        if problem and not self._reported:
            self._warn(f"conversations are kept in memory for now: {problem}")
        elif self._reported and not problem:
            self._inform("the disk works again; nothing was lost")
        self._reported = problem
