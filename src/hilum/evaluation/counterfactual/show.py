"""Counterfactual figures as plain text for the terminal."""

from hilum.artifacts.counterfactual import Counterfactual, CounterfactualPoint
from hilum.evaluation.show import columns
from hilum.evaluation.text import figure_text


def counterfactual_text(figures: Counterfactual) -> str:
    """A line per set of images; below it what the columns mean."""
    fixed = f"{figures.fixed:g}"
    head = ("look of", "AUROC", "sensitivity", "specificity", "at 0.5", f"at sensitivity {fixed}", "flipped")
    points = {"its own devices": figures.plain, "the other label's": figures.all_parts}
    points |= {f"  {name} alone": point for name, point in figures.parts.items()}
    rows = [head, *(_row(name, point) for name, point in points.items())]
    size = f"{figures.images} images of {figures.patients} patients in {figures.split}"
    return "\n".join([size, *columns(rows)])


def _row(name: str, point: CounterfactualPoint) -> tuple[str, ...]:
    figures = (
        point.auroc,
        point.sensitivity,
        point.specificity,
        point.specificity_at_half,
        point.specificity_at_fixed,
    )
    return (name, *map(figure_text, figures), figure_text(point.flipped) if point.flipped else "")
