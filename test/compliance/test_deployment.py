"""Where emotions may be inferred, and what people are told."""

from __future__ import annotations

import pytest

from emotion_perception.compliance.deployment import DEPLOYMENT_CONTEXTS, DeploymentError, check_deployment
from emotion_perception.compliance.notice import NOTICES, NoticeSettings


@pytest.mark.parametrize("context", ["", "public_service", "research", "care_or_safety"])
def test_most_places_need_no_reason(context: str) -> None:
    check_deployment(context)


@pytest.mark.parametrize(("context", "people"), [("workplace", "staff"), ("education", "pupils")])
def test_workplace_and_education_are_refused_by_name_of_the_law(context: str, people: str) -> None:
    with pytest.raises(DeploymentError, match=r"Regulation \(EU\) 2024/1689, Article 5\(1\)\(f\)") as refused:
        check_deployment(context)
    assert people in str(refused.value) and "deployment_reason" in str(refused.value)


@pytest.mark.parametrize("reason", ["", "   ", "yes", "- - - -", "1 2 3 4 5", "because I said"])
def test_reason_must_be_given_in_words(reason: str) -> None:
    with pytest.raises(DeploymentError):
        check_deployment("workplace", reason)


def test_medical_or_safety_reason_in_words_is_accepted() -> None:
    check_deployment("workplace", "detects fatigue of crane operators for their safety")
    check_deployment("education", "Therapie autistischer Kinder unter ärztlicher Aufsicht")


def test_unknown_place_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match=", ".join(DEPLOYMENT_CONTEXTS)):
        check_deployment("office")


def test_notice_is_one_line_per_language_and_then_the_contact() -> None:
    lines = NoticeSettings("de, en", "Front desk,\n tel. 100").text.split("\n")
    assert lines == [NOTICES["de"], NOTICES["en"], "Front desk, tel. 100"]


def test_without_languages_there_is_no_notice() -> None:
    assert NoticeSettings("", "Front desk").text == ""


def test_language_without_notice_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="'tlh'.*en, de, fr"):
        NoticeSettings("en,tlh")


@pytest.mark.parametrize("language", NOTICES)
def test_every_notice_says_that_it_is_about_ai_and_may_be_wrong(language: str) -> None:
    text = NOTICES[language]
    assert len(text.split(". ")) >= 3
    assert any(word in text for word in ("AI", "KI-", "IA", "sztucznej inteligencji"))
