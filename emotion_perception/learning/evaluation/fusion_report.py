"""Markdown report of the fusion's evaluation."""

from __future__ import annotations

from typing import Any

PAIRS_PER_EMOTION = 400  # pairs per emotion at equal class frequencies


def fusion_markdown(report: dict[str, Any]) -> str:
    """The results of :func:`emotion_perception.learning.evaluation.fusion.evaluate` as Markdown."""

    def percent(value: float) -> str:
        return f"{100 * value:.1f} %"

    low, high = report["fused_accuracy_interval"]
    lines = ["# Fusion", "", report["note"], ""]
    for title, ways in (
        (f"Each face once, {report['pairs']} synthetic pairs, prior {report['prior']}", report["ways"]),
        ("The same pairs under their own prior", report["own_prior"]),
        (
            f"Equal class frequencies and balanced prior, {PAIRS_PER_EMOTION} synthetic pairs per emotion",
            report["each_emotion_alike"],
        ),
    ):
        lines += [
            f"## {title}",
            "",
            "| | accuracy | neutral and calm merged | UAR | ECE | log loss |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {percent(s['accuracy'])} | {percent(s['accuracy_neutral_or_calm'])} | {percent(s['uar'])} "
            f"| {s['ece']:.3f} | {s['log_loss']:.3f} |"
            for name, s in ways.items()
        ]
        lines.append("")
    lines += [
        f"95 % interval of the fused accuracy, bootstrapped over the {report['voices']} voices: "
        f"{percent(low)} to {percent(high)}.",
        "",
    ]
    lines += ["## McNemar's test of fused against", "", "| | all pairs | one pair per voice |", "|---|---|---|"]
    single = report["mcnemar_one_pair_a_voice"]
    lines += [f"| {name} | p = {p:.2g} | p = {single[name]:.2g} |" for name, p in report["mcnemar"].items()]
    lines += ["", "## Missing faces or voices (synthetic pairs)", ""]
    lines += [f"- {name}: {percent(s['accuracy'])}, ECE {s['ece']:.3f}" for name, s in report["drop_outs"].items()]
    lines += ["", "## Noise in one modality (synthetic pairs)", ""]
    for name, found in report["noise"].items():
        other = "acoustic" if "acoustic_alone" in found else "visual"
        lines.append(
            f"- {name} (its model's UAR {percent(found['drowned_model_uar'])}; {percent(found['taken_as_evidence'])} "
            f"of it taken as evidence): fused {percent(found['fused'])}, "
            f"{other} alone {percent(found[f'{other}_alone'])}, difference {100 * found['difference']:+.1f} points"
        )
    differing = report["contradiction"]
    lines += [
        "",
        "## Contradicting pairs (synthetic)",
        "",
        f"Of {differing['pairs']} the state follows the face in {percent(differing['follows_the_face'])}, the voice in "
        f"{percent(differing['follows_the_voice'])}, neither in {percent(differing['follows_neither'])}; "
        f"mean confidence {differing['confidence']:.2f}, "
        f"of agreeing pairs {differing['confidence_of_agreeing_pairs']:.2f}.",
        "",
    ]
    if "words" in report:
        words = report["words"]
        lines += [
            f"## Text (synthetic pairs, with one of {words['sentences']} sentences of the same emotion)",
            "",
            *(
                f"- {name} with text: {percent(words[name]['accuracy'])}, {100 * words[name]['gain']:+.1f} points "
                f"(p = {words[name]['mcnemar']:.2g}), log loss {-words[name]['log_loss_gain']:+.3f}"
                for name in ("fused", "visual", "acoustic")
            ),
            "",
        ]
    if "real_clips" in report:
        lines += [
            "## Real clips: CREMA-D, one actor (too few for a score)",
            "",
            "| clip | truth | fused | visual | acoustic |",
        ]
        lines.append("|---|---|---|---|---|")
        lines += [
            f"| {row['clip']} | {row['truth']} | "
            + " | ".join(row.get(way, "-") for way in ("fused", "visual", "acoustic"))
            + " |"
            for row in report["real_clips"]
        ]
        lines.append("")
    return "\n".join(lines)
