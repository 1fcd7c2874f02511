"""Tables of the documentation that repeat what code says are complete."""

from __future__ import annotations

import os
import re

import yaml
from markdown_page import ROOT

PACKAGE = ROOT / "emotion_perception"
CODE = re.compile(r"`([^`]+)`")


def rows(page: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading."""
    section = (ROOT / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.group().splitlines()[2:]]


def parts_of_the_package() -> set[str]:
    """Names of its modules and folders."""
    return {
        path.stem
        for path in PACKAGE.iterdir()
        if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").is_file())
    }


def test_the_layers_of_the_architecture_page_are_those_that_are_checked():
    layers = re.search(r"^layers = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert layers is not None
    checked = [set(row.split(" | ")) for row in re.findall(r'"(.+)"', layers.group(1))]
    documented = [set(CODE.findall(row[0])) for row in rows("docs/architecture.md", "Layers")]
    assert documented == checked
    assert set().union(*documented) == parts_of_the_package()


def test_contributing_names_every_part_of_the_package():
    named = {
        name.removesuffix(".py").rstrip("/")
        for row in rows("CONTRIBUTING.md", "Where things go")
        for name in CODE.findall(row[0])
    }
    assert named == parts_of_the_package()


def test_contributing_names_tests_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text().split("\n## Where things go\n")[1].split("\n## ")[0]
    named = {name for name in CODE.findall(text) if name.startswith("test/")}
    assert {name for name in named if not (ROOT / name).exists()} == set()
    folders = {f"test/{path.name}" for path in (ROOT / "test").iterdir() if any(path.glob("test_*.py"))}
    assert {folder for folder in folders if folder not in named and folder + "/" not in named} == set()


def test_the_ci_workflow_runs_the_script_that_developers_run():
    (job,) = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    assert os.access(ROOT / ".ci/run", os.X_OK) and "scripts/test.sh" in (ROOT / ".ci/run").read_text()


def test_code_names_of_the_glossary_exist():
    terms = (ROOT / "docs/glossary.md").read_text().split("\n## Perception of faces\n")[1]
    entries = [line.split("|")[-2] for line in terms.splitlines() if line.startswith("|")]
    names = {name for entry in entries for name in CODE.findall(entry)}
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "emotion_msgs").rglob("*.msg")]
    text = "\n".join(path.read_text() for path in sources)
    files = {name for name in names if "/" in name or name.endswith(".py")}
    missing = {name for name in files if not [*ROOT.glob(name), *PACKAGE.glob(name)]}
    missing |= {name for name in names - files if not re.search(rf"\b{name.split('.')[-1].rstrip(':=')}\b", text)}
    assert missing == set()
