"""Splits: which case is for training, for validation, for the test, or not used.

No scheme moves a case out of the test part that a source declares, and no choice is ever made on it.

Chance comes from `seed` alone: names are put in the order of a digest of seed and name, so that a split
depends neither on the order of the rows nor on the version of a random number generator.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pandas as pd

from hilum.data.acquisition import clusters
from hilum.data.cases import HEALTHY, SPLITS, Cases
from hilum.data.facts import facts_table
from hilum.errors import DataError, nearest
from hilum.files import digest

Scheme = Literal["patient", "official", "image", "acquisition", "seed-1a", "seed-1b"]
SCHEMES: tuple[str, ...] = get_args(Scheme)

TEST_FRACTION = 0.15
"""The share of patients for the test when a source declares no split at all."""

ACQUISITIONS = 5
"""Groups of images taken alike, unless folds are given."""

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

    def facts(self) -> dict[str, Any]:
        """Everything but the cases, as plain values for run.json."""
        return {name: value for name, value in vars(self).items() if name != "of"}


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
    acquisition: a pseudo-shift to choose models on. Images that were taken alike (hilum.data.acquisition) are
        held out whole: of `folds` such groups (5 unless given) number `fold` (0 unless given, the largest) is
        val. Other images of its patients are unused, so that no patient is on both sides.
    seed-1a: as the seed report did its binary task: joined, 80/20 by image, then images of the larger side
        dropped until healthy and abnormal are equal in train and in val.
    seed-1b: as the seed report did its three classes: 400 images moved from train to val.

    The test part of the source stays as it is. When the source declares no split at all, a patient-disjoint
    test part (`test_fraction` of the patients, 0.15 unless given) is taken out first, the same one for every
    scheme but 'official'. When it declares parts but no test, there is one only if `test_fraction` is given.

    `val_fraction` is used by 'patient' without folds and by 'image'.

    Raises DataError when a number is out of range, when there are too few patients, or when train or val
    would lack a label (a val that the source declares may lack one: 'official' says so in the note).
    """
    _check_numbers(scheme, seed, val_fraction, test_fraction, fold, folds)
    table = cases.table.sort_values("case_id", ignore_index=True)
    if scheme == "official":
        return _finished(table, table["split"].replace("", "unused"), scheme, seed, _official_note(table))
    groups = patient_groups(table)
    part, note = _test_part(table, groups, seed, test_fraction)
    if scheme == "patient":
        part, said = _by_patient(table, groups, part, seed, val_fraction, fold, folds)
    elif scheme == "image":
        part, said = _by_image(table, part, seed, val_fraction)
    elif scheme == "acquisition":
        part, said = _by_acquisition(cases, table, groups, part, seed, fold or 0, folds or ACQUISITIONS)
    elif scheme == "seed-1a":
        part, said = _seed_1a(table, part, seed)
    else:
        part, said = _seed_1b(table, part, seed)
    _check_labels(table, part)
    return _finished(table, part, scheme, seed, [*said, *note], fold, folds)


def used_cases(cases: Cases, of: pd.Series) -> Cases:
    """The cases that a split (case_id -> part) uses at all: those in train, val or test."""
    return cases.where(cases.table["case_id"].map(of).isin(SPLITS))


def folds(cases: Cases, k: int, seed: int = 0) -> list[Split]:
    """k patient-disjoint, stratified splits; each case outside the test is in val exactly once."""
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
    chosen = _share_of_groups(table, groups, fraction, seed, "test")
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
        chosen = _share_of_groups(table[rest], groups[rest], fraction, seed, "val")
        how = f"{fraction:.0%} of the patients are for validation"
    else:
        chosen = _fold_of_groups(table[rest], groups[rest], folds, seed)[fold or 0]
        how = f"fold {(fold or 0) + 1} of {folds} is for validation"
    note = [f"Train and validation are split by patient, stratified by label: {how} (seed {seed})."]
    if also_in_test.any():
        note.append(
            f"{also_in_test.sum()} images are unused because their patient, or the very same image, is in "
            "the test part."
        )
    return _val_else_train(part, groups.isin(chosen)), note


def _by_image(
    table: pd.DataFrame, part: pd.Series, seed: int, fraction: float
) -> tuple[pd.Series, list[str]]:
    chosen: list[str] = []
    rest = table[part == "rest"]
    _check_enough(rest["label"], rest["case_id"], 2, "images")
    for _, ids in rest.groupby("label")["case_id"]:
        chosen += _in_random_order(ids, seed, "image")[: _count(len(ids), fraction)]
    note = f"Train and validation are split by image, not by patient: {fraction:.0%} for val (seed {seed})."
    return _val_else_train(part, table["case_id"].isin(chosen)), [note]


def _by_acquisition(
    cases: Cases, table: pd.DataFrame, groups: pd.Series, part: pd.Series, seed: int, fold: int, k: int
) -> tuple[pd.Series, list[str]]:
    """One group of images that were taken alike is val. Test images take no part in finding the groups."""
    part = part.mask((part == "rest") & groups.isin(groups[part == "test"]), "unused")
    rest = part == "rest"
    facts = facts_table(cases).set_index("case_id").loc[table["case_id"][rest]]
    number = pd.Series(-1, index=table.index)
    number[rest] = clusters(facts.reset_index(), k, seed)
    val = number == fold
    split_up = rest & ~val & groups.isin(groups[val])
    note = (
        f"Images that were taken alike are held out whole: group {fold + 1} of {k}, {int(val.sum())} images"
        f" (seed {seed}). {int(split_up.sum())} other images of its patients are unused."
    )
    return _val_else_train(part.mask(split_up, "unused"), val), [note]


def _seed_1a(table: pd.DataFrame, part: pd.Series, seed: int) -> tuple[pd.Series, list[str]]:
    if HEALTHY not in set(table["label"]):
        raise DataError(
            f"scheme 'seed-1a' balances the label {HEALTHY!r}, which no case has", "use 'patient'"
        )
    ids = table["case_id"]
    rest = _in_random_order(ids[part == "rest"], seed, "seed-1a")
    part = _val_else_train(part, ids.isin(rest[: round(SEED_1A_VAL * len(rest))]))
    before = int(part.isin(["train", "val"]).sum())
    for name in ("train", "val"):
        inside, healthy = part == name, table["label"] == HEALTHY
        sides = sorted((ids[inside & healthy], ids[inside & ~healthy]), key=len)
        dropped = _in_random_order(sides[1], seed, "seed-1a drop")[len(sides[0]) :]
        part = part.mask(ids.isin(dropped), "unused")
    after = int(part.isin(["train", "val"]).sum())
    note = (
        f"As the seed report's binary task: train and validation joined and split 80/20 by image (seed "
        f"{seed}), then {before - after} of {before} images dropped so that half of each part is healthy."
    )
    return part, [note]


def _seed_1b(table: pd.DataFrame, part: pd.Series, seed: int) -> tuple[pd.Series, list[str]]:
    declared_val = (part == "rest") & (table["split"] == "val")
    train = table["case_id"][(part == "rest") & ~declared_val]
    moved, why = SEED_1B_MOVED, ""
    if len(train) < SEED_1B_SMALL:
        moved = round(SEED_1B_MOVED / SEED_1B_TRAIN * len(train))
        why = f", the report's share of {SEED_1B_MOVED}/{SEED_1B_TRAIN}, because there are only {len(train)}"
    chosen = _in_random_order(train, seed, "seed-1b")[:moved]
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


# -- patients ------------------------------------------------------------------------------------------


def patient_groups(table: pd.DataFrame) -> pd.Series:
    """The name of each row's group: patients that share a byte-identical image are one group.

    `table`: rows with patient and digest. Union-find over patients; a group is named after its first patient
    in alphabetical order.

    >>> patient_groups(pd.DataFrame({"patient": ["b", "a", "c"], "digest": ["x", "x", "y"]})).tolist()
    ['a', 'a', 'c']
    """
    leader = {patient: patient for patient in table["patient"]}

    def find(patient: str) -> str:
        while leader[patient] != patient:
            patient = leader[patient]
        return patient

    for _, patients in table.groupby("digest")["patient"]:
        found = sorted({find(patient) for patient in patients})
        leader.update(dict.fromkeys(found, found[0]))
    return table["patient"].map(find)


def _strata(table: pd.DataFrame, groups: pd.Series) -> dict[str, pd.Series]:
    """Label -> number of images of each of its groups.

    A group with several labels goes to the rarest of them, because that is the hardest to share out.
    """
    pairs = pd.DataFrame({"group": groups, "label": table["label"]}).drop_duplicates()
    rarity = pairs["label"].value_counts().sort_index().sort_values(kind="stable")
    rank = {label: position for position, label in enumerate(rarity.index)}
    label_of = pairs.sort_values("label", key=lambda labels: labels.map(rank)).drop_duplicates("group")
    sizes = groups.value_counts()
    return {str(label): sizes[rows["group"]] for label, rows in label_of.groupby("label")}


def _from_large_to_small(sizes: pd.Series, seed: int, purpose: str) -> list[str]:
    """Groups by number of images, in random order among equals."""
    return sorted(_in_random_order(sizes.index, seed, purpose), key=lambda group: -sizes[group])


def _share_of_groups(
    table: pd.DataFrame, groups: pd.Series, fraction: float, seed: int, purpose: str
) -> list[str]:
    """Groups that hold `fraction` of the patients of each label, and nearly that share of its images.

    Systematic sampling (Cochran, Sampling Techniques, 1977, ch. 8): the groups of a label lie in a row from
    large to small, and every 1/fraction-th is taken from a random start.
    """
    _check_enough(table["label"], groups, 2)
    chosen: list[str] = []
    for label, sizes in _strata(table, groups).items():
        row = _from_large_to_small(sizes, seed, purpose)
        count = _count(len(row), fraction)
        start = int(digest(str(seed), purpose, "start", label), 16) / 16**32
        chosen += [row[int((start + step) * len(row) / count)] for step in range(count)]
    return chosen


def _fold_of_groups(table: pd.DataFrame, groups: pd.Series, k: int, seed: int) -> list[list[str]]:
    """k lists of groups with nearly equal numbers of images, and of patients, per label.

    From large to small, each group goes to the fold with the fewest images of its label so far (Graham,
    Bounds on multiprocessing timing anomalies, 1969).
    """
    _check_enough(table["label"], groups, k)
    chosen: list[list[str]] = [[] for _ in range(k)]
    for label, sizes in _strata(table, groups).items():
        images = dict.fromkeys(_in_random_order(range(k), seed, f"folds {label}"), 0)
        for group in _from_large_to_small(sizes, seed, "folds"):
            fold = min(images, key=images.__getitem__)  # the first of equals
            chosen[int(fold)].append(group)
            images[fold] += int(sizes[group])
    return chosen


# -- chance, checks, the result ------------------------------------------------------------------------


def _in_random_order(names: Iterable[Any], seed: int, purpose: str) -> list[str]:
    return sorted(map(str, names), key=lambda name: digest(str(seed), purpose, name))


def _count(n: int, fraction: float) -> int:
    """The whole number nearest to n * fraction that leaves at least one on both sides, if n allows it.

    >>> _count(10, 0.15), _count(3, 0.01), _count(1, 0.9)
    (2, 1, 0)
    """
    return min(max(round(n * fraction), 1), n - 1)


def _check_enough(labels: pd.Series, names: pd.Series, sides: int, unit: str = "patients") -> None:
    """Each label needs as many patients, or images, as there are sides to share them out to."""
    for label, count in names.groupby(labels).nunique().items():
        if count < sides:
            fewer = ", or use fewer folds" if sides > 2 else ""
            raise DataError(
                f"label {label!r} has {count} {unit} outside the test part, too few for {sides} sides",
                f"add {unit} of this label, or take it out{fewer}",
            )


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
