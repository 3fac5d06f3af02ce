"""What `hilum recalibrate` and `hilum adapt` print."""

from pathlib import Path

from hilum.artifacts.base import Figure
from hilum.artifacts.card import ModelCard


def recalibrated_text(out: Path) -> str:
    """Threshold, images, expected specificity, predictive values, and how to predict with the new model."""
    card = ModelCard.load(out / "model.json")
    point, figures = card.threshold, card.predictive_values
    if point is None or point.expected_specificity is None:
        raise ValueError(f"{out} holds no recalibrated model")
    before = f" (before: {point.replaces:.4g})" if point.replaces is not None else ""
    lines = [
        f"Threshold {point.value:.4g}{before}, from {point.n} healthy images.",
        f"Expected specificity on new healthy images: {_percent(point.expected_specificity)}.",
    ]
    if figures:
        lines += [
            f"At a prevalence of {100 * at.prevalence:g} %: PPV {_percent(at.ppv)}, NPV {_percent(at.npv)}."
            for at in figures.values
        ]
    else:
        lines.append(
            "Sensitivity at this threshold is not known: measure it with abnormal images of your own."
        )
    return "\n".join([*lines, f"hilum predict IMAGE --model {out}"])


def _percent(figure: Figure) -> str:
    if figure.value is None:
        return f"not defined ({figure.reason or 'no image'})"
    if figure.low is None or figure.high is None:
        return f"{100 * figure.value:.1f} %"
    return f"{100 * figure.value:.1f} % (95 % CI {100 * figure.low:.1f} to {100 * figure.high:.1f})"


def adapted_text(out: Path) -> str:
    """What was adapted, what the new card no longer holds, and what to do next."""
    change = ModelCard.load(out / "model.json").adaptation
    if change is None:
        raise ValueError(f"{out} holds no adapted model")
    lines = [f"Statistics of {change.layers} layers were measured on {change.images} images."]
    if change.prior:
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in change.prior.estimated.items())
        lines.append(f"Estimated shares: {shares}.")
    if change.dropped:
        lines.append(f"Not in the new card, because measured before: {', '.join(change.dropped)}.")
    lines.append("The threshold was chosen before adaptation: set it anew with hilum recalibrate.")
    return "\n".join([*lines, f"hilum predict IMAGE --model {out}"])
