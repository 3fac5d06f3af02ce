"""Cross-fitting: parts of a split that share no patient, to fit on some and judge on the others."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from hilum.errors import DataError


def patient_parts(patients: ArrayLike, target: ArrayLike, parts: int, seed: int) -> np.ndarray:
    """The part of each case, "cases", 0 to parts - 1: patients stay whole, each class is distributed evenly.

    `patients`, `target`: the patient and the class of each case, "cases". A patient with several classes counts
    for its last class in order of name. The order of the cases changes nothing. DataError when a class has
    fewer patients than there are parts.

    >>> patient_parts(["a", "a", "b", "c", "d"], ["pneumonia"] * 3 + ["normal"] * 2, 2, seed=0).tolist()
    [1, 1, 0, 0, 1]
    """
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    classes, index = np.unique(np.asarray(target), return_inverse=True)
    if not len(patient):
        raise DataError("there are no cases to divide", "use a split that has cases")
    of_patient = np.zeros(patient.max() + 1, np.int64)
    np.maximum.at(of_patient, patient, index)
    rng = np.random.default_rng(seed)
    part = np.zeros(len(of_patient), np.int64)
    for number, name in enumerate(classes):
        members = rng.permutation(np.flatnonzero(of_patient == number))
        if len(members) < parts:
            raise DataError(
                f"class {str(name)!r} has {len(members)} patients: too few for {parts} parts by patient",
                "use more cases, or fewer parts",
            )
        part[members] = (np.arange(len(members)) + number) % parts
    return part[patient]


def folds(
    patients: ArrayLike, target: ArrayLike, parts: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each part: mask of the cases to fit on (all others), mask of those to judge, each "cases".

    >>> [(fit.sum().item(), judge.sum().item()) for fit, judge in folds([*"abcd"], [*"xxyy"], 2, seed=0)]
    [(2, 2), (2, 2)]
    """
    part = patient_parts(patients, target, parts, seed)
    for number in range(parts):
        yield part != number, part == number
