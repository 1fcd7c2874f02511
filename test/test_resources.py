"""Where models, configuration and the demo clip are found: in a checkout, and installed."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from emotion_perception import resources

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture
def installed(tmp_path, monkeypatch) -> ModuleType:
    """The module as it lies in a plain install under ``tmp_path/prefix``, with no checkout around it."""
    package = tmp_path / "prefix/lib/python3.11/site-packages/emotion_perception"
    package.mkdir(parents=True)
    shutil.copy(resources.__file__, package / "resources.py")
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    spec = importlib.util.spec_from_file_location("installed_resources", package / "resources.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("here")
    return path


def test_checkout_is_found_first(monkeypatch, tmp_path):
    make(tmp_path / "share/emotion_perception/config/fastdds.xml")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert resources.config_path("fastdds.xml") == CHECKOUT / "config/fastdds.xml"


def test_installed_model_is_found_next_to_the_install(installed, tmp_path):
    model = make(tmp_path / "prefix/share/emotion_perception/models/face.safetensors")
    assert installed.model_path("face.safetensors") == model


def test_ament_prefixes_are_searched_in_their_order(installed, tmp_path, monkeypatch):
    model = make(tmp_path / "b/share/emotion_perception/models/face.safetensors")
    make(tmp_path / "c/share/emotion_perception/models/face.safetensors")
    prefixes = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    monkeypatch.setenv("AMENT_PREFIX_PATH", ":".join(map(str, prefixes)))
    assert installed.model_path("face.safetensors") == model


def test_missing_model_names_every_path_tried(installed, tmp_path, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "a"))
    with pytest.raises(FileNotFoundError) as caught:
        installed.model_path("nowhere.safetensors")
    message = str(caught.value)
    assert "models/nowhere.safetensors not found" in message
    assert str(tmp_path / "a/share/emotion_perception/models/nowhere.safetensors") in message
    assert str(tmp_path / "prefix/share/emotion_perception/models/nowhere.safetensors") in message


def test_a_folder_is_no_resource():
    with pytest.raises(FileNotFoundError):
        resources.config_path("training")


def test_absolute_path_stands_for_itself(tmp_path):
    own = make(tmp_path / "own.safetensors")
    assert resources.model_path(str(own)) == own


def test_missing_absolute_path_is_named_once(tmp_path):
    gone = tmp_path / "gone.safetensors"
    with pytest.raises(FileNotFoundError) as caught:
        resources.model_path(str(gone))
    assert str(caught.value).endswith(f"tried {gone}")
