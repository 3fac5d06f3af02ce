"""Splits: which case is for training, for validation, for the test, or not used.

No scheme moves a case out of the test part that a source declares, and no choice is ever made on it.

Chance comes from `seed` alone: names are put in the order of a digest of seed and name, so that a split
depends neither on the order of the rows nor on the version of a random number generator.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import pandas as pd

from hilum.artifacts.run import SplitFacts
from hilum.data.acquisition import clusters
from hilum.data.cases import HEALTHY, SPLITS, Cases
from hilum.data.facts import facts_table
from hilum.data.groups import (
    check_enough,
    folds_of_groups,
    in_random_order,
    patient_groups,
    series_in_order,
    share_of,
    share_of_groups,
)
from hilum.errors import DataError, nearest

Scheme = Literal["patient", "official", "image", "acquisition", "ordered", "seed-1a", "seed-1b"]
SCHEMES: tuple[str, ...] = get_args(Scheme)

TEST_FRACTION = 0.15
"""The share of patients for the test when a source declares no split at all."""

ACQUISITIONS = 5
"""Acquisition groups, unless folds are given."""

SEED_1A_VAL = 0.2
SEED_1B_MOVED, SEED_1B_TRAIN, SEED_1B_SMALL = 400, 5216, 2000
"""The seed report moved 400 of 5216 images; a set with fewer than 2000 gives the same share."""


@dataclass(frozen=True)
class Split:
    """The part of each case, and what a reader of the results must know about it.

    of: case_id -> "train", "val", "test" or "unused", sorted by case_id. shared_patients and shared_images:
    patients, and byte-identical files, that are in more than one of train, val and test; `leaky` is true
    when there is any. note: plain sentences for the report. fold of folds: from 0, None without folds.
    """

    of: pd.Series
    scheme: str
    seed: int
    leaky: bool
    shared_patients: int
    shared_images: int
    note: str
    fold: int | None = None
    folds: int | None = None

    def facts(self) -> SplitFacts:
        """Everything but the cases, for run.json and the model's card."""
        return SplitFacts(**{name: value for name, value in vars(self).items() if name != "of"})

    @classmethod
    def known(cls, of: pd.Series, facts: SplitFacts) -> "Split":
        """The inverse of `facts`."""
        return cls(of, **facts.model_dump())


def split_cases(
    cases: Cases,
    scheme: str = "patient",
    seed: int = 0,
    val_fraction: float = 0.15,
    test_fraction: float | None = None,
    fold: int | None = None,
    folds: int | None = None,
) -> Split:
    """Splits cases by a named scheme.

    patient: train and val of the source are joined and split again, so that no patient is on both sides and
        each label has the same share (`val_fraction`) of its patients in val; with `folds`, k such parts of
        equal size, of which number `fold` is val. Patients that share a byte-identical image stay together.
    official: as the source declares.
    image: train and val joined and split by image, stratified by label. Leaky on purpose, for comparison.
    acquisition: a pseudo-shift to choose models on. Acquisition groups (hilum.data.acquisition) are held out
        whole: of `folds` such groups (5 unless given) number `fold` (0 unless given, the largest) is val.
        Other images of its patients are unused, so that no patient is on both sides.
    ordered: the patients with the lowest numbers of each series of names are val (`val_fraction` of each series),
        as a hospital's first patients, or those of its first devices, would be. Patient-disjoint.
    seed-1a: as the seed report did its binary task: joined, 80/20 by image, then images of the larger side
        dropped until normal and abnormal are equal in train and in val.
    seed-1b: as the seed report did its three classes: 400 images moved from train to val.

    The test part of the source stays as it is. When the source declares no split at all, a patient-disjoint
    test part (`test_fraction` of the patients, 0.15 unless given) is taken out first, the same one for every
    scheme but 'official'. When it declares parts but no test, there is one only if `test_fraction` is given.

    `val_fraction` is used by 'patient' without folds, by 'image' and by 'ordered'.

    Raises DataError when a number is out of range, when there are too few patients, or when train or val
    would lack a label (a val that the source declares may lack one: 'official' says so in the note).

    >>> from pathlib import Path
    >>> rows = [(f"{label}{n}", label, f"p{label}{n}") for label in ("normal", "virus") for n in range(8)]
    >>> table = pd.DataFrame(rows, columns=["case_id", "label", "patient"])
    >>> table = table.assign(path=table["case_id"], split="", digest=table["case_id"])
    >>> split = split_cases(Cases.checked(table, "table", Path("cases.csv")), val_fraction=0.25)
    >>> split.of.value_counts().sort_index().to_dict()
    {'test': 2, 'train': 10, 'val': 4}
    """
    _check_numbers(scheme, seed, val_fraction, test_fraction, fold, folds)
    table = cases.table.sort_values("case_id", ignore_index=True)
    if scheme == "official":
        return _finished(table, table["split"].replace("", "unused"), scheme, seed, _official_note(table))
    groups = patient_groups(table)
    part, note = _test_part(table, groups, seed, test_fraction)
    if scheme == "patient":
        part, how = _by_patient(table, groups, part, seed, val_fraction, fold, folds)
    elif scheme == "image":
        part, how = _by_image(table, part, seed, val_fraction)
    elif scheme == "acquisition":
        part, how = _by_acquisition(cases, table, groups, part, seed, fold or 0, folds or ACQUISITIONS)
    elif scheme == "ordered":
        part, how = _ordered(table, groups, part, val_fraction)
    elif scheme == "seed-1a":
        part, how = _seed_1a(table, part, seed)
    else:
        part, how = _seed_1b(table, part, seed)
    _check_labels(table, part)
    return _finished(table, part, scheme, seed, [*how, *note], fold, folds)


def used_cases(cases: Cases, of: pd.Series) -> Cases:
    """The cases that a split (case_id -> part) uses at all: those in train, val or test.

    >>> from pathlib import Path
    >>> cases = Cases(pd.DataFrame({"case_id": ["a", "b"]}), "table", Path("cases.csv"))
    >>> used_cases(cases, pd.Series({"a": "train", "b": "unused"})).table["case_id"].tolist()
    ['a']
    """
    return cases.where(cases.table["case_id"].map(of).isin(SPLITS))


def folds(cases: Cases, k: int, seed: int = 0) -> list[Split]:
    """k patient-disjoint, stratified splits; each case outside the test is in val exactly once.

    >>> from pathlib import Path
    >>> rows = [(f"{label}{n}", label, f"p{label}{n}") for label in ("normal", "virus") for n in range(8)]
    >>> table = pd.DataFrame(rows, columns=["case_id", "label", "patient"])
    >>> table = table.assign(path=table["case_id"], split="", digest=table["case_id"])
    >>> three = folds(Cases.checked(table, "table", Path("cases.csv")), 3)
    >>> [split.of.value_counts()["val"].item() for split in three]
    [5, 5, 4]
    """
    return [split_cases(cases, "patient", seed, fold=fold, folds=k) for fold in range(max(k, 1))]


# -- the schemes: a Series over the rows of the table, with "rest" for what is still to be split -------


def _test_part(
    table: pd.DataFrame, groups: pd.Series, seed: int, fraction: float | None
) -> tuple[pd.Series, list[str]]:
    """The rows as "test" or "rest"."""
    declared = table["split"] == "test"
    part = pd.Series("rest", index=table.index).mask(declared, "test")
    if declared.any():
        if fraction is not None:
            raise DataError(
                f"test_fraction is {fraction:g}, but the source declares {declared.sum()} images as test",
                "leave test_fraction out",
            )
        if declared.all():
            raise DataError("all cases are declared as test", "add cases to train on")
        return part, ["The source's own test part is kept as it is."]
    if fraction is None and (table["split"] != "").any():
        return part, ["The source declares no test part, and none was taken."]
    fraction = TEST_FRACTION if fraction is None else fraction
    chosen = share_of_groups(table, groups, fraction, seed, "test")
    note = f"The source declares no test part: {fraction:.0%} of the patients were taken for it."
    return part.mask(groups.isin(chosen), "test"), [note]


def _by_patient(
    table: pd.DataFrame,
    groups: pd.Series,
    part: pd.Series,
    seed: int,
    fraction: float,
    fold: int | None,
    folds: int | None,
) -> tuple[pd.Series, list[str]]:
    also_in_test = (part == "rest") & groups.isin(groups[part == "test"])
    part = part.mask(also_in_test, "unused")
    rest = part == "rest"
    if folds is None:
        chosen = share_of_groups(table[rest], groups[rest], fraction, seed, "val")
        share = f"{fraction:.0%} of the patients are for validation"
    else:
        chosen = folds_of_groups(table[rest], groups[rest], folds, seed)[fold or 0]
        share = f"fold {(fold or 0) + 1} of {folds} is for validation"
    note = [f"Train and validation are split by patient, stratified by label: {share} (seed {seed})."]
    if also_in_test.any():
        n = int(also_in_test.sum())
        unused = "1 image is unused because its" if n == 1 else f"{n} images are unused because their"
        note.append(f"{unused} patient, or the very same image, is in the test part.")
    return _val_else_train(part, groups.isin(chosen)), note


def _by_image(
    table: pd.DataFrame, part: pd.Series, seed: int, fraction: float
) -> tuple[pd.Series, list[str]]:
    chosen: list[str] = []
    rest = table[part == "rest"]
    check_enough(rest["label"], rest["case_id"], 2, "images")
    for _, ids in rest.groupby("label")["case_id"]:
        chosen += in_random_order(ids, seed, "image")[: share_of(len(ids), fraction)]
    note = f"Train and validation are split by image, not by patient: {fraction:.0%} for val (seed {seed})."
    return _val_else_train(part, table["case_id"].isin(chosen)), [note]


def _by_acquisition(
    cases: Cases, table: pd.DataFrame, groups: pd.Series, part: pd.Series, seed: int, fold: int, k: int
) -> tuple[pd.Series, list[str]]:
    """One acquisition group is val. Test images take no part in finding the groups."""
    part = part.mask((part == "rest") & groups.isin(groups[part == "test"]), "unused")
    rest = part == "rest"
    facts = facts_table(cases).set_index("case_id").loc[table["case_id"][rest]]
    number = pd.Series(-1, index=table.index)
    number[rest] = clusters(facts.reset_index(), k, seed)
    val = number == fold
    split_up = rest & ~val & groups.isin(groups[val])
    note = (
        f"A whole acquisition group is held out: group {fold + 1} of {k}, {int(val.sum())} images"
        f" (seed {seed}). {int(split_up.sum())} other images of its patients are unused."
    )
    return _val_else_train(part.mask(split_up, "unused"), val), [note]


def _ordered(
    table: pd.DataFrame, groups: pd.Series, part: pd.Series, fraction: float
) -> tuple[pd.Series, list[str]]:
    part = part.mask((part == "rest") & groups.isin(groups[part == "test"]), "unused")
    rest = part == "rest"
    series = series_in_order(table[rest], groups[rest])
    chosen = [name for row in series for name in row[: share_of(len(row), fraction)]]
    share = f"{fraction:.0%} of each of {len(series)} series of names"
    note = f"The patients with the lowest numbers are for validation: {share}."
    return _val_else_train(part, groups.isin(chosen)), [note]


def _seed_1a(table: pd.DataFrame, part: pd.Series, seed: int) -> tuple[pd.Series, list[str]]:
    if HEALTHY not in set(table["label"]):
        raise DataError(
            f"scheme 'seed-1a' balances the label {HEALTHY!r}, which no case has", "use 'patient'"
        )
    ids = table["case_id"]
    rest = in_random_order(ids[part == "rest"], seed, "seed-1a")
    part = _val_else_train(part, ids.isin(rest[: round(SEED_1A_VAL * len(rest))]))
    before = int(part.isin(["train", "val"]).sum())
    for name in ("train", "val"):
        inside, normal = part == name, table["label"] == HEALTHY
        sides = sorted((ids[inside & normal], ids[inside & ~normal]), key=len)
        dropped = in_random_order(sides[1], seed, "seed-1a drop")[len(sides[0]) :]
        part = part.mask(ids.isin(dropped), "unused")
    after = int(part.isin(["train", "val"]).sum())
    note = (
        f"As the seed report's binary task: train and validation joined and split 80/20 by image (seed "
        f"{seed}), then {before - after} of {before} images dropped so that half of each part is normal."
    )
    return part, [note]


def _seed_1b(table: pd.DataFrame, part: pd.Series, seed: int) -> tuple[pd.Series, list[str]]:
    declared_val = (part == "rest") & (table["split"] == "val")
    train = table["case_id"][(part == "rest") & ~declared_val]
    moved, why = SEED_1B_MOVED, ""
    if len(train) < SEED_1B_SMALL:
        moved = round(SEED_1B_MOVED / SEED_1B_TRAIN * len(train))
        why = f", the report's share of {SEED_1B_MOVED}/{SEED_1B_TRAIN}, because there are only {len(train)}"
    chosen = in_random_order(train, seed, "seed-1b")[:moved]
    note = (
        f"As the seed report's three-class task: {moved} images moved from train to validation at random "
        f"(seed {seed}){why}."
    )
    return _val_else_train(part, declared_val | table["case_id"].isin(chosen)), [note]


def _official_note(table: pd.DataFrame) -> list[str]:
    counts = table["split"].value_counts()
    if "train" not in counts or not {"val", "test"} & set(counts.index):
        raise DataError(
            "scheme 'official' needs cases declared as train, and others as val or test; the source declares "
            + (", ".join(sorted(name for name in counts.index if name)) or "nothing"),
            "use scheme 'patient'",
        )
    note = ["Parts as the source declares them."]
    if "" in counts:
        note.append(f"{counts['']} images without a declared part are unused.")
    for name in ("train", "val", "test"):
        missing = ", ".join(sorted(set(table["label"]) - set(table["label"][table["split"] == name])))
        if missing and name == "train":
            raise DataError(f"the declared train part has no case of {missing}", "use scheme 'patient'")
        if missing and name in counts:
            note.append(f"The {name} part has no case of {missing}.")
    return note


def _val_else_train(part: pd.Series, val: pd.Series) -> pd.Series:
    rest = part == "rest"
    return part.mask(rest & val, "val").mask(rest & ~val, "train")


# -- checks, the result ------------------------------------------------------------------------


def _check_numbers(
    scheme: str,
    seed: int,
    val_fraction: float,
    test_fraction: float | None,
    fold: int | None,
    folds: int | None,
) -> None:
    if scheme not in SCHEMES:
        raise DataError(f"split scheme {scheme!r} is not known", nearest(scheme, SCHEMES))
    if seed < 0:
        raise DataError(f"seed is {seed}", "give a whole number from 0 on")
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if value is not None and not 0 < value < 1:
            raise DataError(f"{name} is {value:g}", "give a number between 0 and 1")
    if fold is None and folds is None:
        return
    if scheme not in ("patient", "acquisition"):
        raise DataError(f"scheme {scheme!r} has no folds", "use scheme 'patient'")
    if folds is None or fold is None or folds < 2 or not 0 <= fold < folds:
        raise DataError(
            f"fold {fold} of {folds} does not exist", "give folds from 2 on, and fold from 0 to folds - 1"
        )


def _check_labels(table: pd.DataFrame, part: pd.Series) -> None:
    for label in sorted(set(table["label"])):
        count: Mapping[str, int] = part[table["label"] == label].value_counts().to_dict()
        for name in ("train", "val"):
            if not count.get(name):
                raise DataError(
                    f"label {label!r} would have no image in {name} (train {count.get('train', 0)}, "
                    f"val {count.get('val', 0)}, test {count.get('test', 0)})",
                    "add patients of this label, take it out, or try another seed or fraction",
                )


def _shared(names: pd.Series, part: pd.Series) -> int:
    """How many names occur in more than one of train, val and test."""
    used = part.isin(["train", "val", "test"])
    pairs = pd.DataFrame({"name": names, "part": part})[used].drop_duplicates()
    return int((pairs["name"].value_counts() > 1).sum())


def _finished(
    table: pd.DataFrame,
    part: pd.Series,
    scheme: str,
    seed: int,
    note: list[str],
    fold: int | None = None,
    folds: int | None = None,
) -> Split:
    patients, images = _shared(table["patient"], part), _shared(table["digest"], part)
    if patients or images:
        note.append(
            f"Leaky: patients in more than one of train, val and test: {patients}, identical images: "
            f"{images}; the figures are better than they would be on new patients."
        )
    if (table["patient"] == table["case_id"]).all():
        note.append("Patients are unknown, so this split may leak unseen.")
    of = pd.Series(part.to_numpy(), index=pd.Index(table["case_id"], name="case_id"), name="split")
    return Split(of, scheme, seed, bool(patients or images), patients, images, " ".join(note), fold, folds)
