"""Groups of patients, and how they are shared out by chance.

Chance comes from a seed alone: names are put in the order of a digest of seed, purpose and name, so that a
split depends neither on the order of the rows nor on the version of a random number generator.
"""

import re
from collections.abc import Iterable
from typing import Any

import pandas as pd

from hilum.errors import DataError
from hilum.files import digest


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
        leaders = sorted({find(patient) for patient in patients})
        leader.update(dict.fromkeys(leaders, leaders[0]))
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
    return sorted(in_random_order(sizes.index, seed, purpose), key=lambda group: -sizes[group])


def share_of_groups(
    table: pd.DataFrame, groups: pd.Series, fraction: float, seed: int, purpose: str
) -> list[str]:
    """Groups that hold `fraction` of the patients of each label, and nearly that share of its images.

    Systematic sampling (Cochran, Sampling Techniques, 1977, ch. 8): the groups of a label lie in a row from
    large to small, and every 1/fraction-th is taken from a random start.

    >>> table = pd.DataFrame({"label": ["normal"] * 4})
    >>> len(share_of_groups(table, pd.Series(list("abcd")), 0.5, 0, "example"))
    2
    """
    check_enough(table["label"], groups, 2)
    chosen: list[str] = []
    for label, sizes in _strata(table, groups).items():
        row = _from_large_to_small(sizes, seed, purpose)
        count = share_of(len(row), fraction)
        start = int(digest(str(seed), purpose, "start", label), 16) / 16**32
        chosen += [row[int((start + step) * len(row) / count)] for step in range(count)]
    return chosen


def folds_of_groups(table: pd.DataFrame, groups: pd.Series, k: int, seed: int) -> list[list[str]]:
    """k lists of groups with nearly equal numbers of images, and of patients, per label.

    From large to small, each group goes to the fold with the fewest images of its label so far (Graham,
    Bounds on multiprocessing timing anomalies, 1969).

    >>> table = pd.DataFrame({"label": ["normal"] * 4})
    >>> [len(fold) for fold in folds_of_groups(table, pd.Series(list("abcd")), 2, 0)]
    [2, 2]
    """
    check_enough(table["label"], groups, k)
    chosen: list[list[str]] = [[] for _ in range(k)]
    for label, sizes in _strata(table, groups).items():
        images = dict.fromkeys(in_random_order(range(k), seed, f"folds {label}"), 0)
        for group in _from_large_to_small(sizes, seed, "folds"):
            fold = min(images, key=images.__getitem__)  # the first of equals
            chosen[int(fold)].append(group)
            images[fold] += int(sizes[group])
    return chosen


def series_in_order(table: pd.DataFrame, groups: pd.Series) -> list[list[str]]:
    """The groups of each series of names, in the order of their numbers.

    A series are the groups of a label whose names differ in their numbers alone: IM-0115 and IM-0117, but not
    NORMAL2-IM-0115. A group with several labels counts for the first of them.

    >>> table = pd.DataFrame({"label": ["normal"] * 6})
    >>> series_in_order(table, pd.Series(["a10", "a9", "a8", "a7", "b2", "b10"]))
    [['a7', 'a8', 'a9', 'a10'], ['b2', 'b10']]
    """
    check_enough(table["label"], groups, 2)
    names = pd.DataFrame({"label": table["label"], "group": groups}).sort_values(["label", "group"])
    names = names.drop_duplicates("group")
    names["series"] = names["group"].str.replace(r"\d+", "#", regex=True)
    return [
        sorted(members["group"], key=lambda name: [int(run) for run in re.findall(r"\d+", name)])
        for _, members in names.groupby(["label", "series"], sort=True)
    ]


def in_random_order(names: Iterable[Any], seed: int, purpose: str) -> list[str]:
    """The names as text, in the order of a digest of seed, purpose and name.

    >>> in_random_order(["b", "a"], 0, "example") == in_random_order(["a", "b"], 0, "example")
    True
    """
    return sorted(map(str, names), key=lambda name: digest(str(seed), purpose, name))


def share_of(n: int, fraction: float) -> int:
    """The whole number nearest to n * fraction that leaves at least one on both sides, if n allows it.

    >>> share_of(10, 0.15), share_of(3, 0.01), share_of(1, 0.9)
    (2, 1, 0)
    """
    return min(max(round(n * fraction), 1), n - 1)


def check_enough(labels: pd.Series, names: pd.Series, sides: int, unit: str = "patients") -> None:
    """DataError unless each label has as many patients, or images, as there are sides to share them out to.

    >>> check_enough(pd.Series(["normal", "normal"]), pd.Series(["a", "b"]), sides=2)  # enough
    """
    for label, count in names.groupby(labels).nunique().items():
        if count < sides:
            fewer = ", or use fewer folds" if sides > 2 else ""
            raise DataError(
                f"label {label!r} has {count} {unit} outside the test part, too few for {sides} sides",
                f"add {unit} of this label, or take it out{fewer}",
            )
