"""The notice that people receive who are exposed to emotion recognition: Regulation (EU) 2024/1689, Article 50(3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emotion_perception.settings import check_settings, setting

# Each: what the system does, to whom, that it may be wrong, and what people can do. Language codes of ISO 639-1.
NOTICES: Mapping[str, str] = {
    "en": "This robot uses an AI system that estimates, from faces and voices, which emotions people show. The "
    "estimates may be wrong. If you have questions or do not want this, please ask the staff.",
    "de": "Dieser Roboter verwendet ein KI-System, das aus Gesichtern und Stimmen schätzt, welche Gefühle Menschen "
    "zeigen. Die Schätzungen können falsch sein. Wenn Sie Fragen haben oder das nicht möchten, wenden Sie sich bitte "
    "an das Personal.",
    "fr": "Ce robot utilise un système d'IA qui estime, à partir des visages et des voix, les émotions que les "
    "personnes expriment. Ces estimations peuvent être erronées. Si vous avez des questions ou si vous ne le souhaitez "
    "pas, veuillez vous adresser au personnel.",
    "es": "Este robot utiliza un sistema de IA que estima, a partir de rostros y voces, qué emociones muestran las "
    "personas. Las estimaciones pueden ser erróneas. Si tiene preguntas o no lo desea, diríjase al personal.",
    "it": "Questo robot utilizza un sistema di IA che stima, da volti e voci, quali emozioni mostrano le persone. Le "
    "stime possono essere errate. Se ha domande o non lo desidera, si rivolga al personale.",
    "nl": "Deze robot gebruikt een AI-systeem dat op basis van gezichten en stemmen schat welke emoties mensen tonen. "
    "De schattingen kunnen onjuist zijn. Hebt u vragen of wilt u dit niet, wend u dan tot het personeel.",
    "pl": "Ten robot używa systemu sztucznej inteligencji, który na podstawie twarzy i głosu szacuje, jakie emocje "
    "okazują ludzie. Oszacowania mogą być błędne. W razie pytań lub sprzeciwu prosimy zwrócić się do personelu.",
    "pt": "Este robô utiliza um sistema de IA que estima, a partir de rostos e vozes, que emoções as pessoas mostram. "
    "As estimativas podem estar erradas. Se tiver perguntas ou não o desejar, dirija-se ao pessoal.",
}


@dataclass(frozen=True)
class NoticeSettings:
    """Settings of the notice; ROS parameters of ``fusion_node``.

    Raises:
        ValueError: a language without a notice; the message lists those that exist.
    """

    notice_languages: str = setting(
        "en",
        f"Languages of emotion_notice, separated by commas, in this order: {', '.join(NOTICES)}. Empty: no notice is "
        "published.",
    )
    notice_contact: str = setting(
        "", "Who is responsible and can be asked, appended to emotion_notice, such as a name and telephone number."
    )

    def __post_init__(self) -> None:
        check_settings(self)
        _ = self.languages

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages in their order."""
        named = tuple(name.strip().lower() for name in self.notice_languages.split(",") if name.strip())
        for name in named:
            if name not in NOTICES:
                raise ValueError(f"notice_languages: there is no notice in {name!r}; there are {', '.join(NOTICES)}")
        return named

    @property
    def text(self) -> str:
        """The notice: one line per language, then the contact; empty without a language."""
        lines = [NOTICES[name] for name in self.languages]
        contact = " ".join(self.notice_contact.split())
        return "\n".join([*lines, contact] if lines and contact else lines)
