"""What a release with bloom reads besides package.xml: one changelog per package, in catkin's format."""

from __future__ import annotations

from pathlib import Path

import pytest
from catkin_pkg.changelog import Changelog, populate_changelog_from_rst
from catkin_pkg.package import parse_package
from catkin_pkg.package_version import get_forthcoming_label

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("package", [".", "emotion_msgs"])
def test_changelog_has_entries_for_the_next_version_once_it_is_released(package):
    described = parse_package(ROOT / package / "package.xml")
    text = (ROOT / package / "CHANGELOG.rst").read_text()
    if label := get_forthcoming_label(text):  # catkin_prepare_release replaces it by version and date
        title = f"{described.version} (2026-01-01)"
        text = text.replace(f"{label}\n{'-' * len(label)}", f"{title}\n{'-' * len(title)}")
    changelog = populate_changelog_from_rst(Changelog(described.name), text)
    assert changelog.get_content_of_version(described.version)
    assert text.splitlines()[1] == f"Changelog for package {described.name}"


@pytest.mark.parametrize("package", [".", "emotion_msgs"])
def test_package_has_what_the_build_farm_requires(package):
    described = parse_package(ROOT / package / "package.xml")
    warnings: list[str] = []
    described.validate(warnings)
    assert not warnings
    assert described.package_format == 3
    assert described.maintainers
    assert described.licenses
    assert described.get_build_type() in ("ament_python", "ament_cmake")
