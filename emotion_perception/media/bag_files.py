"""The files of ROS 1 and ROS 2 recordings: whole folders, single files, compressed, and those whose recorder died."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from backports import zstd
from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.typesys.store import Typestore

from emotion_perception.media.bag_names import COMPRESSED_SUFFIX, METADATA, ROS1_SUFFIX, storage_files
from emotion_perception.media.bag_types import typestore_of

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # a message begins with its CDR header, 00 00 to 00 0b


class BagReader:
    """Reads a recording; a context manager.

    A folder is read by its ``metadata.yaml``; where that is missing or damaged, its storage files are read in
    their order.

    Args:
        path: the folder of a ROS 2 recording, one of its files (``.mcap``, ``.db3``, either with ``.zstd``), or a ROS 1
            ``.bag``.

    Attributes:
        connections: its topics, those of all files.
        duration: from the first to the last message, ns.
        note: what was wrong with the recording, or empty.

    Raises:
        Exception: (on entering) of any type: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: list[Connection] = []
        self.duration = 0
        self.note = ""
        self._stack = ExitStack()
        self._readers: list[Any] = []
        self._stores: dict[tuple[str, str], Typestore] = {}
        self._is_ros1 = path.suffix.lower() == ROS1_SUFFIX

    def __enter__(self) -> BagReader:
        try:
            self._readers = self._open()
        except BaseException:
            self._stack.close()
            raise
        topics: dict[tuple[str, str], Connection] = {}
        for connection in chain.from_iterable(reader.connections for reader in self._readers):
            key = connection.topic, connection.msgtype
            known = topics.get(key)
            topics[key] = connection._replace(msgcount=connection.msgcount + known.msgcount) if known else connection
        self.connections = list(topics.values())
        if filled := [reader for reader in self._readers if reader.message_count]:
            self.duration = max(r.end_time for r in filled) - min(r.start_time for r in filled)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def messages(self, connections: Collection[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """Topic, time of recording (ns) and bytes of each message of some topics, file by file."""
        wanted = {(c.topic, c.msgtype): c for c in connections}
        for reader in self._readers:
            chosen = [c for c in reader.connections if (c.topic, c.msgtype) in wanted]
            for connection, logged, data in reader.messages(chosen) if chosen else ():
                # Without metadata.yaml nothing says that the messages of a storage file are compressed.
                plain = zstd.decompress(data) if bytes(data[:4]) == ZSTD_MAGIC else data
                yield wanted[connection.topic, connection.msgtype], logged, plain

    def decode(self, connection: Connection, data: bytes) -> Any:
        """A message from its bytes."""
        key = connection.topic, connection.msgtype
        store = self._stores.get(key) or self._stores.setdefault(key, typestore_of(self.connections, connection))
        if self._is_ros1:
            return store.deserialize_ros1(data, connection.msgtype)
        return store.deserialize_cdr(data, connection.msgtype)

    def _open(self) -> list[Any]:
        if self._is_ros1:
            return [self._stack.enter_context(Ros1Reader(self.path))]
        if not self.path.is_dir():
            return [self._stack.enter_context(Ros2Reader(self._plain(self.path)))]
        try:
            return [self._stack.enter_context(Ros2Reader(self.path))]
        except Exception as error:
            files = storage_files(self.path)
            if not files:
                raise
            self.note = f"{METADATA} is missing or damaged (`ros2 bag reindex` writes it)"
            try:
                return [self._stack.enter_context(Ros2Reader(self._plain(file))) for file in files]
            except Exception as cause:
                raise cause from error

    def _plain(self, file: Path) -> Path:
        """A storage file without its compression."""
        if file.suffix.lower() != COMPRESSED_SUFFIX:
            return file
        plain = Path(self._stack.enter_context(TemporaryDirectory(prefix="recording-")), file.stem)
        with file.open("rb") as packed, zstd.open(packed, "rb") as source, plain.open("wb") as out:
            shutil.copyfileobj(source, out)
        return plain
