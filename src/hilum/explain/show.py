"""Explanations as plain text for the terminal."""

from collections.abc import Sequence

from hilum.artifacts.explanations import Explanations
from hilum.evaluation.show import columns
from hilum.explain.attribution import load_method
from hilum.explain.single import Explanation


def stage_text(tasks: Sequence[Explanations]) -> str:
    """Per task: the images, the range of each method's maps, and what was left out."""
    lines: list[str] = []
    for figures in tasks:
        images = figures.examples
        lines.append(f"{figures.task}: {', '.join(f'{row.case_id} ({row.label})' for row in images)}")
        rows = [("method", *(f"{row.label}: lowest to highest" for row in images))]
        for method in figures.maps.values():
            ends = (method.images.get(row.case_id) for row in images)
            cells = (f"{end.lowest:.3g} to {end.highest:.3g}" if end else "none" for end in ends)
            rows.append((method.title, *cells))
        lines += columns(rows)
        lines += [f"left out: {failure.what}: {failure.why}" for failure in figures.failures]
        lines.append("")
    return "\n".join(lines).rstrip()


def image_text(explanation: Explanation) -> str:
    """One image: probabilities, and per method where its map lies and its range."""
    case_id, name = explanation.case_id, explanation.target_class
    shares = ", ".join(f"{known} {value:.3f}" for known, value in explanation.probabilities.items())
    rows = [("method", "lowest", "highest", "map")]
    for method, values in explanation.maps.items():
        place = explanation.folder.map_file(method, case_id).as_posix()
        rows.append((load_method(method).TITLE, f"{values.min():.4g}", f"{values.max():.4g}", place))
    lines = [f"{case_id}: {shares}", f"evidence for {name}:", *columns(rows)]
    if explanation.occlusion is not None:
        values, facts = explanation.occlusion
        lines.append(
            f"occlusion: P({name}) = {facts.probability:.3f}, with a mask of {facts.mask} px"
            f" ({facts.fill}) from {values.min():.3f} to {values.max():.3f} over {values.size:,} positions"
        )
    lines += _faithfulness(explanation)
    lines += [f"note: {note}" for note in explanation.notes]
    lines.append("Research use only; not a medical device.")
    return "\n".join(lines)


def _faithfulness(explanation: Explanation) -> list[str]:
    """How faithful each map is on this image, and what maps that know nothing score."""
    if not explanation.figures:
        return []
    heads = {
        "deletion": "deletion",
        "insertion": "insertion",
        "unexplained": "unexplained",
        "randomised": "random weights",
        "noise": "noise",
        "shift": "shift",
    }
    rows = [("faithfulness", *heads.values(), "in lungs")]
    for row in explanation.figures:
        cells = (f"{getattr(row.figures, key).value:.2f}" for key in heads)
        rows.append((row.figures.title, *cells, f"{row.share:.2f}"))
    return [
        *columns(rows),
        "good: low deletion and unexplained, random weights near 0; high insertion, noise and shift.",
        f"The lungs fill {explanation.lung_area:.2f} of the image. One image says little: the report has means"
        " over several.",
    ]
