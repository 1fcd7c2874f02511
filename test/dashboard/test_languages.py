"""The page's texts: complete in every language, and every text in use."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from page_robot import take, views
from page_world import Page

from emotion_perception.dashboard.static_files import DEFAULT_LANGUAGE, MESSAGES, STATIC, messages
from emotion_perception.emotions import EMOTIONS
from emotion_perception.interaction.arc_shape import SHAPE_TEXT
from emotion_perception.types import EmotionStatus
from emotion_perception.visual.blank_image import BLACK, UNIFORM

LANGUAGES = ("en", "de", "fr", "es", "it", "ja", "ar")
# CLDR plural categories of whole numbers up to a million.
PLURALS = {"ja": {"other"}, "ar": {"zero", "one", "two", "few", "many", "other"}}
WITHOUT_NUMBER = {"zero", "one", "two"}  # "a face", "two faces" may be words
# Groups whose keys end with a word that the server sends, and these words.
SERVER_WORDS = {
    "emotion": EMOTIONS,
    "shape": SHAPE_TEXT.values(),
    "camera": (BLACK, UNIFORM),
    "status": [status.name for status in EmotionStatus],
    "level": ("ok", "warn", "error", "stale"),
    "verdict": ("satisfied", "dissatisfied", "undecided", "unknown"),
}


def texts(language: str) -> dict[str, str | dict[str, str]]:
    """The file of a language, without English for what it lacks."""
    return json.loads((MESSAGES / f"{language}.json").read_text(encoding="utf-8"))


ENGLISH = texts(DEFAULT_LANGUAGE)
SOURCES = {path.name: path.read_text() for path in STATIC.iterdir() if path.suffix in (".js", ".html")}


def forms(text: str | dict[str, str]) -> dict[str, str]:
    return text if isinstance(text, dict) else {"other": text}


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def test_the_page_offers_every_language_that_has_texts():
    offered = re.search(r"LANGUAGES = \{(.*?)\}", SOURCES["messages.js"])
    assert offered is not None
    assert tuple(re.findall(r"(\w+):", offered[1])) == LANGUAGES
    assert {path.stem for path in MESSAGES.glob("*.json")} == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_there_with_its_values_and_plural_forms(language):
    translated = texts(language)
    assert set(ENGLISH) - set(translated) == set(), "not translated"
    assert set(translated) - set(ENGLISH) == set(), "not in the English file"
    for key, text in translated.items():
        wanted = set.union(*(placeholders(form) for form in forms(ENGLISH[key]).values()))
        if isinstance(text, dict):
            assert set(text) == PLURALS.get(language, {"one", "other"}), key
        for category, form in forms(text).items():
            optional = {"n"} if isinstance(text, dict) and category in WITHOUT_NUMBER else set()
            assert placeholders(form) | optional == wanted | optional, f"{key} in {language}: {form}"
            assert form.strip() == form != "", key
        if isinstance(ENGLISH[key], dict):
            assert isinstance(text, dict), f"{key} has plural forms in English"


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_a_language_is_not_english_under_another_name(language):
    translated = texts(language)
    same = [key for key, text in ENGLISH.items() if translated[key] == text and re.search("[a-z]{4}", bare(text))]
    assert len(same) <= 0.06 * len(ENGLISH), same  # "robot", "pause" and the like


def bare(text: str | dict[str, str]) -> str:
    """A text without the names of its values."""
    return re.sub(r"\{\w+\}", "", " ".join(forms(text).values()))


def dynamic_prefixes(text: str) -> set[str]:
    r"""Beginnings of keys that are put together in a script: t(`mood.${...}`) or named("shape", ...)."""
    return set(re.findall(r"`([a-z_]+(?:\.[a-z_]*)+)\$\{", text)) | {
        f"{group}." for group in re.findall(r'named\("(\w+)"', text)
    }


def test_every_text_is_used_and_every_used_text_exists():
    everything = "\n".join(SOURCES.values())
    quoted = set(re.findall(r'"([a-z]+(?:\.[a-z0-9_]+)+)"', everything))
    used = {text for text in quoted if text.split(".")[0] in {key.split(".")[0] for key in ENGLISH}}
    declared = re.findall(r'data-t(?:-label)?="([^"]+)"', everything) + re.findall(r'\bt\("([^"]+)"', everything)
    assert (used | set(declared)) - set(ENGLISH) == set(), "used, but without a text"
    prefixes = tuple(dynamic_prefixes(everything))
    assert all(any(key.startswith(prefix) for key in ENGLISH) for prefix in prefixes), prefixes
    unused = [key for key in ENGLISH if key not in used and not key.startswith(prefixes)]
    assert unused == [], "texts that nothing shows"


@pytest.mark.parametrize("group", SERVER_WORDS)
def test_words_that_the_server_sends_have_a_text(group):
    for word in SERVER_WORDS[group]:
        assert f"{group}.{re.sub(r'[^a-z0-9]+', '_', word.lower()).strip('_')}" in ENGLISH


def test_a_text_that_a_language_lacks_is_served_in_english(tmp_path, monkeypatch):
    monkeypatch.setattr("emotion_perception.dashboard.static_files.MESSAGES", tmp_path)
    (tmp_path / "en.json").write_text('{"a.b": "one", "a.c": "two"}')
    (tmp_path / "de.json").write_text('{"a.b": "eins"}')
    assert messages("de") == {"a.b": "eins", "a.c": "two"}


def test_files_are_compressed_and_kept_by_the_browser(serve):
    client = serve()
    page = client.get("/", Accept_Encoding="gzip")
    html = gzip.decompress(page.body).decode()
    script = re.search(r'src="(/static/[0-9a-f]{12}/app\.js)"', html)
    assert script is not None
    answer = client.get(script[1], Accept_Encoding="gzip")
    assert answer.headers["Content-Encoding"] == "gzip" and "immutable" in answer.headers["Cache-Control"]
    assert gzip.decompress(answer.body) == (STATIC / "app.js").read_bytes() == client.get(script[1]).body
    assert "immutable" not in client.get("/static/app.js").headers["Cache-Control"]
    old = client.get("/static/000000000000/app.js")
    assert old.status == 200 and "immutable" not in old.headers["Cache-Control"], "a page opened before an update"
    again = client.get("/", Accept_Encoding="gzip", If_None_Match=page.headers["ETag"])
    assert again.status == 304 and again.body == b""


def test_technical_figures_are_in_the_expert_view_only():
    technical = re.compile(r"valence|arousal|latency|\bp95\b|weight|occlusion", re.IGNORECASE)
    plain = {key for key, text in ENGLISH.items() if technical.search(str(text))}
    html = SOURCES["index.html"]
    for key in plain:
        assert key in {
            "live.column_valence",
            "live.column_arousal",
            "live.plane_expert",
            "live.weight",
            "try.numbers",
            "try.map_method",
        }, f"{key} shows a technical word to everybody"
        for tag in re.findall(rf'<[^>]*data-t="{key}"[^>]*>', html):
            assert "expert-only" in tag
        for line in "\n".join(SOURCES.values()).splitlines():
            assert f'"{key}"' not in line or "expert-only" in line


def speak(page: Page, language: str, view: str = "live") -> None:
    """Open a view in a language that was chosen before."""
    page.open(view)
    page.run("localStorage.setItem('language', arguments[0])", language)
    page.open(view)
    page.until(lambda: page.run("return document.documentElement.classList.contains('ready')"), "no texts")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_view_speaks_the_language_and_fits_a_phone(page: Page, screenshots: Path, language: str) -> None:
    page.look(360, 800)
    speak(page, language)
    try:
        page.until(lambda: page.text("#label") and page.text(".face"), "nothing to see")
        expected = [language, "rtl" if language == "ar" else "ltr"]
        assert page.run("return [document.documentElement.lang, document.documentElement.dir]") == expected
        for view in views(page):
            page.run("location.hash = arguments[0]", f"#/{view}")
            page.until(lambda view=view: page.run(f"return !document.getElementById('{view}').hidden"), view)
            assert page.text(f".tabs [href='#/{view}'] span") == texts(language)[f"nav.{view}"]
            assert page.run("return document.documentElement.scrollWidth") <= 360, f"{view} is too wide"
            take(page, screenshots / f"{view}_{language}.png")
    finally:
        page.run("localStorage.removeItem('language')")


@pytest.mark.timeout(600)
def test_the_language_comes_from_the_browser_and_a_choice_is_remembered(page: Page) -> None:
    from selenium.webdriver.support.select import Select

    agent = page.run("return navigator.userAgent")
    page.browser.execute_cdp_cmd("Network.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": "pt-BR,ar-EG"})
    try:
        page.open()
        page.says("#label", texts("ar")["emotion.happy"])
        assert page.run("return document.documentElement.dir") == "rtl", "the first language that the page has"
        page.find("#preferences summary").click()
        Select(page.find("#language")).select_by_value("de")
        page.says("#label", "Fröhlich")
        assert page.run("return document.activeElement.id") == "language", "the focus stays where the choice was made"
        assert re.fullmatch(r"zu 80\s?% sicher", page.text("#sure")), "a number as Germans write it"
        page.open()
        page.says("#label", "Fröhlich")
    finally:
        page.run("localStorage.removeItem('language')")
        page.browser.execute_cdp_cmd("Network.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": "en-GB"})
