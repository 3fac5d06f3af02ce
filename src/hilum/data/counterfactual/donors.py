"""Donors: for each image a random image of the other label, of another patient."""

import pandas as pd

from hilum.data.labels import HEALTHY
from hilum.errors import DataError
from hilum.files import digest


def other_labels(label: str, labels: list[str]) -> list[str]:
    """The labels that donors of an image with this label may have, sorted: all abnormal ones for a healthy image,
    healthy for an abnormal one, all others where no label is healthy.

    >>> other_labels("normal", ["normal", "bacteria", "virus"]), other_labels("virus", ["normal", "virus"])
    (['bacteria', 'virus'], ['normal'])
    """
    others = sorted(set(labels) - {label})
    return [HEALTHY] if HEALTHY in others else others


def donors(images: pd.DataFrame, pool: pd.DataFrame, seed: int = 0) -> pd.Series:
    """The donor of each image: case_id -> case_id, in the order of `images`.

    `images`, `pool`: rows with case_id, patient and label. First the donor's label is drawn, all of them equally
    likely, then an image of it. Chance hangs on seed and case alone: another image more or less in `images` changes
    no donor of the others. DataError when the pool has no image of another label and patient.

    >>> images = pd.DataFrame({"case_id": ["a", "b"], "patient": ["ann", "bob"], "label": ["normal", "virus"]})
    >>> donors(images, images).to_dict()
    {'a': 'b', 'b': 'a'}
    """
    by_label = {str(label): rows.sort_values("case_id") for label, rows in pool.groupby("label")}
    drawn = {
        case: _donor(case, patient, other_labels(label, list(by_label)), by_label, seed)
        for case, patient, label in zip(images["case_id"], images["patient"], images["label"], strict=True)
    }
    return pd.Series(drawn, name="donor", dtype=str)


def _donor(case: str, patient: str, labels: list[str], by_label: dict[str, pd.DataFrame], seed: int) -> str:
    left = {label: rows for label in labels if len(rows := _of_others(by_label[label], patient))}
    if not left:
        raise DataError(
            f"no image of another label and patient can be a donor for case {case!r}",
            "the training part needs images of two labels",
        )
    names = sorted(left)
    rows = left[names[_draw(len(names), "label", case, seed)]]
    return str(rows["case_id"].iloc[_draw(len(rows), "image", case, seed)])


def _of_others(rows: pd.DataFrame, patient: str) -> pd.DataFrame:
    return rows[rows["patient"] != patient]


def _draw(n: int, what: str, case: str, seed: int) -> int:
    return int(digest("counterfactual", what, str(seed), case), 16) % n
