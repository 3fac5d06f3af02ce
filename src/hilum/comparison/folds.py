"""Held-out folds: the images that score a model take part in no choice, not even that of the epoch.

A fold is "held"; of the other images a share is "val", which chooses epoch and threshold, and the rest is
"train". Images that the source declares as test are in none of them.
"""

from dataclasses import replace

import pandas as pd

from hilum.data.cases import Cases
from hilum.data.groups import patient_groups, series_in_order
from hilum.data.split import Split, split_cases
from hilum.errors import DataError
from hilum.files import digest

HELD = "held"

VAL_FRACTION = 0.15
"""Share of the patients outside the held-out fold that choose epoch and threshold."""


def held_out(cases: Cases, seed: int, fold: int, folds: int, val_fraction: float = VAL_FRACTION) -> Split:
    """Patient-disjoint in both steps: no patient of the held-out fold is in train or val, and none of val in
    train. `fold`: from 0 to `folds` - 1. DataError when a label has too few patients.

    >>> from pathlib import Path
    >>> cases = Cases.checked(pd.DataFrame({"case_id": [f"image {n}" for n in range(24)], "path": "x.png",
    ...     "label": ["normal"] * 12 + ["virus"] * 12, "patient": [f"{n // 2}" for n in range(24)],
    ...     "split": "train", "digest": [f"{n}" for n in range(24)]}), "table", Path("."))
    >>> held_out(cases, seed=0, fold=0, folds=3).of.value_counts().to_dict()
    {'train': 12, 'held': 8, 'val': 4}
    """
    outer = split_cases(cases, "patient", seed, fold=fold, folds=folds)
    return _with_inner(cases, outer, outer.of == "val", val_fraction)


def held_out_acquisition(
    cases: Cases, seed: int, fold: int, folds: int, val_fraction: float = VAL_FRACTION
) -> Split:
    """A pseudo-shift: an acquisition group (hilum.data.acquisition) is held out whole, the rest is split by
    patient. Other images of the held-out patients are unused. DataError when a label is in one of the parts
    only."""
    outer = split_cases(cases, "acquisition", seed, fold=fold, folds=folds)
    return _with_inner(cases, outer, outer.of == "val", val_fraction, "patient")


def held_out_ordered(
    cases: Cases, seed: int, fold: int, folds: int, val_fraction: float = VAL_FRACTION
) -> Split:
    """Patients whose names are neighbours in number are held out together, as those of one time or device would be:
    fold 0 has the lowest numbers of each series of names, the last fold the highest. The rest is split by patient.
    DataError where a fold would lack a label.

    >>> from pathlib import Path
    >>> cases = Cases.checked(pd.DataFrame({"case_id": [f"image {n:02}" for n in range(24)], "path": "x.png",
    ...     "label": ["normal"] * 12 + ["virus"] * 12, "patient": [f"{n // 2}" for n in range(24)],
    ...     "split": "train", "digest": [f"{n}" for n in range(24)]}), "table", Path("."))
    >>> split = held_out_ordered(cases, seed=0, fold=0, folds=3)
    >>> sorted(split.of.index[split.of == "held"])
    ['image 00', 'image 01', 'image 02', 'image 03', 'image 12', 'image 13', 'image 14', 'image 15']
    """
    outer = split_cases(cases, "patient", seed, fold=fold, folds=folds)
    table = cases.table[cases.table["case_id"].map(outer.of).isin(["train", "val"])]
    groups = patient_groups(table)
    chosen = [
        name
        for row in series_in_order(table, groups)
        for name in row[len(row) * fold // folds : len(row) * (fold + 1) // folds]
    ]
    held = outer.of.index.isin(set(table["case_id"][groups.isin(chosen)]))
    missing = sorted(set(table["label"]) - set(table["label"][groups.isin(chosen)]))
    if missing:
        raise DataError(
            f"part {fold + 1} of {folds} by case number holds no image of {missing[0]!r}, whose series of names are"
            " short",
            "use fewer folds, or the scheme patient",
        )
    note = f"By number, part {fold + 1} of {folds} of each series of names."
    return _with_inner(cases, replace(outer, note=note), pd.Series(held, outer.of.index), val_fraction)


def held_out_by_image(
    cases: Cases, seed: int, fold: int, folds: int, val_fraction: float = VAL_FRACTION
) -> Split:
    """Folds of the same size, but split by image within each label: a patient's images may be in train and
    in the held-out fold. Leaky on purpose.

    >>> from pathlib import Path
    >>> cases = Cases.checked(pd.DataFrame({"case_id": [f"image {n}" for n in range(24)], "path": "x.png",
    ...     "label": ["normal"] * 12 + ["virus"] * 12, "patient": [f"{n // 2}" for n in range(24)],
    ...     "split": "train", "digest": [f"{n}" for n in range(24)]}), "table", Path("."))
    >>> split = held_out_by_image(cases, seed=0, fold=0, folds=3)
    >>> split.of.value_counts().to_dict(), split.leaky
    ({'train': 14, 'held': 8, 'val': 2}, True)
    """
    outer = split_cases(cases, "image", seed, val_fraction=1 / folds)
    table = cases.table[cases.table["case_id"].map(outer.of).isin(["train", "val"])]
    held = pd.Series(False, index=outer.of.index)
    for _, ids in table.groupby("label")["case_id"]:
        order = sorted(ids, key=lambda name: digest(str(seed), "image folds", name))
        held[order[fold::folds]] = True
    return _with_inner(cases, outer, held, val_fraction)


def _with_inner(
    cases: Cases, outer: Split, held: pd.Series, val_fraction: float, scheme: str | None = None
) -> Split:
    """The held-out images apart, and the others split into train and val, by the same scheme unless given."""
    inside = outer.of.isin(["train", "val"])
    rest_ids = set(outer.of.index[inside & ~held])
    rest = cases.where(cases.table["case_id"].isin(rest_ids))
    rest = Cases(rest.table.assign(split="train"), rest.source, rest.root, rest.notes)
    inner = split_cases(rest, scheme or outer.scheme, outer.seed, val_fraction=val_fraction)
    of = inner.of.reindex(outer.of.index).fillna("unused")
    of = of.mask(held, HELD).mask(outer.of == "test", "unused")
    note = f"A fold is held out; {inner.note} {outer.note}"
    return replace(outer, of=of, note=note)
