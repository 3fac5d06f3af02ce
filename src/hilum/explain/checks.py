"""Parts of the stage that ask how far the maps may be believed."""

from typing import Any

import numpy as np

from hilum.explain.asked import Subject
from hilum.explain.faithfulness import BASELINES, Way, believed, ways
from hilum.explain.images import held_out, sample_images
from hilum.explain.lungs import card, lung_field, share_inside
from hilum.explain.maps import options_of
from hilum.explain.truth import planted_images, truth_table
from hilum.progress import advancing
from hilum.run import Run

Found = dict[str, Any]


def _ways(subject: Subject, found: Found) -> dict[str, Way]:
    """The methods whose maps could be made."""
    size = subject.model.pixels.size
    return ways({name: options_of(subject.config, name, size) for name in found.get("maps", {})})


def faithfulness(subject: Subject, found: Found) -> dict[str, Any] | None:
    """Every figure for every method, on the examples and on further held-out images that are named rightly."""
    config = subject.config.faithfulness
    asked = _ways(subject, found)
    if not config.images or not asked:
        return None
    with advancing(f"{subject.task.name}: can the maps be believed?") as advance:
        return believed(
            subject.model,
            {image.case_id: (image.x, image.target) for image in _sampled(subject, found)},
            asked,
            steps=config.steps,
            samples=2 * config.steps,
            seed=subject.config.seed,
            progress=advance,
        )


def _sampled(subject: Subject, found: Found) -> list[Any]:
    """The examples first, then images drawn at random."""
    count = subject.config.faithfulness.images
    asked = {row["case_id"]: row["asked"] for row in found["images"] if row["role"] == "example"}
    drawn = sample_images(subject.predictions, count, subject.config.seed)
    asked |= {
        case: name for case, name in zip(drawn["case_id"], drawn["asked"], strict=True) if case not in asked
    }
    return [subject.image(case, name) for case, name in list(asked.items())[:count]]


def truth(subject: Subject, found: Found) -> dict[str, Any] | None:
    """On phantom images of the binary task: does each method find the lesion?"""
    count = subject.config.faithfulness.truth
    asked = _ways(subject, found)
    if not count or not asked or subject.source != "phantom" or subject.task.name != "binary":
        return None
    run = Run(subject.folder.path.parent)
    part = held_out(subject.predictions)
    images = planted_images(run, subject.model, part, count, subject.config.seed)
    with advancing(f"{subject.task.name}: maps beside drawn lesions") as advance:
        table = truth_table(
            subject.model, images, {**asked, **BASELINES}, seed=subject.config.seed, progress=advance
        )
    for sentence in table["failures"]:
        subject.failures.append({"what": "a map of phantom images", "why": sentence})
    return table


def lungs(subject: Subject, found: Found) -> dict[str, Any] | None:
    """Which share of each map lies inside the lungs, on the same images."""
    asked = {**_ways(subject, found), **BASELINES}
    if not subject.config.faithfulness.images or len(asked) == len(BASELINES):
        return None
    shares: dict[str, list[float]] = {name: [] for name in asked}
    areas = []
    images = _sampled(subject, found)
    for image in images:
        field = lung_field(subject.prepared([image.case_id])[0])
        areas.append(float(field.mean()))
        for name, way in asked.items():
            heat = way(subject.model, image.x, image.target)[0].cpu().numpy()
            shares[name].append(share_inside(heat, field)[0])
    titles = {name: block["title"] for name, block in found["maps"].items()}
    titles |= {"random": "Random numbers", "edges": "Edge detector", "centre": "Blob in the middle"}
    rows = [
        {
            "name": name,
            "title": titles[name],
            "kind": "baseline" if name in BASELINES else "method",
            "share": _mean(values),
        }
        for name, values in shares.items()
    ]
    known: dict[str, Any] = card()["iou"]  # pyright: ignore[reportAssignmentType]
    error = (
        "The lungs are found by a small network trained on phantom images; on phantom images that it had not seen"
        f" it overlaps with the true lungs by {known['mean']:.2f} (intersection over union). On images of"
        " patients its error is not known."
    )
    return {"images": len(images), "area": float(np.mean(areas)), "rows": rows, "error": error}


def _mean(values: list[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None
