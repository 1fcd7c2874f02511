"""The notice for people who are exposed to emotion recognition, as a page to print."""

from __future__ import annotations

from emotion_perception.compliance.notice import NOTICES, NoticeSettings
from emotion_perception.reports.html import content_security_policy, environment


def render_notice(languages: str, contact: str = "") -> str:
    """A self-contained HTML page with the notice in each language.

    Args:
        languages: codes separated by commas; empty: all.
        contact: who is responsible and can be asked; may be empty.

    Raises:
        ValueError: a language without a notice.
    """
    chosen = NoticeSettings(languages, contact).languages or tuple(NOTICES)
    texts = [(language, NOTICES[language]) for language in chosen]
    template = environment().get_template("notice.html.jinja")
    return template.render(
        title="Emotion recognition in use", policy=content_security_policy(), texts=texts, contact=contact.strip()
    )
