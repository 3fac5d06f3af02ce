"""Several findings per image: a column per finding, as NIH ChestX-ray14, CheXpert and MIMIC-CXR have them.

A finding is stated as present (1) or absent (0), as uncertain (-1), or not at all (an empty cell, NaN). In the table of
the cases the columns are called `finding:<name>` and hold float64.

References
    Irvin J et al. CheXpert: a large chest radiograph dataset with uncertainty labels. AAAI (2019).
    Sechidis K, Tsoumakas G, Vlahavas I. On the stratification of multi-label data. ECML PKDD (2011).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hilum.data.finding_options import ABNORMAL, NOT_STATED, PREFIX, Uncertain
from hilum.data.labels import HEALTHY, canonical_label
from hilum.errors import DataError

UNCERTAIN = -1.0

_CELLS = {"1": 1.0, "0": 0.0, "-1": UNCERTAIN, "": np.nan, "nan": np.nan}

FEWEST_GROUPS = 4
"""Patients that a stratum needs of its own, so that each part can get one."""


def columns_of(names: Sequence[str]) -> list[str]:
    """The columns of findings among the names of a table's columns.

    >>> columns_of(["case_id", "finding:Effusion", "label"])
    ['finding:Effusion']
    """
    return [name for name in names if name.startswith(PREFIX)]


def cell_value(text: str) -> float | None:
    """What a cell states: 1 present, 0 absent, -1 uncertain, NaN not stated; None for anything else.

    >>> cell_value("1.0"), cell_value("-1"), cell_value(" "), cell_value("yes")
    (1.0, -1.0, nan, None)
    """
    word = text.strip().lower()
    return _CELLS.get(word.removesuffix(".0"))


def finding_columns(
    header: Sequence[str], rows: Sequence[Mapping[str, str]], known: Sequence[str]
) -> list[str]:
    """The columns of a CSV that hold findings: those that are called `finding:<name>`; without them, and without a
    column `label`, every other column whose cells are all 1, 0, -1 or empty, and not all empty.

    `known`: columns with another meaning.

    >>> finding_columns(["path", "Edema", "age"], [{"path": "a.png", "Edema": "1", "age": "64"}], ["path"])
    ['Edema']
    """
    named = columns_of(header)
    if named or "label" in header:
        return named
    others = [name for name in header if name not in known and name.strip()]
    return [name for name in others if _holds_findings([row[name] for row in rows])]


def _holds_findings(cells: Sequence[str]) -> bool:
    values = [cell_value(cell) for cell in cells]
    return all(value is not None for value in values) and any(value == value for value in values)


def stated(cells: Mapping[str, str], where: str) -> dict[str, float]:
    """The findings of a row, by column of the cases' table. DataError for a cell that states nothing known.

    >>> stated({"Edema": "1", "finding:Mass": ""}, "t.csv row 2")
    {'finding:Edema': 1.0, 'finding:Mass': nan}
    >>> stated({"Edema": "yes"}, "t.csv row 2")
    Traceback (most recent call last):
    hilum.errors.DataError: t.csv row 2: finding 'Edema' is 'yes'; write 1, 0, -1 (uncertain) or leave it empty
    """
    values = {}
    for column, text in cells.items():
        name, value = column.removeprefix(PREFIX).strip(), cell_value(text)
        if value is None:
            raise DataError(
                f"{where}: finding {name!r} is {text!r}", "write 1, 0, -1 (uncertain) or leave it empty"
            )
        values[f"{PREFIX}{name}"] = value
    return values


def label_of(findings: Mapping[str, float]) -> str:
    """One label for an image of which only findings are stated: abnormal with a finding that is present; normal
    where a column that means no finding is 1, or where every finding is absent; else not stated.

    >>> label_of({"finding:Edema": 1.0}), label_of({"finding:Edema": 0.0, "finding:Mass": 0.0})
    ('abnormal', 'normal')
    >>> label_of({"finding:No Finding": 1.0, "finding:Mass": np.nan}), label_of({"finding:Mass": np.nan})
    ('normal', 'not stated')
    """
    healthy = {name for name in findings if canonical_label(name.removeprefix(PREFIX)) == HEALTHY}
    diseases = [value for name, value in findings.items() if name not in healthy]
    if 1.0 in diseases:
        return ABNORMAL
    if any(findings[name] == 1.0 for name in healthy) or all(value == 0.0 for value in diseases):
        return HEALTHY
    return NOT_STATED


def drop_constant(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Takes findings that are never present, or never absent, out of the rows, and gives their names: nothing can be
    learnt of them.

    >>> rows = [{"finding:Edema": "1", "finding:Mass": "1"}, {"finding:Edema": "0", "finding:Mass": "nan"}]
    >>> drop_constant(rows), rows
    (['Mass'], [{'finding:Edema': '1'}, {'finding:Edema': '0'}])
    """
    dropped = []
    for column in columns_of(list(rows[0])) if rows else []:
        if not {"0", "1"} <= {str(row[column]) for row in rows}:
            dropped.append(column.removeprefix(PREFIX))
            for row in rows:
                del row[column]
    return dropped


def note_on_constant(names: Sequence[str]) -> list[str]:
    """A note on findings that were left out.

    >>> note_on_constant(["Mass"])
    ['Findings that are never present, or never absent, are left out: Mass.']
    """
    if not names:
        return []
    return [f"Findings that are never present, or never absent, are left out: {', '.join(names)}."]


def targets(table: pd.DataFrame, names: Sequence[str], uncertain: Uncertain = "not_stated") -> np.ndarray:
    """float32 "cases findings": 1 present, 0 absent, NaN not stated; what uncertain ones count as is a choice.

    >>> table = pd.DataFrame({"finding:Edema": [1.0, -1.0, np.nan]})
    >>> targets(table, ["Edema"]).ravel().tolist(), targets(table, ["Edema"], "present").ravel().tolist()
    ([1.0, nan, nan], [1.0, 1.0, nan])
    """
    values = table[[f"{PREFIX}{name}" for name in names]].to_numpy(np.float32)
    taken = {"not_stated": np.nan, "present": 1.0, "absent": 0.0}[uncertain]
    return np.where(values == UNCERTAIN, np.float32(taken), values)


def strata(table: pd.DataFrame, groups: pd.Series) -> pd.Series:
    """A label per image to stratify a split by: of the group of images that it belongs to (a patient's), the rarest
    finding that is present, else that none is; labels of too few groups become the commonest one. The first step of
    Sechidis et al. (2011).

    >>> table = pd.DataFrame({"finding:Edema": [1.0] * 4 + [0.0] * 6, "finding:Mass": [0.0] * 6 + [1.0] + [0.0] * 3})
    >>> strata(table, pd.Series([*"abcdefghij"])).value_counts().to_dict()
    {'none': 6, 'Edema': 4}
    """
    present = (table[columns_of(list(table.columns))] == 1).groupby(groups.to_numpy()).any()
    label = pd.Series("none", index=present.index)
    for column in (
        present.sum().sort_values(ascending=False, kind="stable").index
    ):  # the rarest last: it stays
        label = label.mask(present[column], column.removeprefix(PREFIX))
    counts = label.value_counts()
    rare = counts.index[counts < FEWEST_GROUPS]
    return groups.map(label.mask(label.isin(rare), str(counts.index[0])))


def check_both_sides(table: pd.DataFrame, of: pd.Series, names: Sequence[str]) -> None:
    """DataError when no finding is stated as present and as absent both in train and in val. `of`: case_id -> part.

    >>> table = pd.DataFrame({"case_id": ["a", "b"], "finding:Edema": [1.0, 0.0]})
    >>> check_both_sides(table, pd.Series({"a": "train", "b": "val"}), ["Edema"])
    Traceback (most recent call last):
    hilum.errors.DataError: no finding is present and absent in both train and val; choose another split, or add images
    """
    part, values = table["case_id"].map(of).to_numpy(), targets(table, names)
    both = [
        (values[part == name] == 1).any(0) & (values[part == name] == 0).any(0) for name in ("train", "val")
    ]
    if not (both[0] & both[1]).any():
        raise DataError(
            "no finding is present and absent in both train and val", "choose another split, or add images"
        )
