"""Parts of the stage that ask how far the maps may be believed."""

from typing import Any

import numpy as np

from hilum.explain.asked import Subject
from hilum.explain.faithfulness import BASELINES, Way, believed, ways
from hilum.explain.films import held_out, sample_films
from hilum.explain.lungs import card, lung_field, share_inside
from hilum.explain.maps import options_of
from hilum.explain.truth import planted_films, truth_table
from hilum.progress import advancing
from hilum.run import Run

Found = dict[str, Any]


def _ways(subject: Subject, found: Found) -> dict[str, Way]:
    """The methods whose maps could be made."""
    size = subject.model.pixels.size
    return ways({name: options_of(subject.choice, name, size) for name in found.get("maps", {})})


def faithfulness(subject: Subject, found: Found) -> dict[str, Any] | None:
    """Every figure for every method, on the examples and on further held-out films that are named rightly."""
    choice = subject.choice.faithfulness
    asked = _ways(subject, found)
    if not choice.films or not asked:
        return None
    with advancing(f"{subject.task.name}: can the maps be believed?") as advance:
        return believed(
            subject.model,
            {film.case_id: (film.x, film.target) for film in _sampled(subject, found)},
            asked,
            steps=choice.steps,
            samples=2 * choice.steps,
            seed=subject.choice.seed,
            progress=advance,
        )


def _sampled(subject: Subject, found: Found) -> list[Any]:
    """The examples first, then films drawn at random."""
    count = subject.choice.faithfulness.films
    asked = {row["case_id"]: row["asked"] for row in found["films"] if row["role"] == "example"}
    drawn = sample_films(subject.predictions, count, subject.choice.seed)
    asked |= {
        case: name for case, name in zip(drawn["case_id"], drawn["asked"], strict=True) if case not in asked
    }
    return [subject.film(case, name) for case, name in list(asked.items())[:count]]


def truth(subject: Subject, found: Found) -> dict[str, Any] | None:
    """On drawn films of the binary task: does each method find the lesion?"""
    count = subject.choice.faithfulness.truth
    asked = _ways(subject, found)
    if not count or not asked or subject.source != "phantom" or subject.task.name != "binary":
        return None
    run = Run(subject.folder.path.parent)
    part = held_out(subject.predictions)
    films = planted_films(run, subject.model, part, count, subject.choice.seed)
    with advancing(f"{subject.task.name}: maps beside drawn lesions") as advance:
        table = truth_table(
            subject.model, films, {**asked, **BASELINES}, seed=subject.choice.seed, progress=advance
        )
    for sentence in table["failures"]:
        subject.failures.append({"what": "a map of drawn films", "why": sentence})
    return table


def lungs(subject: Subject, found: Found) -> dict[str, Any] | None:
    """Which share of each map lies inside the lungs, on the same films."""
    asked = {**_ways(subject, found), **BASELINES}
    if not subject.choice.faithfulness.films or len(asked) == len(BASELINES):
        return None
    shares: dict[str, list[float]] = {name: [] for name in asked}
    areas = []
    films = _sampled(subject, found)
    for film in films:
        field = lung_field(subject.prepared([film.case_id])[0])
        areas.append(float(field.mean()))
        for name, way in asked.items():
            heat = way(subject.model, film.x, film.target)[0].cpu().numpy()
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
        "The lungs are found by a small network trained on drawn films; on drawn films that it had not seen"
        f" it overlaps with the true lungs by {known['mean']:.2f} (intersection over union). On films of"
        " patients its error is not known."
    )
    return {"films": len(films), "area": float(np.mean(areas)), "rows": rows, "error": error}


def _mean(values: list[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None
