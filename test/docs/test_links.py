"""Links of the documentation lead somewhere. Nothing is fetched from the network."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from markdown_page import MarkdownPage, all_pages, github_anchor

PAGES = all_pages()


def broken_links(page: MarkdownPage) -> list[str]:
    """Each link that does not lead anywhere, with line and reason."""
    wrong = []
    for line, target in page.links:
        parts = urlsplit(target)
        if parts.scheme:
            if parts.scheme not in ("https", "http", "mailto") or not (parts.netloc or parts.path):
                wrong.append(f"{page.name}:{line}: {target} is no web address")
            continue
        other = page if not parts.path else MarkdownPage((page.path.parent / parts.path).resolve())
        if not other.path.exists():
            wrong.append(f"{page.name}:{line}: no file {parts.path}")
        elif parts.fragment and (other.path.suffix != ".md" or parts.fragment not in other.anchors):
            wrong.append(f"{page.name}:{line}: no heading for {target}")
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_the_page_leads_to_a_file_or_heading(page: MarkdownPage):
    assert broken_links(page) == []


def test_every_page_of_docs_is_reached_from_the_readme():
    root = PAGES[0].path.parent
    reached: set[Path] = set()
    waiting = [root / "README.md"]
    while waiting:
        page = MarkdownPage(waiting.pop())
        reached.add(page.path)
        for _, target in page.links:
            parts = urlsplit(target)
            path = (page.path.parent / parts.path).resolve()
            if not parts.scheme and path.suffix == ".md" and path.is_file() and path not in reached:
                waiting.append(path)
    assert {page.name for page in PAGES if page.path not in reached} == set()


def test_a_wrong_file_and_a_wrong_heading_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("markdown_page.ROOT", tmp_path)
    (tmp_path / "b.md").write_text("# One `two`, three\n```\n# no heading\n[no](link.md)\n```\n")
    (tmp_path / "a.md").write_text(
        "[a](b.md#one-two-three)\n![b](none.png) and `[code](none)`\n[c](b.md#no-heading)\n<https://example.org>\n"
    )
    wrong = broken_links(MarkdownPage(tmp_path / "a.md"))
    assert wrong == ["a.md:2: no file none.png", "a.md:3: no heading for b.md#no-heading"]


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [("Limits and ethics", "limits-and-ethics"), ("`a_b`: x, y (z)", "a_b-x-y-z"), ("[A](b.md) — c", "a--c")],
)
def test_headings_have_the_anchors_that_github_gives_them(heading: str, anchor: str):
    assert github_anchor(heading) == anchor
