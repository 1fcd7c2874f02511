"""The store on a bad day: two processes at once, a killed one, a full or read-only disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from stored_conversations import MONDAY, NOON, Shop

from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.store_database import DATABASE, StoreError
from emotion_perception.interaction.store_records import ConversationQuery

WRITER = """
import sys, json, itertools
from pathlib import Path
from emotion_perception.files import write_atomically
from emotion_perception.interaction.conversation_store import ConversationStore
folder, template = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
for i in itertools.count():
    name = f"{sys.argv[3]}{i}"
    write_atomically(folder / f"{name}.json", [json.dumps(template | {"start": template["start"] + i})])
    store = ConversationStore(folder)
    store.add(name)
    store.close()
    print(name, flush=True)
"""


def writer(shop: Shop, tmp_path: Path, prefix: str) -> subprocess.Popen[str]:
    """A process that stores one conversation after the other, as interaction_node does."""
    template = tmp_path / "template.json"
    if not template.exists():
        template.write_bytes(shop.had("first").read_bytes())
    command = [sys.executable, "-c", WRITER, str(shop.folder), str(template), prefix]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def test_two_writers_a_reader_and_a_deleter_at_once_lose_nothing(shop: Shop, tmp_path: Path) -> None:
    a, b = writer(shop, tmp_path, "a"), writer(shop, tmp_path, "b")
    written: list[str] = []
    deleted: set[str] = set()
    try:
        for _ in range(8):
            written += read_lines(a, 3) + read_lines(b, 3)
            assert set(written) - deleted <= set(shop.ids(limit=500)), "what was added is found at once"
            victim = written[len(deleted)]
            shop.store.delete(ConversationQuery(interaction_id=victim), "page")
            deleted.add(victim)
            assert shop.store.period(MONDAY, MONDAY + timedelta(days=1)).conversations >= len(written) - len(deleted)
    finally:
        for process in (a, b):
            process.kill()
            process.wait()
    shop.store.sync()
    files = {path.stem for path in shop.folder.glob("[!.]*.json")}
    assert set(shop.ids(limit=500)) == files and deleted.isdisjoint(files)


def test_a_writer_killed_at_any_moment_leaves_a_usable_store(shop: Shop, tmp_path: Path) -> None:
    for i in range(5):
        process = writer(shop, tmp_path, f"r{i}-")
        names = read_lines(process, 2)
        time.sleep(0.013 * i)
        process.send_signal(signal.SIGKILL)
        process.wait()
        store = ConversationStore(shop.folder, shop.warnings.append)
        listed = {line["id"] for line in store.page(ConversationQuery(limit=500)).conversations}
        assert set(names) <= listed and listed == {path.stem for path in shop.folder.glob("[!.]*.json")}
        store.close()
    assert shop.warnings == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 kB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def test_a_read_only_disk_is_read_and_refuses_deletion_with_the_reason(shop: Shop, disk: Path) -> None:
    shop = Shop(disk, shop._template)
    shop.had("indexed")
    shop.store.page()
    shop.store.close()
    shop.had("not indexed yet".replace(" ", "_"), NOON + timedelta(hours=1))
    remount(disk, "ro")
    assert shop.ids() == ["not_indexed_yet", "indexed"]
    (warning,) = shop.warnings
    assert DATABASE in warning and "Read-only" in warning
    with pytest.raises(StoreError, match="0 of 1 conversations were deleted.*Read-only"):
        shop.store.delete(ConversationQuery(interaction_id="indexed"), "page")
    assert shop.ids() == ["not_indexed_yet", "indexed"]
    remount(disk, "rw")
    shop.store.close()
    shop.store.delete(ConversationQuery(interaction_id="indexed"), "page")
    assert shop.ids() == ["not_indexed_yet"]


@pytest.mark.parametrize("opened", [True, False])
def test_on_a_full_disk_the_list_is_complete_and_deleting_makes_room(shop: Shop, disk: Path, opened: bool) -> None:
    shop = Shop(disk, shop._template)
    for i in range(8):
        shop.had(f"c{i}")
    if opened:
        assert shop.store.page().total == 8
    ballast = (disk / "ballast").open("wb", buffering=0)
    for size in (4096, 1):
        try:
            while ballast.write(bytes(size)):
                pass
        except OSError:
            continue
    assert shop.store.page().total == 8
    shop.store.delete(ConversationQuery(), "page")
    ballast.close()
    (disk / "ballast").unlink()
    shop.store.close()
    assert shop.store.page().total == 0 and not list(disk.glob("*.json"))
    assert shop.store.delete(ConversationQuery(), "retention").conversations == 0
    assert not shop.store._database.has_traces(), "the next deletion has finished the erasure"
    shop.had("new")
    assert shop.store.page().total == 1 and os.path.getsize(disk / DATABASE) > 0
