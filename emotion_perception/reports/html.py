"""Self-contained HTML pages: no external script, font or image.

Their content security policy forbids external resources. All text is escaped by jinja2.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from emotion_perception.emotions import EMOTION_COLOURS, EMOTIONS
from emotion_perception.reports.document import Document
from emotion_perception.reports.svg import ChartLayout

TEMPLATES = Path(__file__).with_name("templates")


@cache
def environment(*folders: Path) -> Environment:
    """Templates of ``folders``, which take precedence, and of this package; ``page.html.jinja`` is the base of all
    pages.
    """
    made = Environment(
        loader=FileSystemLoader([*folders, TEMPLATES]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters["px"] = lambda value: f"{value:.1f}"
    made.filters["base64"] = lambda data: b64encode(data).decode()
    made.globals.update(emotions=list(zip(EMOTIONS, EMOTION_COLOURS, strict=True)), layout_of=ChartLayout)
    return made


def content_security_policy(script: str = "", images: bool = False) -> Markup:
    """The content security policy of a page: nothing may be loaded.

    Args:
        script: the only script that may run, which is inside the page.
        images: images inside the page may be shown.
    """
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    if images:
        policy += "; img-src data:"
    if script:
        policy += f"; script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
    return Markup(policy)


def render_html(document: Document) -> str:
    """A document as a page."""
    policy = content_security_policy(images=document.shows_people)
    template = environment().get_template("document.html.jinja")
    return template.render(title=document.title, policy=policy, document=document)
