"""Subgroups: groups by hand, a planted gap is found, equal groups show none."""

import numpy as np
import pandas as pd
import pytest

from hilum.evaluation.subgroups import subgroups

N = 240


def drawn(wrong_where: np.ndarray | None = None) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Two images per patient; a fifth of all calls is wrong, and those in `wrong_where` with a half."""
    chance = np.random.default_rng(0)
    label = np.array(["normal", "bacteria", "virus"])[np.arange(N) // 2 % 3]
    target = np.where(label == "normal", "normal", "pneumonia")
    rate = np.full(N, 0.2) if wrong_where is None else np.where(wrong_where, 0.5, 0.1)
    wrong = chance.random(N) < rate
    abnormal = np.where((target == "pneumonia") ^ wrong, 0.8, 0.2) + chance.normal(0, 0.01, N)
    table = pd.DataFrame(
        {
            "case_id": [f"c{i:03}" for i in range(N)],
            "patient": [f"p{i // 2}" for i in range(N)],
            "label": label,
            "target": target,
            "predicted": np.where(abnormal >= 0.5, "pneumonia", "normal"),
            "prob_normal": 1 - abnormal,
            "prob_pneumonia": abnormal,
        }
    )
    facts = pd.DataFrame(
        {"case_id": table["case_id"], "width": 100, "height": 100, "mean": np.arange(N) % 3 * 10.0 + 90}
    )
    images = {name: 1 + i % 3 for i, name in enumerate(table["patient"].unique())}
    return table, facts, images


def test_groups_are_those_counted_by_hand() -> None:
    table, facts, images = drawn()
    found = subgroups(table, facts, images, ["normal", "pneumonia"], replicates=0)
    assert set(found) == {"exposure", "label", "images"}  # all images have the same size
    dark = found["exposure"].groups[0]
    inside = (facts["mean"] == 90).to_numpy()
    assert (dark.name, dark.about) == ("dark", "up to 90 grey levels")
    assert dark.accuracy.k == int((table["predicted"] == table["target"])[inside].sum())
    assert dark.accuracy.n == dark.n_cases == N // 3
    assert [one.name for one in found["label"].groups] == ["normal", "bacteria", "virus"]
    assert found["label"].groups[1].auroc.value is None  # one class alone
    assert [one.n_patients for one in found["images"].groups] == [40, 40, 40]
    for kind in found.values():
        assert sum(one.n_cases for one in kind.groups) == N


def test_people_are_grouped_by_what_the_data_says() -> None:
    table, facts, images = drawn()
    number = np.arange(N) // 2
    people = pd.DataFrame(
        {
            "case_id": table["case_id"],
            "sex": np.array(["F", "M", ""])[number % 3],
            "age": np.array(["0.5", "5.9", "6", "64", "90", ""])[number % 6],
            "site": np.array(["s1", "s2", "s2", ""])[number % 4],
        }
    )
    found = subgroups(table, facts, images, ["normal", "pneumonia"], replicates=0, people=people)
    counts = {
        kind: {each.name: each.n_patients for each in found[kind].groups} for kind in ("sex", "age", "site")
    }
    assert counts == {
        "sex": {"female": 40, "male": 40},
        "age": {"under 2": 20, "2 to 5": 20, "6 to 17": 20, "40 to 64": 20, "65 or more": 20},
        "site": {"s2": 60, "s1": 30},
    }
    assert "view" not in found
    plain = subgroups(table, facts, images, ["normal", "pneumonia"], replicates=0)
    assert found["images"].groups == plain["images"].groups


def test_a_planted_gap_is_found_and_named() -> None:
    _, facts, images = drawn()
    table, _, _ = drawn((facts["mean"] == 110).to_numpy())
    gap = subgroups(table, facts, images, ["normal", "pneumonia"], replicates=500)["exposure"].gap
    right = (table["predicted"] == table["target"]).groupby(facts["mean"]).mean()
    assert gap.worst == "bright"
    assert gap.value == pytest.approx(right.max() - right[110])
    assert gap.low is not None and gap.high is not None and 0.1 < gap.low < gap.value < gap.high


def test_groups_that_do_not_differ_show_no_gap() -> None:
    table, facts, images = drawn()
    table["predicted"] = table["target"]
    gap = subgroups(table, facts, images, ["normal", "pneumonia"], replicates=100)["exposure"].gap
    assert gap.value == 0.0


def test_small_groups_and_unknown_facts_are_left_out() -> None:
    table, facts, images = drawn()
    facts["mean"] = np.nan
    few = {**images, "p0": 2, **{f"p{i}": 1 for i in range(1, 120)}}
    found = subgroups(table, facts, few, ["normal", "pneumonia"], replicates=0)
    assert set(found) == {"label"}
