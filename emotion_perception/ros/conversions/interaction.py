"""Conversations to messages and back: arcs and summaries."""

from __future__ import annotations

import array
import math
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Time

from emotion_msgs.msg import Alert, EmotionArc, InteractionSummary
from emotion_perception.messages.sensors import stamp_to_ns
from emotion_perception.ros.conversions.estimates import estimate_to_message, float_array
from emotion_perception.ros.conversions.stamps import make_header, ns_to_stamp, seconds_to_duration
from emotion_perception.types import SECOND, RunningConversation

if TYPE_CHECKING:
    from emotion_perception.interaction.arc import Arc
    from emotion_perception.interaction.rules import Alert as FoundAlert
    from emotion_perception.interaction.sessions import Outcome


def arc_to_message(arc: Arc, interaction_id: str = "", person_id: str = "") -> EmotionArc:
    """An arc; what is not known is NaN, as in the arc."""
    return EmotionArc(
        header=make_header(arc.end_ns),
        interaction_id=interaction_id,
        person_id=person_id,
        start=ns_to_stamp(arc.start_ns),
        step=seconds_to_duration(arc.step),
        status=array.array("B", arc.status.tobytes()),
        labels=array.array("B", arc.labels.tobytes()),
        confidence=float_array(arc.confidence),
        valence=float_array(arc.valence),
        arousal=float_array(arc.arousal),
        valence_deviation=float_array(arc.valence_sd),
        arousal_deviation=float_array(arc.arousal_sd),
        smooth_valence=float_array(arc.smooth_valence),
        turning_points=[point.index for point in arc.turning_points],
        shape=int(arc.shape.shape),
        shape_correlation=arc.shape.correlation,
        valence_trend=arc.valence_trend,
        arousal_trend=arc.arousal_trend,
    )


def alert_to_message(alert: FoundAlert) -> Alert:
    """What a rule found."""
    return Alert(
        header=make_header(round(alert.time * SECOND)),
        rule_id=alert.rule_id,
        text=alert.text,
        value=alert.value,
        limit=alert.limit,
        conversations=alert.conversations,
        start=ns_to_stamp(round(alert.start * SECOND)),
        end=ns_to_stamp(round(alert.end * SECOND)),
    )


def outcome_to_message(outcome: Outcome) -> InteractionSummary:
    """The summary of an interaction that has ended, and where it is stored."""
    summary = outcome.summary
    satisfaction = summary.satisfaction

    def moment(found: tuple[float, float] | None) -> tuple[Time, float]:
        if found is None:
            return Time(), math.nan
        return ns_to_stamp(summary.start_ns + round(found[0] * SECOND)), found[1]

    best_moment, best_valence = moment(summary.best)
    worst_moment, worst_valence = moment(summary.worst)
    return InteractionSummary(
        header=make_header(summary.end_ns),
        interaction_id=summary.interaction_id,
        name=summary.name,
        person_id=summary.person_id,
        start=ns_to_stamp(summary.start_ns),
        duration=seconds_to_duration(summary.duration),
        ended_by=summary.ended_by,
        recovered=summary.recovered,
        coverage=summary.coverage,
        visual_coverage=summary.visual_coverage,
        acoustic_coverage=summary.acoustic_coverage,
        emotion=estimate_to_message(summary.emotion),
        seconds_by_label=summary.seconds_by_label.astype(np.float32),
        label_changes=summary.label_changes,
        best_moment=best_moment,
        best_valence=best_valence,
        worst_moment=worst_moment,
        worst_valence=worst_valence,
        valence_change=summary.valence_change,
        satisfaction=math.nan if satisfaction.score is None else float(satisfaction.score),
        satisfaction_margin=math.nan if satisfaction.margin is None else float(satisfaction.margin),
        satisfaction_factors=[f"{item.points:+.1f} {item.text}" for item in satisfaction.factors],
        satisfaction_reason=satisfaction.reason,
        arc=arc_to_message(summary.arc, summary.interaction_id, summary.person_id),
        text=summary.text,
        files=[str(path) for path in outcome.files],
    )


def running_from_message(message: EmotionArc) -> RunningConversation:
    """The fields of a running conversation that the dashboard shows."""
    from emotion_perception.interaction.arc_shape import SHAPE_TEXT, ArcShape

    known = np.asarray(message.valence, np.float32)
    known = known[np.isfinite(known)]
    shapes = {int(shape): text for shape, text in SHAPE_TEXT.items()}
    return RunningConversation(
        message.interaction_id,
        message.person_id,
        stamp_to_ns(message.start),
        stamp_to_ns(message.header.stamp),
        shapes.get(message.shape, SHAPE_TEXT[ArcShape.NONE]),
        float(message.valence_trend),
        len(message.turning_points),
        float(known.mean()) if known.size else math.nan,
    )
