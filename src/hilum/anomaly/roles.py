"""The role of each image in anomaly detection; no patient has two roles among the held-out images.

fit          healthy images of train: the only ones that a detector is fitted on
calibrate    healthy images of some val patients: they fix the threshold and nothing else
measure      healthy images of the other val patients, and the abnormal images of val
test         every image of the test part, if there is one
unused       everything else: abnormal images of train, and of patients who calibrate
"""

import pandas as pd

from hilum.data.cases import HEALTHY, Cases
from hilum.data.split import patient_groups
from hilum.files import digest

ROLES = ("fit", "calibrate", "measure", "test", "unused")


def assign_roles(cases: Cases, split: pd.Series, calibrate_fraction: float, seed: int) -> pd.Series:
    """case_id -> role, in the order of `cases`.

    `split`: case_id -> train, val, test or unused. Of the healthy val images about `calibrate_fraction`
    calibrate, whole patients at a time (patients who share a byte-identical image count as one), in the order of a
    digest of their names, so that neither the order of rows nor other labels matter. A patient whose images
    calibrate is not measured.

    >>> from pathlib import Path
    >>> rows = {"case_id": ["a", "b", "c"], "label": ["normal", "virus", "normal"], "patient": ["p", "q", "r"]}
    >>> cases = Cases(pd.DataFrame({**rows, "digest": ["1", "2", "3"]}), "table", Path("cases.csv"))
    >>> assign_roles(cases, pd.Series({"a": "train", "b": "val", "c": "test"}), 0.5, seed=0).to_dict()
    {'a': 'fit', 'b': 'measure', 'c': 'test'}
    """
    table = cases.table
    part = split.reindex(table["case_id"]).fillna("unused").to_numpy()
    healthy = (table["label"] == HEALTHY).to_numpy()
    groups = patient_groups(table)
    val = part == "val"
    calibrating = _calibrating(groups[val & healthy], calibrate_fraction, seed)
    inside = groups.isin(calibrating).to_numpy()
    role = pd.Series("unused", index=table["case_id"], name="role")
    role[(part == "train") & healthy] = "fit"
    role[val & ~inside] = "measure"
    role[val & healthy & inside] = "calibrate"
    role[part == "test"] = "test"
    return role


def _calibrating(groups: pd.Series, fraction: float, seed: int) -> set[str]:
    """The groups that calibrate: as many, in pseudo-random order, as come nearest to the fraction of images."""
    sizes = groups.value_counts()
    names = sorted(sizes.index, key=lambda name: digest(str(seed), "calibrate", str(name)))
    wanted = fraction * len(groups)
    chosen: set[str] = set()
    images = 0
    for name in names:
        size = int(sizes[name])
        if abs(images + size - wanted) > abs(images - wanted):
            break
        chosen.add(name)
        images += size
    return chosen


def role_counts(cases: Cases, roles: pd.Series) -> dict[str, dict[str, dict[str, int]]]:
    """{role: {label: {"images", "patients"}}}, only what occurs; a case without a role is unused.

    >>> from pathlib import Path
    >>> rows = {"case_id": ["a", "b"], "label": ["normal", "virus"], "patient": ["p", "p"]}
    >>> role_counts(Cases(pd.DataFrame(rows), "table", Path("cases.csv")), pd.Series({"a": "test", "b": "test"}))
    {'test': {'normal': {'images': 1, 'patients': 1}, 'virus': {'images': 1, 'patients': 1}}}
    """
    named = roles.reindex(cases.table["case_id"]).fillna("unused")
    table = cases.table.assign(role=named.to_numpy())
    return {
        role: {
            label: {
                "images": len(rows),
                "patients": int(rows["patient"].nunique()),
            }
            for label in cases.labels
            if len(rows := table[(table["role"] == role) & (table["label"] == label)])
        }
        for role in ROLES
        if (table["role"] == role).any()
    }
