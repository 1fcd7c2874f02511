"""A folder of stored conversations, each made by changing one that was really stored."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from page_world import store_conversation

from emotion_perception.files import write_atomically
from emotion_perception.interaction.conversation_store import ConversationStore
from emotion_perception.interaction.store_records import ConversationQuery
from emotion_perception.types import SECOND

MONDAY = datetime(2026, 11, 23).astimezone()
NOON = MONDAY + timedelta(hours=12)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The fields of a conversation of a minute."""
    folder = tmp_path_factory.mktemp("template")
    store_conversation(folder, "c0", round(NOON.timestamp()) * SECOND)
    return json.loads((folder / "c0.json").read_text())


class Shop:
    """A folder of conversations."""

    def __init__(self, folder: Path, template: dict[str, Any]) -> None:
        self.folder, self._template = folder, template
        self.warnings: list[str] = []
        self.store = ConversationStore(folder, self.warnings.append)

    def had(self, key: str, start: datetime = NOON, score: int | None = 60, margin: int = 8, **fields: Any) -> Path:
        """Write the JSON file of a conversation."""
        made = json.loads(json.dumps(self._template))
        made |= {"start": start.timestamp(), "interaction_id": key}
        made["satisfaction"] |= {"score": score, "margin": None if score is None else margin}
        made["satisfaction"]["verdict"] = "unknown" if score is None else "satisfied" if score > 50 else "dissatisfied"
        made["emotion"]["label"] = fields.pop("label", "happy")
        path = self.folder / f"{key}.json"
        write_atomically(path, [json.dumps(made | fields)])
        return path

    def ids(self, **query: Any) -> list[str]:
        return [line["id"] for line in self.store.page(ConversationQuery(**query)).conversations]


@pytest.fixture
def shop(tmp_path: Path, template: dict[str, Any]) -> Shop:
    return Shop(tmp_path / "shop", template)
