"""Who fits, who fixes the threshold, who is measured: by patient, and blind to abnormal images."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.anomaly.roles import assign_roles, role_counts
from hilum.data.cases import Cases
from hilum.files import digest


def cases_of(rows: list[tuple[str, str, str]]) -> tuple[Cases, pd.Series]:
    """(label, patient, split) per image -> cases and split."""
    ids = [f"image{number:03d}" for number in range(len(rows))]
    table = pd.DataFrame(
        {
            "case_id": ids,
            "path": ids,
            "label": [label for label, _, _ in rows],
            "patient": [patient for _, patient, _ in rows],
            "split": "",
            "digest": [digest(one) for one in ids],
        }
    )
    split = pd.Series([split for _, _, split in rows], index=ids)
    return Cases.checked(table, "folder", Path()), split


def a_set(per_patient: int = 2, patients: int = 20) -> tuple[Cases, pd.Series]:
    rows = []
    for number in range(patients):
        for part in ("train", "val", "test"):
            for label in ("normal", "virus"):
                rows += [(label, f"{label}-{part}-{number}", part)] * per_patient
    return cases_of(rows)


def test_each_image_has_the_role_its_split_and_label_ask_for() -> None:
    cases, split = a_set()
    roles = assign_roles(cases, split, 0.5, seed=0)
    table = cases.table.set_index("case_id").assign(role=roles, part=split)
    assert set(table.loc[table["role"] == "fit", ["label", "part"]].itertuples(index=False, name=None)) == {
        ("normal", "train")
    }
    assert (table.loc[(table["part"] == "train") & (table["label"] == "virus"), "role"] == "unused").all()
    assert (table.loc[table["part"] == "test", "role"] == "test").all()
    assert (table.loc[(table["part"] == "val") & (table["label"] == "virus"), "role"] == "measure").all()
    held = table[(table["part"] == "val") & (table["label"] == "normal")]
    assert held["role"].value_counts().to_dict() == {"calibrate": 20, "measure": 20}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["normal", "virus"]), st.integers(0, 12)), min_size=2, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 5),
)
def test_no_patient_has_two_roles_among_held_back_images(images, fraction: float, seed: int) -> None:
    """Even where a patient has healthy and abnormal images."""
    cases, split = cases_of([(label, f"p{patient}", "val") for label, patient in images])
    roles = assign_roles(cases, split, fraction, seed)
    table = cases.table.assign(role=roles.to_numpy())
    calibrating = set(table.loc[table["role"] == "calibrate", "patient"])
    measuring = set(table.loc[table["role"] == "measure", "patient"])
    assert not calibrating & measuring
    assert set(table.loc[table["role"] == "calibrate", "label"]) <= {"normal"}


def test_abnormal_images_change_nothing_about_who_calibrates() -> None:
    cases, split = a_set()
    before = assign_roles(cases, split, 0.5, seed=3)
    healthy = cases.where(cases.table["label"] == "normal")
    after = assign_roles(healthy, split, 0.5, seed=3)
    assert before.loc[after.index].tolist() == after.tolist()


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    cases, split = a_set()
    one = assign_roles(cases, split, 0.5, seed=0)
    assert not assign_roles(cases, split, 0.5, seed=1).equals(one)
    turned = cases.where(pd.Series(True, index=cases.table.index))
    object.__setattr__(turned, "table", cases.table.iloc[::-1].reset_index(drop=True))
    assert assign_roles(turned, split, 0.5, seed=0).sort_index().tolist() == one.sort_index().tolist()


def test_patients_with_one_and_the_same_picture_stay_together() -> None:
    cases, split = cases_of([("normal", f"p{number}", "val") for number in range(8)])
    cases.table["digest"] = "the same picture"
    roles = assign_roles(cases, split, 0.5, seed=0)
    assert len(set(roles)) == 1


@pytest.mark.parametrize(("fraction", "expected"), [(0.1, 2), (0.5, 10), (0.9, 18)])
def test_the_fraction_is_kept(fraction: float, expected: int) -> None:
    cases, split = cases_of([("normal", f"p{number}", "val") for number in range(20)])
    assert (assign_roles(cases, split, fraction, seed=0) == "calibrate").sum() == expected


def test_counts_name_images_and_patients() -> None:
    cases, split = a_set(per_patient=2, patients=4)
    counts = role_counts(cases, assign_roles(cases, split, 0.5, seed=0))
    assert counts["fit"] == {"normal": {"images": 8, "patients": 4}}
    assert counts["test"]["virus"] == {"images": 8, "patients": 4}


def test_a_case_without_a_role_is_counted_as_unused() -> None:
    """An image that lies in train and in test is used once; the other copy has no role."""
    cases, split = cases_of([("normal", "p", "train"), ("normal", "p", "test"), ("virus", "q", "test")])
    used = cases.where(cases.table["case_id"] != "image000")
    roles = assign_roles(used, split, 0.5, seed=0)
    assert role_counts(cases, roles) == {
        "test": {"normal": {"images": 1, "patients": 1}, "virus": {"images": 1, "patients": 1}},
        "unused": {"normal": {"images": 1, "patients": 1}},
    }
