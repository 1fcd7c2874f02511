"""Conversations: who starts and ends them, what is kept, and that nothing recorded is lost."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from played_conversation import START, Scene, play

from emotion_perception.emotions import EMOTIONS
from emotion_perception.files import write_atomically
from emotion_perception.interaction import journal
from emotion_perception.interaction.conversation import ConversationConfig, ConversationError
from emotion_perception.interaction.journal import Journal, read_journal
from emotion_perception.interaction.records import JOURNAL_SUFFIX, summary_from_journal
from emotion_perception.interaction.sessions import FORGOTTEN_S, Conversations
from emotion_perception.reports import conversation as report
from emotion_perception.types import SECOND, EmotionStatus


def run(conversations: Conversations, *scenes: Scene, begin: float = 0.0, **more: object) -> float:
    """Play scenes with a tick each second; the time at their end, s after START."""
    next_tick = begin
    for state, time_ns in play(*scenes, begin=begin, **more):  # type: ignore[arg-type]
        conversations.add(state, time_ns)
        if time_ns >= START + next_tick * SECOND:
            conversations.tick(time_ns)
            next_tick += 1
    return begin + sum(seconds for _, seconds in scenes)


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "conversations"


def stored(folder: Path) -> Conversations:
    return Conversations(ConversationConfig(directory=str(folder)), report.write_files)


# --- who starts and ends them -------------------------------------------------------------------------------------


def test_someone_who_stays_starts_a_conversation_from_when_they_came() -> None:
    conversations = Conversations()
    run(conversations, ("", 5), ("happy", 2.5))
    assert conversations.running is None
    run(conversations, ("happy", 3), begin=7.5)
    assert conversations.running is not None
    assert conversations.running.start_ns == at(5)
    assert conversations.running.arc(at(10.5)).evidence_s.sum() == pytest.approx(5.5)


def test_someone_who_only_passes_by_starts_none() -> None:
    conversations = Conversations()
    run(conversations, ("happy", 2), ("", 5), ("happy", 2), ("", 5))
    assert conversations.running is None and conversations.last is None


def test_a_short_miss_does_not_keep_a_conversation_from_starting() -> None:
    conversations = Conversations()
    run(conversations, ("happy", 2), ("", 0.7), ("happy", 2))
    assert conversations.running is not None


def test_when_nobody_is_left_the_conversation_ends_at_their_leaving() -> None:
    conversations = Conversations()
    run(conversations, ("happy", 20), ("", 8))
    assert conversations.running is not None
    run(conversations, ("", 4), begin=28)
    assert conversations.running is None and conversations.last is not None
    summary = conversations.last.summary
    assert summary.duration == pytest.approx(20, abs=0.3)
    assert summary.coverage == pytest.approx(1, abs=0.01)
    assert summary.person_id == "person_1"


def test_a_conversation_ends_even_when_states_stop_coming() -> None:
    conversations = Conversations()
    run(conversations, ("happy", 20))
    conversations.tick(at(35))
    assert conversations.running is None and conversations.last is not None


def test_people_who_come_again_later_start_another() -> None:
    conversations = Conversations()
    run(conversations, ("happy", 20), ("", 15), ("sad", 20), ("", 15))
    assert conversations.completed == 2


def test_a_voice_starts_none_where_a_face_is_asked_for_but_keeps_one_going() -> None:
    conversations = Conversations(ConversationConfig(engage_on="face"))
    run(conversations, ("happy", 20), status=EmotionStatus.ACOUSTIC_ONLY)
    assert conversations.running is None
    run(conversations, ("happy", 5), begin=20, status=EmotionStatus.AUDIO_VISUAL)
    assert conversations.running is not None
    run(conversations, ("happy", 20), begin=25, status=EmotionStatus.ACOUSTIC_ONLY)
    assert conversations.running is not None


def test_without_automatic_start_only_the_service_starts_one() -> None:
    conversations = Conversations(ConversationConfig(auto_start=False))
    run(conversations, ("happy", 20))
    assert conversations.running is None
    started = conversations.start(at(20), name="desk 3")
    run(conversations, ("happy", 15), begin=20)
    outcome = conversations.stop(at(35), started.interaction_id)
    assert outcome.summary.name == "desk 3"
    assert outcome.summary.duration == pytest.approx(15)


def test_one_started_by_hand_outlives_an_absence() -> None:
    conversations = Conversations()
    conversations.start(at(0))
    run(conversations, ("happy", 10), ("", 60), ("happy", 10))
    assert conversations.running is not None
    assert conversations.stop(at(80)).summary.coverage == pytest.approx(0.25, abs=0.02)


def test_one_that_was_forgotten_ends_by_itself() -> None:
    conversations = Conversations()
    conversations.start(at(0))
    run(conversations, ("happy", 10))
    run(conversations, ("", 1), begin=FORGOTTEN_S + 20)
    assert conversations.running is None and conversations.last is not None
    assert conversations.last.summary.duration == pytest.approx(10, abs=0.3)


def test_after_a_stop_by_hand_the_same_visit_starts_no_other() -> None:
    conversations = Conversations()
    end = run(conversations, ("happy", 10))
    conversations.stop(at(end))
    end = run(conversations, ("happy", 10), begin=end)
    assert conversations.running is None
    run(conversations, ("", 15), ("happy", 10), begin=end)
    assert conversations.running is not None


def test_a_second_start_is_refused_and_names_the_first() -> None:
    conversations = Conversations()
    first = conversations.start(at(0))
    with pytest.raises(ConversationError, match=first.interaction_id):
        conversations.start(at(1))


def test_a_start_by_hand_takes_over_from_an_automatic_one() -> None:
    conversations = Conversations()
    run(conversations, ("happy", 10))
    automatic = conversations.running
    started = conversations.start(at(10))
    assert automatic is not None and conversations.last is not None
    assert conversations.last.summary.interaction_id == automatic.interaction_id != started.interaction_id
    assert started.start_ns == at(10)


def test_stopping_what_does_not_run_says_so() -> None:
    conversations = Conversations()
    with pytest.raises(ConversationError, match="no interaction is running"):
        conversations.stop(at(0))
    conversations.start(at(0))
    with pytest.raises(ConversationError, match="no interaction other is running"):
        conversations.stop(at(1), "other")


def test_the_one_that_ended_last_can_be_asked_for_again() -> None:
    conversations = Conversations()
    run(conversations, ("happy", 20), ("", 15))
    assert conversations.last is not None
    assert conversations.stop(at(40), conversations.last.summary.interaction_id) is conversations.last


def test_a_clock_set_back_ends_the_conversation_instead_of_mixing_it() -> None:
    conversations = Conversations()
    run(conversations, ("happy", 20), begin=100)
    run(conversations, ("sad", 2), begin=0)
    assert conversations.last is not None
    assert "set back" in conversations.last.summary.ended_by
    assert conversations.last.summary.duration == pytest.approx(20, abs=0.3)


def test_only_the_named_persons_states_count() -> None:
    conversations = Conversations()
    conversations.start(at(0), person_id="anna")
    run(conversations, ("happy", 10), person="anna")
    run(conversations, ("angry", 10), begin=10, person="berta")
    summary = conversations.stop(at(20)).summary
    assert summary.coverage == pytest.approx(0.5, abs=0.02)
    assert summary.seconds_by_label[EMOTIONS.index("angry")] == 0
    assert set(summary.persons) == {"anna"}


def test_outside_any_conversation_the_arc_is_that_of_the_last_minute() -> None:
    conversations = Conversations(ConversationConfig(auto_start=False, window_s=30.0))
    run(conversations, ("sad", 40), ("happy", 40))
    interaction_id, _, arc = conversations.arc(at(80))
    assert interaction_id == ""
    assert arc.duration == pytest.approx(30)
    assert {EMOTIONS[label] for label in arc.labels} == {"happy"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate": 0.0},
        {"hold_s": 1e6},
        {"engage_on": "smell"},
        {"hold_s": 0.1, "sample_rate": 5.0},
        {"directory": "~nobody_of_this_name/conversations"},
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ConversationConfig(**wrong)  # type: ignore[arg-type]


def test_a_folder_without_a_writer_is_refused_at_start(folder: Path) -> None:
    with pytest.raises(ValueError, match="nothing writes their files"):
        Conversations(ConversationConfig(directory=str(folder)))


def test_an_id_says_when_its_conversation_began_by_the_time_of_its_states() -> None:
    conversations = Conversations(ConversationConfig(auto_start=False))
    assert conversations.start(at(0)).interaction_id.startswith("20260921T141320Z-")
    conversations.stop(at(1))
    assert conversations.start(2**62).interaction_id.startswith("2116"), "even if the clock is wrong"


# --- the summary --------------------------------------------------------------------------------------------------


def test_the_summary_tells_what_happened() -> None:
    conversations = Conversations()
    run(conversations, ("happy", 40), ("angry", 40), ("happy", 40), ("", 12))
    assert conversations.last is not None
    summary = conversations.last.summary
    assert summary.seconds_by_label[EMOTIONS.index("happy")] == pytest.approx(80, abs=1.5)
    assert summary.label_changes == 2
    assert summary.best is not None and summary.worst is not None
    assert summary.worst[0] == pytest.approx(60, abs=6) and summary.worst[1] < -0.3 < 0.6 < summary.best[1]
    assert summary.valence_change == pytest.approx(0, abs=0.01)
    assert summary.emotion.name == "happy"
    for words in ("2:00 with person_1", "Mostly happy (67 %)", "Satisfaction", "man in a hole"):
        assert words in summary.text


def test_a_conversation_in_which_nobody_was_noticed_says_so() -> None:
    conversations = Conversations(ConversationConfig(auto_start=False))
    conversations.start(at(0))
    summary = conversations.stop(at(30)).summary
    assert "nobody was seen or heard" in summary.text
    assert summary.emotion.confidence == 0
    assert summary.best is None and np.isnan(summary.valence_change)
    json.dumps(report.summary_fields(summary), allow_nan=False)


# --- what is kept on disk -----------------------------------------------------------------------------------------


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    conversations = Conversations()
    run(conversations, ("happy", 20), ("", 15))
    assert conversations.last is not None and conversations.last.files == ()
    assert list(tmp_path.iterdir()) == []


def test_an_ended_conversation_leaves_three_files_and_no_journal(folder: Path) -> None:
    conversations = stored(folder)
    run(conversations, ("happy", 20), ("", 3), ("sad", 20), ("", 15))
    assert conversations.last is not None
    summary, files = conversations.last.summary, conversations.last.files
    assert sorted(folder.iterdir()) == sorted(files)
    assert {path.suffix for path in files} == {".json", ".csv", ".html"}
    fields = json.loads((folder / f"{summary.interaction_id}.json").read_text())
    assert fields["text"] == summary.text
    assert fields["satisfaction"]["score"] == summary.satisfaction.score
    assert len(fields["arc"]["valence"]) == len(summary.arc)
    assert None in fields["arc"]["valence"]  # the gap
    with (folder / f"{summary.interaction_id}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(row["label"] == "sad" for row in rows) == pytest.approx(100, abs=2)  # 5 Hz
    assert {row["valence"] for row in rows if row["status"] == "NO_EVIDENCE"} == {""}


def test_files_are_for_the_robots_own_user_alone(folder: Path) -> None:
    conversations = stored(folder)
    run(conversations, ("happy", 20), ("", 15))
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_every_sample_is_in_the_file_as_soon_as_it_was_taken(folder: Path) -> None:
    conversations = stored(folder)
    conversations.start(at(0))
    for taken, (state, time_ns) in enumerate(play(("happy", 4), rate=5.0), 1):
        conversations.add(state, time_ns)
        (path,) = folder.glob(f"*{JOURNAL_SUFFIX}")
        assert sum(record["kind"] == "sample" for record in read_journal(path)) == taken


CHILD = """
import sys, time
from played_conversation import START, play
from emotion_perception.interaction.conversation import ConversationConfig
from emotion_perception.interaction.sessions import Conversations
from emotion_perception.reports.conversation import write_files
conversations = Conversations(ConversationConfig(directory=sys.argv[1]), write_files)
conversations.start(START, name="desk 3")
for count, (state, time_ns) in enumerate(play(("happy", 60), ("angry", 3600)), 1):
    conversations.add(state, time_ns)
    if count % 2:
        print(time_ns, flush=True)  # the sample of this time has been recorded
    if count > 1000:
        time.sleep(0.002)
"""


def start_child(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A process in mid-conversation, still recording after 1000 states; and the time of the last one it told of, ns."""
    paths = [str(Path(__file__).parents[1] / "support"), os.getcwd()]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdout is not None
    for _ in range(550):
        said = child.stdout.readline()
    return child, int(said)


def test_a_process_killed_in_mid_conversation_loses_nothing_recorded(folder: Path) -> None:
    child, told = start_child(folder)
    child.send_signal(signal.SIGKILL)
    said, _ = child.communicate()
    assert child.returncode == -signal.SIGKILL
    last_recorded = max([told, *map(int, said.split())])

    (outcome,) = stored(folder).recover()

    summary = outcome.summary
    assert summary.recovered and "interrupted" in summary.ended_by and summary.name == "desk 3"
    assert summary.end_ns >= last_recorded
    # 60 s happy, then angry to the very last sample; at 5 Hz each counts 0.2 s.
    angry = summary.seconds_by_label[EMOTIONS.index("angry")]
    assert summary.seconds_by_label[EMOTIONS.index("happy")] == pytest.approx(60, abs=1)
    assert angry == pytest.approx((last_recorded - START) / SECOND - 60, abs=1.3)
    with next(folder.glob("*.csv")).open() as file:
        times = [float(row["time"]) for row in csv.DictReader(file)]
    assert times[-1] >= last_recorded / SECOND - 0.001
    assert np.diff(times) == pytest.approx(np.full(len(times) - 1, 0.2), abs=1e-3)  # not one is missing
    assert "was interrupted" in next(folder.glob("*.html")).read_text()
    assert sorted(path.suffix for path in folder.iterdir()) == [".csv", ".html", ".json"]
    assert stored(folder).recover() == []


def test_a_journal_that_is_being_written_is_left_alone(folder: Path) -> None:
    child, _ = start_child(folder)
    try:
        assert stored(folder).recover() == []
        assert len(list(folder.glob(f"*{JOURNAL_SUFFIX}"))) == 1
    finally:
        child.kill()
        child.communicate()


def unfinished(folder: Path, *scenes: Scene) -> Path:
    """The journal of a conversation that nobody ended."""
    conversations = stored(folder)
    conversations.start(at(0))
    run(conversations, *scenes)
    journal = conversations._journal
    assert journal is not None
    journal._release()  # as when the process dies
    return journal.path


def test_a_torn_last_line_and_damaged_blocks_cost_only_themselves(folder: Path) -> None:
    path = unfinished(folder, ("happy", 20))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[30] = b"\0" * 100 + b"\n"
    lines[31] = b'{"kind": "sample", "t": 5}\n'
    lines[32] = b"\xff\xfe not text\n"
    path.write_bytes(b"".join(lines)[:-25])
    summary = summary_from_journal(path)
    assert summary is not None
    assert summary.arc.evidence_s.sum() == pytest.approx(20, abs=0.5)
    (outcome,) = stored(folder).recover()
    with outcome.files[1].open() as file:
        assert sum(1 for _ in csv.DictReader(file)) == 100 - 3 - 1


def test_a_power_cut_at_any_byte_leaves_a_conversation_that_can_be_recovered(folder: Path) -> None:
    path = unfinished(folder, ("happy", 3))
    whole = path.read_bytes()
    beginning = whole.index(b"\n") + 1
    for size in range(beginning, len(whole), 13):
        path.write_bytes(whole[:size])
        summary = summary_from_journal(path)
        assert summary is not None
        complete = whole[:size].count(b"\n") - 1
        assert summary.arc.evidence_s.sum() == pytest.approx(0.2 * complete, abs=0.21)


def test_a_journal_without_a_beginning_is_set_aside_and_reported(folder: Path) -> None:
    path = unfinished(folder, ("happy", 5))
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    warnings: list[str] = []
    conversations = Conversations(ConversationConfig(directory=str(folder)), report.write_files, warn=warnings.append)
    assert conversations.recover() == []
    assert [each.name for each in folder.iterdir()] == [path.name + ".damaged"]
    assert len(warnings) == 1 and path.name in warnings[0]


def test_a_journal_cannot_say_where_to_write(folder: Path) -> None:
    path = unfinished(folder, ("happy", 5))
    path.write_text(path.read_text().replace(path.name.removesuffix(JOURNAL_SUFFIX), "../../escaped"))
    (outcome,) = stored(folder).recover()
    assert all(each.parent == folder for each in outcome.files)


def test_an_ended_journal_whose_files_are_missing_is_finished_as_it_ended(folder: Path) -> None:
    path = unfinished(folder, ("happy", 20))
    with path.open("a") as file:
        file.write(json.dumps({"kind": "end", "end_ns": at(15), "ended_by": "stopped by hand"}) + "\n")
    (outcome,) = stored(folder).recover()
    assert not outcome.summary.recovered
    assert outcome.summary.ended_by == "stopped by hand"
    assert outcome.summary.duration == pytest.approx(15)


# --- a disk that refuses ------------------------------------------------------------------------------------------


class Disk:
    """Stands between the journal and the system; full when told to be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None  # bytes; None: as much as wanted
        self.synced = 0
        self._write, self._fsync = os.write, os.fsync
        monkeypatch.setattr(journal.os, "write", self.write)
        monkeypatch.setattr(journal.os, "fsync", self.fsync)

    def write(self, fd: int, data: bytes) -> int:
        if self.room is None:
            return self._write(fd, data)
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self._write(fd, bytes(data[: self.room]))
        self.room -= taken
        return taken

    def fsync(self, fd: int) -> None:
        self.synced += 1
        self._fsync(fd)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_full_disk_loses_nothing_once_it_has_room_again(folder: Path, disk: Disk) -> None:
    warnings: list[str] = []
    now = 0.0
    writer = Journal(folder / "a.jsonl", clock=lambda: now)
    for number in range(100):
        now += 0.2
        disk.room = 5 if number == 20 else 0 if 20 < number < 60 else None
        writer.append({"number": number})
        if 20 <= number < 60:
            warnings.append(writer.problem)
    assert writer.waiting == 0 and writer.problem == ""
    assert all("No space left on device" in text and "a.jsonl" in text for text in warnings)
    assert [record["number"] for record in read_journal(folder / "a.jsonl")] == list(range(100))


def test_a_conversation_that_ends_on_a_full_disk_is_written_when_there_is_room(folder: Path, disk: Disk) -> None:
    said: list[str] = []
    conversations = Conversations(
        ConversationConfig(directory=str(folder)), report.write_files, said.append, said.append
    )
    conversations.start(at(0))
    run(conversations, ("happy", 20))
    disk.room = 0
    run(conversations, ("sad", 20), begin=20)
    outcome = conversations.stop(at(40))
    assert outcome.files == ()
    assert "No space left on device" in outcome.problem
    assert outcome.summary.coverage == pytest.approx(1, abs=0.01)
    assert conversations.unsaved == 1
    assert any("kept in memory" in text and "No space left" in text for text in said)
    disk.room = None
    conversations.tick(at(41))
    assert conversations.unsaved == 0 and conversations.problem == ""
    assert conversations.last is not None and len(conversations.last.files) == 3
    with next(folder.glob("*.csv")).open() as file:
        assert sum(1 for _ in csv.DictReader(file)) == 200
    assert any("nothing was lost" in text for text in said)


def test_a_folder_that_cannot_be_made_is_a_problem_told_not_an_exception(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    conversations = Conversations(ConversationConfig(directory=str(blocker / "conversations")), report.write_files)
    assert conversations.recover() == []
    conversations.start(at(0))
    assert str(blocker / "conversations") in conversations.problem
    run(conversations, ("happy", 20))
    outcome = conversations.stop(at(20))
    assert "Not a directory" in outcome.problem
    assert outcome.summary.coverage == pytest.approx(1, abs=0.01)
    blocker.unlink()
    conversations.tick(at(31))
    assert conversations.last is not None and len(conversations.last.files) == 3


def test_a_journal_deleted_while_it_is_written_goes_on_in_a_new_file(folder: Path) -> None:
    now = 0.0
    writer = Journal(folder / "a.jsonl", clock=lambda: now)
    for number in range(30):
        now += 0.5
        if number == 10:
            (folder / "a.jsonl").unlink()
        writer.append({"number": number})
    numbers = [record["number"] for record in read_journal(folder / "a.jsonl")]
    assert numbers[0] == 0  # the beginning, without which the rest means nothing
    assert numbers[-10:] == list(range(20, 30))


def test_what_waits_in_memory_is_bounded_and_counted(folder: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "MAX_WAITING", 200)
    disk.room = 0
    writer = Journal(folder / "a.jsonl")
    for number in range(100):
        writer.append({"number": number})
    assert writer.waiting <= 200
    assert writer.dropped > 0


def test_syncs_are_spread_over_time(folder: Path, disk: Disk) -> None:
    now = 0.0
    writer = Journal(folder / "a.jsonl", sync_s=1.0, clock=lambda: now)
    writer.append({"kind": "start"}, sync=True)
    before = disk.synced
    for _ in range(50):  # 10 s
        now += 0.2
        writer.append({"kind": "sample"})
    assert 9 <= disk.synced - before <= 10


def test_a_file_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, iter(["old"]))

    def breaks_off() -> object:
        yield "new"
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomically(path, breaks_off())  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


# --- the report ---------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks nesting and gathers what a report holds."""

    VOID = frozenset({"meta", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def page_of(*scenes: Scene, name: str = "") -> tuple[str, Page]:
    conversations = Conversations(ConversationConfig(auto_start=False))
    conversations.start(at(0), name=name)
    end = run(conversations, *scenes)
    text = report.html_page(conversations.stop(at(end)).summary)
    return text, Page(text)


def test_the_report_needs_nothing_from_elsewhere() -> None:
    text, page = page_of(("happy", 40), ("", 5), ("angry", 40))
    assert page.links == []
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert re.findall(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text) == []
    assert "default-src 'none'" in text
    assert "prefers-color-scheme:dark" in text


def test_the_plot_can_be_read_without_seeing_it() -> None:
    text, page = page_of(("happy", 40), ("angry", 40), ("happy", 40))
    assert 'role="img"' in text and 'aria-labelledby="arc-title arc-desc"' in text
    assert '<title id="arc-title">' in text and '<desc id="arc-desc">' in text
    assert {"table", "th", "details"} <= set(page.tags)
    assert '<html lang="en">' in text


def test_text_from_outside_is_escaped() -> None:
    text, page = page_of(("happy", 20), name='<script>alert("x")</script> & "Co"')
    assert "script" not in page.tags
    assert '<script>alert("x")</script> & "Co"' in "".join(page.words)
    assert "<script" not in text


def test_the_curve_is_broken_at_a_gap() -> None:
    whole, _ = page_of(("happy", 30), ("happy", 30))
    broken, _ = page_of(("happy", 30), ("", 10), ("happy", 30))
    assert whole.count('<path class="valence"') == 1 and 'class="gap"' not in whole
    assert broken.count('<path class="valence"') == 2 and broken.count('<rect class="gap"') == 2
    assert "nan" not in broken.lower().replace("font", "")


@pytest.mark.parametrize("scenes", [[("", 10)], [("happy", 0.2)], [("happy", 3)], [("sad", 1.0), ("", 50)]])
def test_there_is_a_report_however_little_there_was(scenes: list[Scene]) -> None:
    text, page = page_of(*scenes)
    assert "No satisfaction score" in "".join(page.words)
    assert re.search(r"\bnan\b", text) is None


def test_a_conversation_of_hours_is_summed_up_in_a_second() -> None:
    conversations = Conversations(ConversationConfig(auto_start=False))
    conversations.start(at(0))
    run(conversations, *[("happy", 900), ("sad", 900)] * 4, rate=5.0)
    begin = time.perf_counter()
    summary = conversations.stop(at(7200)).summary
    text = report.html_page(summary)
    assert time.perf_counter() - begin < 1.0
    assert len(summary.arc) <= 1200 and len(text) < 1_000_000
    assert summary.duration == pytest.approx(7200)
