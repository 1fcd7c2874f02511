"""What the page lets a manager choose to keep."""

from __future__ import annotations

import pytest

from emotion_perception.interaction.storage_choice import CHOICE_FILE, ChoiceFile, StorageChoice, directory_in_use


def test_without_a_choice_nothing_is_kept(tmp_path):
    assert ChoiceFile(str(tmp_path / "data")).read() == StorageChoice(keep_numbers=False)
    assert directory_in_use("", str(tmp_path / "data")) == "" and not (tmp_path / "data").exists()


def test_a_choice_is_remembered_in_a_private_file_and_seen_by_another_process(tmp_path):
    data = tmp_path / "data"
    ChoiceFile(str(data)).write(StorageChoice(True, 30))
    other = ChoiceFile(str(data))
    assert other.read() == StorageChoice(True, 30)
    assert (data / CHOICE_FILE).stat().st_mode & 0o777 == 0o600
    assert directory_in_use("", str(data)) == str(data / "conversations")
    ChoiceFile(str(data)).write(StorageChoice(False, 30))
    assert other.read() == StorageChoice(False, 30) and directory_in_use("", str(data)) == ""


def test_the_parameter_has_precedence_and_an_empty_data_directory_offers_no_choice(tmp_path):
    ChoiceFile(str(tmp_path)).write(StorageChoice(True, 30))
    assert directory_in_use("/srv/talks", str(tmp_path)) == "/srv/talks"
    assert directory_in_use("", "") == ""


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keep_numbers": 1, "retention_days": 3}', "\x00"])
def test_a_damaged_file_keeps_nothing(tmp_path, content):
    (tmp_path / CHOICE_FILE).write_text(content)
    assert not ChoiceFile(str(tmp_path)).read().keep_numbers


@pytest.mark.parametrize("days", [0, 3651, 1.5, True, "9"])
def test_a_retention_out_of_range_is_refused(days):
    with pytest.raises(ValueError, match="1 to 3650"):
        StorageChoice(True, days)
