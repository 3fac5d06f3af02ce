"""Subgroups: how good a model is on small and large images, on dark and bright ones, and for each label.

    size       thirds of the images by number of pixels of the file (small, middle, large)
    exposure   thirds by mean brightness of the image (dark, middle, bright)
    label      normal, bacteria, virus
    images     how many images the patient has in the whole set: 1, 2, 3 or more
    sex, age, site, view     where the data says them: female, male, other; ages in years; the places with the most
               patients; projections such as PA and AP

The lines between thirds are quantiles of the images of this split. Each kind has the gap in accuracy between
its best and its worst group, with an interval over patients. The two were chosen by the very figures that are
compared: the interval is widened for the number of pairs (Bonferroni), the gap itself stays a little too
large. Groups also differ in how many of them are abnormal, which moves an accuracy; the AUROC beside it does not
depend on that. Groups of fewer than 10 patients are left out.

Whether the groups of a kind differ at all is said by a test over patients (hilum.evaluation.chance.equal_shares),
corrected for the number of kinds by Holm.

Oakden-Rayner L et al. Hidden stratification causes clinically meaningful failures in machine learning for
medical imaging. ACM CHIL (2020).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hilum.artifacts.metrics import Gap, Subgroup, Subgroups
from hilum.evaluation.chance import equal_shares
from hilum.evaluation.evaluate import evaluate
from hilum.evaluation.intervals import LEVEL
from hilum.evaluation.paired import holm
from hilum.evaluation.shares import minus, share_figure

FEWEST = 10
"""Patients below which a group is left out: its interval would say nothing."""

KINDS = ("size", "exposure", "label", "images", "sex", "age", "site", "view")

OF_PERSON = ("sex", "age", "site", "view")
"""The kinds that the data has to say; see `hilum.data.cases`."""

AGES = {"under 2": 2, "2 to 5": 6, "6 to 17": 18, "18 to 39": 40, "40 to 64": 65, "65 or more": 999}
"""Groups of age and the years that they end before."""

SEXES = {"F": "female", "M": "male", "O": "other"}

SITES = 6
"""At most so many sites or views, those with the most patients."""


def subgroups(
    predictions: pd.DataFrame,
    facts: pd.DataFrame,
    images_of_patient: Mapping[str, int],
    classes: Sequence[str],
    threshold: float | None = None,
    replicates: int = 2000,
    seed: int = 0,
    people: pd.DataFrame | None = None,
) -> dict[str, Subgroups]:
    """Figures by subgroup of one split, by kind.

    `predictions`: as `evaluate` takes them, with the columns label and predicted. `facts`: case_id, width,
    height (pixels) and mean (grey levels). `images_of_patient`: how many images each patient has. `people`: case_id
    and, of OF_PERSON, the columns that the data has, as text.

    A kind with fewer than two groups is left out.
    """
    table = predictions.merge(facts[["case_id", "width", "height", "mean"]], on="case_id", how="left")
    if people is not None:
        table = table.merge(people, on="case_id", how="left")
    correct = (table["predicted"] == table["target"]).to_numpy()
    targets = pd.Index(list(classes)).get_indexer(pd.Index(table["target"]))
    of_truth = table[[f"prob_{name}" for name in classes]].to_numpy(float)[np.arange(len(table)), targets]
    members = {
        "size": _thirds(table["width"] * table["height"], ("small", "middle", "large"), "pixels"),
        "exposure": _thirds(table["mean"], ("dark", "middle", "bright"), "grey levels"),
        "label": [(str(name), "", (table["label"] == name).to_numpy()) for name in _labels(table, classes)],
        "images": _images(table["patient"].map(dict(images_of_patient))),
        **_of_people(table),
    }
    figures: dict[str, Subgroups] = {}
    for kind in members:
        groups = [group for group in members[kind] if table["patient"][group[2]].nunique() >= FEWEST]
        if len(groups) < 2:
            continue
        figures[kind] = Subgroups(
            groups=[_group(table, group, classes, threshold, replicates, seed) for group in groups],
            gap=gap_of_groups(correct, of_truth, table["patient"].to_numpy(), groups, replicates > 0),
        )
    return corrected(figures)


def corrected(kinds: Mapping[str, Subgroups]) -> dict[str, Subgroups]:
    """The same with the p-value of each kind corrected for their number (Holm 1979).

    >>> gap = Gap(value=0.1, best="dark", worst="bright", p=0.02)
    >>> both = corrected({name: Subgroups(groups=[], gap=gap) for name in ("size", "exposure")})
    >>> both["size"].gap.p, both["size"].gap.p_holm
    (0.02, 0.04)
    """
    p_values = holm([entry.gap.p for entry in kinds.values()]).tolist()
    return {
        kind: entry.model_copy(update={"gap": entry.gap.model_copy(update={"p_holm": p})})
        for (kind, entry), p in zip(kinds.items(), p_values, strict=True)
    }


def _thirds(values: pd.Series, names: tuple[str, str, str], unit: str) -> list[tuple[str, str, np.ndarray]]:
    """Three groups by quantile; equal values stay together, so there may be fewer."""
    numbers = values.to_numpy(np.float64)
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return []
    low, high = np.quantile(known, [1 / 3, 2 / 3], method="lower")
    middle = (numbers > low) & (numbers <= high)
    return [
        (names[0], f"up to {low:,.0f} {unit}", numbers <= low),
        (names[1], f"{low:,.0f} to {high:,.0f} {unit}", middle),
        (names[2], f"over {high:,.0f} {unit}", numbers > high),
    ]


def _images(counts: pd.Series) -> list[tuple[str, str, np.ndarray]]:
    numbers = counts.to_numpy(np.float64)
    return [
        ("1 image", "", numbers == 1),
        ("2 images", "", numbers == 2),
        ("3 or more", "", numbers >= 3),
    ]


def _of_people(table: pd.DataFrame) -> dict[str, list[tuple[str, str, np.ndarray]]]:
    """Groups of the columns of OF_PERSON that are there; a cell that says nothing is in no group."""
    members: dict[str, list[tuple[str, str, np.ndarray]]] = {}
    if "sex" in table:
        members["sex"] = [(name, "", (table["sex"] == sex).to_numpy()) for sex, name in SEXES.items()]
    if "age" in table:
        years = pd.to_numeric(table["age"], errors="coerce").to_numpy(np.float64)
        starts = [0, *AGES.values()]
        members["age"] = [
            (name, "years", (years >= start) & (years < end))
            for (name, end), start in zip(AGES.items(), starts, strict=False)
        ]
    for kind in ("site", "view"):
        if kind in table:
            known = table[table[kind].fillna("") != ""]
            most = known.groupby(kind)["patient"].nunique().sort_values(ascending=False, kind="stable")
            members[kind] = [(str(name), "", (table[kind] == name).to_numpy()) for name in most.index[:SITES]]
    return members


def _labels(table: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """The normal label first, the others in alphabetical order."""
    return sorted(set(table["label"]), key=lambda name: (name != classes[0], name))


def _group(
    table: pd.DataFrame,
    group: tuple[str, str, np.ndarray],
    classes: Sequence[str],
    threshold: float | None,
    replicates: int,
    seed: int,
) -> Subgroup:
    name, about, inside = group
    rows = table[inside]
    block = evaluate(rows, classes, threshold, replicates=replicates, seed=seed)
    known = {key: block[key] for key in ("n_cases", "n_patients", "accuracy", "auroc")}
    return Subgroup.model_validate({"name": name, "about": about, **known})


def gap_of_groups(
    correct: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    groups: Sequence[tuple[str, str, np.ndarray]],
    with_ends: bool,
) -> Gap:
    """Accuracy of the best group minus that of the worst, with an interval widened for the number of pairs. `p`: of all
    groups being equally accurate (`equal_shares`)."""
    shares = [float(correct[inside].mean()) for _, _, inside in groups]
    best, worst = int(np.argmax(shares)), int(np.argmin(shares))
    gap = Gap(
        value=shares[best] - shares[worst],
        best=groups[best][0],
        worst=groups[worst][0],
        p=equal_shares(correct, patients, np.array([inside for _, _, inside in groups])),
    )
    if not with_ends or best == worst:
        return gap
    level = 1 - (1 - LEVEL) / (len(groups) * (len(groups) - 1) / 2)
    first, second = (
        share_figure(correct[inside], patients[inside], scores[inside], level=level)
        for inside in (groups[best][2], groups[worst][2])
    )
    difference = minus(first, second)
    return gap.model_copy(update={"low": difference.low, "high": difference.high})
