"""Where the robot is used, and whether emotions may be inferred there.

Regulation (EU) 2024/1689 (AI Act), Article 5(1)(f), prohibits AI systems that infer emotions of natural persons in the
areas of workplace and education institutions, except for medical or safety reasons (applicable since 2 February 2025).
This check is a safeguard, not legal advice: see docs/compliance.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from emotion_perception.settings import setting

DEPLOYMENT_CONTEXTS = ("public_service", "research", "care_or_safety", "workplace", "education")
RESTRICTED = {"workplace": "staff", "education": "pupils or students"}  # whose emotions must not be inferred there
MIN_REASON_WORDS = 4
ARTICLE = "Regulation (EU) 2024/1689, Article 5(1)(f)"
UNSET = (
    "deployment_context is not set: state where the robot is used (public_service, research, care_or_safety, workplace "
    "or education), because emotion recognition is prohibited or must be announced in some places (docs/compliance.md)"
)


@dataclass(frozen=True)
class DeploymentSettings:
    """Where the robot is used; settings of every node."""

    deployment_context: str = setting(
        "",
        "Where the robot is used. workplace (emotions of staff) and education (of pupils or students) are refused by "
        "all nodes unless deployment_reason is given; see docs/compliance.md. Empty: fusion_node warns.",
        choices=("", *DEPLOYMENT_CONTEXTS),
    )
    deployment_reason: str = setting(
        "",
        "Medical or safety reason, in words, for emotion recognition with deployment_context workplace or education. "
        "It is written to the log and the audit log.",
    )
    audit_log: str = setting(
        "",
        "File of the audit log: starts, stops, models, prior, access and corrections as JSON lines, without ids and "
        "media. Empty: none.",
    )


class DeploymentError(ValueError):
    """Emotions may not be inferred in this place; the message names the law and the remedy."""


def check_deployment(context: str, reason: str = "") -> None:
    """Refuse to infer emotions where that is prohibited.

    Args:
        context: one of :data:`DEPLOYMENT_CONTEXTS`, or empty if it is not stated.
        reason: the medical or safety reason for an exception, at least :data:`MIN_REASON_WORDS` words.

    Raises:
        DeploymentError: a prohibited place without a reason.
        ValueError: an unknown context.

    Example:
        >>> check_deployment("public_service")
        >>> check_deployment("workplace")
        Traceback (most recent call last):
        emotion_perception.compliance.deployment.DeploymentError: deployment_context workplace: Regulation (EU) ...
    """
    if context and context not in DEPLOYMENT_CONTEXTS:
        raise ValueError(f"deployment_context must be one of {', '.join(DEPLOYMENT_CONTEXTS)}, got {context!r}")
    if context not in RESTRICTED:
        return
    words = [word for word in reason.split() if sum(letter.isalpha() for letter in word) > 1]
    if len(words) < MIN_REASON_WORDS:
        given = f"{reason!r} does not state one" if reason.strip() else "none is given"
        raise DeploymentError(
            f"deployment_context {context}: {ARTICLE} prohibits inferring the emotions of {RESTRICTED[context]} except "
            f"for medical or safety reasons, and {given}. If there is one, state it in words in deployment_reason; it "
            "is logged. If the robot serves visitors or customers only, deployment_context is public_service"
        )
