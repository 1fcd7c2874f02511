"""Learning by a button: what would be learnt, one training at a time, results, failures, roll-back, who may do it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import stand_in_training
from page_world import TOKEN, Client, correct

from emotion_perception.dashboard.config import Parts
from emotion_perception.dashboard.learning_job import RECORD, LearningConfig, LearningJob
from emotion_perception.dashboard.security import TOKEN_VARIABLE
from emotion_perception.dashboard.store import Store
from emotion_perception.feedback.learnable import is_held_out
from emotion_perception.feedback.model_versions import FRESH, ModelVersions


@dataclass
class Shop:
    """Corrections, a model that learns from them, and the audit events."""

    folder: Path
    data: Path
    events: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def versions(self) -> ModelVersions:
        return ModelVersions(self.folder / "models")

    def job(self, what: str = "better", **config: Any) -> LearningJob:
        command = (sys.executable, stand_in_training.__file__, what)
        made = {"data": self.data, "command": command, "installed": lambda: True} | config
        return LearningJob(LearningConfig(self.folder, **made), lambda *event: self.events.append(event))

    def face(self, client: Client) -> dict[str, Any]:
        return client.get("/api/learning").json["models"][0]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Ten accepted faces, two that are to be reviewed, and a model in use."""
    made = Shop(tmp_path / "corrections", tmp_path / "base")
    for number in range(10, 20):  # ids of which two are held out
        correct(made.folder, number, "sad" if number < 17 else "happy")
    for number in range(2):
        correct(made.folder, 20 + number, status="pending")
    correct(made.folder, 30, kind="voice")
    made.data.mkdir()
    (made.data / "ferplus.npz").touch()
    (made.data / "old.onnx").write_bytes(b"the old network")
    made.versions.add(made.data / "old.onnx", {"scores": {}})
    return made


@pytest.fixture
def page(shop: Shop, serve: Callable[..., Client]) -> Callable[..., Client]:
    def start(what: str = "better", token: str = "", **config: Any) -> Client:
        return serve(Parts(Store(), learning=shop.job(what, **config)), token=token)

    return start


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
    return found


def finished(client: Client) -> dict[str, Any]:
    """The result of the training of faces, once it has ended."""
    until(lambda: client.get("/api/learning/running").json["running"] is None)
    return client.get("/api/learning").json["models"][0]["last"]


def test_the_page_shows_what_would_be_learnt(shop: Shop, page: Callable[..., Client]) -> None:
    state = page().get("/api/learning").json
    face, voice = state["models"]
    held_out = sum(is_held_out(path, {}) for path in (shop.folder / "accepted").glob("*.json")) - voice["held_out"]
    assert face["accepted"] == face["new"] == {"sad": 7, "happy": 3} and face["pending"] == 2
    assert 0 < held_out == face["held_out"] and face["to_learn"] == 10 - held_out and face["enough"]
    assert voice["accepted"] == {"sad": 1} and not voice["enough"]
    assert face["version"] == 1 and face["previous"] is None and state["running"] is None and state["installed"]


def test_a_better_model_is_used_and_its_corrections_are_no_longer_new(shop: Shop, page: Callable[..., Client]) -> None:
    client = page()
    assert client.post("/api/learning/face/start").status == 202
    last = finished(client)
    assert last["outcome"] == "installed" and last["version"] == 2 and last["corrections"] == 11
    assert (last["before"]["accuracy"], last["after"]["accuracy"]) == (0.8, 0.81)
    assert shop.versions.link.read_bytes() == b"a new network"
    assert [event[:2] for event in shop.events] == [("started", "face"), ("installed", "face")]
    correct(shop.folder, 40, "angry")
    again = shop.job()  # after a restart of the robot
    assert again.state()["models"][0]["new"] == {"angry": 1} and again.state()["models"][0]["last"] == last


def test_a_worse_model_is_refused_with_the_reason(shop: Shop, page: Callable[..., Client]) -> None:
    client = page("worse")
    client.post("/api/learning/face/start")
    last = finished(client)
    assert last["outcome"] == "refused" and "fell to 70.0 %" in last["reason"] and last["after"]["accuracy"] == 0.81
    assert shop.versions.link.read_bytes() == b"the old network"
    assert shop.events[-1] == ("refused", "face", last["reason"])
    assert shop.face(client)["new"] == {}, "learning from the same corrections again would be refused again"


@pytest.mark.parametrize(("what", "reason"), [("crash", "signal SIGKILL"), ("wrong", "the base data are damaged")])
def test_a_training_that_fails_leaves_the_model_in_use(
    shop: Shop, page: Callable[..., Client], what: str, reason: str
) -> None:
    client = page(what)
    client.post("/api/learning/face/start")
    last = finished(client)
    assert last["outcome"] == "failed" and reason in last["reason"] and shop.events[-1][0] == "failed"
    assert shop.versions.current == 1 and shop.versions.link.read_bytes() == b"the old network"
    assert shop.face(client)["new"] == {"sad": 7, "happy": 3}
    with shop.versions.exclusive():
        assert not (shop.versions.folder / FRESH).exists(), "the next training removes what was half written"


def test_only_one_training_runs_and_it_can_be_cancelled(shop: Shop, page: Callable[..., Client]) -> None:
    client = page("wait")
    assert client.post("/api/learning/cancel").status == 409
    client.post("/api/learning/face/start")
    running = until(lambda: (found := client.get("/api/learning/running").json["running"])["done"] and found)
    assert (running["kind"], running["stage"], running["done"], running["total"]) == ("face", "learn", 50, 200)
    for path in ("face/start", "voice/start", "face/roll-back"):
        refused = client.post(f"/api/learning/{path}")
        assert refused.status == 409 and "running" in refused.error
    pid = json.loads((shop.folder / "started.json").read_text())["pid"]
    assert client.post("/api/learning/cancel").status == 200
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert finished(client)["outcome"] == "cancelled" and shop.versions.current == 1
    assert [event[0] for event in shop.events] == ["started", "cancelled"]


def test_a_training_ends_with_the_server_and_does_not_know_the_token(
    shop: Shop, page: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    client = page("wait")
    client.post("/api/learning/face/start", Authorization=f"Bearer {TOKEN}")
    started = json.loads(until(lambda: _text(shop.folder / "started.json")))
    client.server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(started["pid"], 0)
    assert TOKEN not in started["environment"].values() and "--background" in started["arguments"]


def _text(path: Path) -> str:
    text = path.read_text() if path.exists() else ""
    return text if text.endswith("}") else ""


def test_a_robot_that_was_switched_off_during_a_training_says_so(shop: Shop) -> None:
    (shop.folder / RECORD).write_text(json.dumps({"face": {"last": {"outcome": "started", "started": 1.0}}}))
    assert shop.job().state()["models"][0]["last"]["outcome"] == "interrupted"
    (shop.folder / RECORD).write_text("[nonsense")
    assert shop.job().state()["models"][0]["last"] is None


def test_the_version_before_is_restored(shop: Shop, page: Callable[..., Client]) -> None:
    client = page()
    assert "no version before" in client.post("/api/learning/face/roll-back").error
    shop.versions.add(shop.data / "old.onnx", {"scores": {}})
    assert shop.face(client)["previous"] == 1
    assert client.post("/api/learning/face/roll-back").json == {"version": 1}
    assert shop.versions.current == 1 and shop.face(client)["last"]["outcome"] == "rolled back"
    assert shop.events == [("rolled back", "face", "version 1")]


def test_what_is_missing_is_said_before_a_training_starts(shop: Shop, page: Callable[..., Client]) -> None:
    client = page(installed=lambda: False)
    assert client.get("/api/learning").json["install"] == "scripts/setup.sh learn"
    assert "run scripts/setup.sh learn" in client.post("/api/learning/face/start").error
    assert "at least 5 are needed" in page().post("/api/learning/voice/start").error
    assert "learning_data_directory" in page(data=None).post("/api/learning/face/start").error
    (shop.data / "ferplus.npz").unlink()
    client = page()
    assert "no base data at" in client.post("/api/learning/face/start").error
    assert client.get("/api/learning/running").json["running"] is None and shop.events == []


def test_nothing_is_learnt_without_consent(serve: Callable[..., Client]) -> None:
    client = serve()
    for answer in (client.get("/api/learning"), client.post("/api/learning/face/start")):
        assert answer.status == 409 and "store_corrections" in answer.error


def test_another_site_or_a_visitor_without_the_token_starts_nothing(shop: Shop, page: Callable[..., Client]) -> None:
    client = page()
    for path in ("face/start", "cancel", "face/roll-back"):
        assert client.ask("POST", f"/api/learning/{path}", own=False).status == 403
        assert client.post(f"/api/learning/{path}", Origin="http://evil.example").status == 403
    guarded = page(token=TOKEN)
    assert guarded.post("/api/learning/face/start").status == 401 and guarded.get("/api/learning").status == 401
    assert not (shop.folder / "started.json").exists()
