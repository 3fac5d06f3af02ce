"""What the explanation stage found, as plain text for the terminal."""

from collections.abc import Sequence

from hilum.evaluation.show import columns
from hilum.explain.one import Answer
from hilum.run import Run


def stage_text(run: Run, names: Sequence[str]) -> str:
    """Per task: the images, the methods and what was left out."""
    lines: list[str] = []
    for name in names:
        figures = run.task(name).attributions.figures()
        images = [one for one in figures["images"] if one["role"] == "example"]
        lines.append(f"{name}: {', '.join(one['case_id'] + ' (' + one['label'] + ')' for one in images)}")
        rows = [("method", *(f"{one['label']}: lowest to highest" for one in images))]
        for method in figures.get("maps", {}).values():
            ends = (method["images"].get(one["case_id"]) for one in images)
            cells = (f"{end['lowest']:.3g} to {end['highest']:.3g}" if end else "none" for end in ends)
            rows.append((method["title"], *cells))
        lines += columns(rows)
        lines += [f"left out: {one['what']}: {one['why']}" for one in figures["failures"]]
        lines.append("")
    return "\n".join(lines).rstrip()


def image_text(answer: Answer) -> str:
    """One image: probabilities, and per method where its map lies and its range."""
    said = ", ".join(f"{name} {value:.3f}" for name, value in answer.probabilities.items())
    rows = [("method", "lowest", "highest", "map")]
    for method, (values, facts) in answer.maps.items():
        place = answer.folder.map_file(method, answer.name).as_posix()
        rows.append((facts["title"], f"{values.min():.4g}", f"{values.max():.4g}", place))
    lines = [f"{answer.name}: {said}", f"evidence for {answer.asked}:", *columns(rows)]
    if answer.occlusion is not None:
        values, facts = answer.occlusion
        lines.append(
            f"occlusion: P({answer.asked}) = {facts['probability']:.3f}, with a mask of {facts['mask']} px"
            f" ({facts['fill']}) from {values.min():.3f} to {values.max():.3f} over {values.size:,} positions"
        )
    lines += _belief(answer)
    lines += [f"note: {note}" for note in answer.notes]
    lines.append("Research use only; not a medical device.")
    return "\n".join(lines)


def _belief(answer: Answer) -> list[str]:
    """How far each map may be believed on this image, and what a worthless map scores."""
    if not answer.figures:
        return []
    heads = {
        "deletion": "deletion",
        "insertion": "insertion",
        "infidelity": "infidelity",
        "randomised": "random weights",
        "noise": "noise",
        "shift": "shift",
        "lungs": "in lungs",
    }
    rows = [("can it be believed?", *heads.values())]
    for row in answer.figures:
        rows.append((row["title"], *(f"{row[key]:.2f}" for key in heads)))
    area = answer.figures[0]["lung_area"]
    return [
        *columns(rows),
        "good: low deletion and infidelity, random weights near 0; high insertion, noise and shift.",
        f"The lungs fill {area:.2f} of the image. One image says little: the report has means over several.",
    ]
