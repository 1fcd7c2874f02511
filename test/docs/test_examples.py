"""Examples of docstrings and pages run as they are printed.

A Python block of a page runs if its fence says ``run`` (as in ``python run``). A block with ``file=NAME`` is written to
that file first. Blocks of a page share one namespace and run in their order, in a folder with the sample files below.
"""

from __future__ import annotations

import ast
import doctest
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from markdown_page import ROOT, MarkdownPage, all_pages

PAGES = [page for page in all_pages() if any("run" in block.words for block in page.blocks)]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "emotion_perception").rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_of_the_page_run(page: MarkdownPage, run_page: Callable[..., dict[str, Any]]):
    names = run_page(page)
    blocks = [block.text for block in page.blocks if "run" in block.words]
    assigned = {
        node.id
        for node in ast.walk(ast.parse("\n".join(blocks)))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    assert assigned & set(names), "the examples were executed"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str, sample_files: Path):
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failures, tried = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert tried > 0 and failures == 0


def test_the_readme_has_an_example_that_runs():
    assert "README.md" in {page.name for page in PAGES}
