"""Figures on images that the camera can't tell apart: a cheat with a planted shortcut falls, a reader of lungs
does not."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from hilum.data.acquisition import clusters
from hilum.errors import DataError
from hilum.evaluation.shift import FEWEST, conflicting_images, shift_figures


def world(seed: int = 0, n: int = 1200) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Images of healthy and abnormal patients, abnormal ones mostly blurred; and how abnormal each one looks."""
    chance = np.random.default_rng(seed)
    abnormal = chance.random(n) < 0.5
    sharpness = chance.normal(np.where(abnormal, 10, 12), 1.0)
    lungs = chance.normal(np.where(abnormal, 1.5, -1.5), 1.0)
    facts = pd.DataFrame({"case_id": [f"f{i:04d}" for i in range(n)], "sharpness": sharpness})
    facts["mean"] = chance.normal(100, 5, n)
    table = pd.DataFrame({"case_id": facts["case_id"], "patient": [f"p{i // 2}" for i in range(n)]})
    table["split"] = np.where(np.arange(n) % 3 == 0, "val", "train")
    table["label"] = np.where(abnormal, "bacteria", "normal")
    for name in ("width", "height", "aspect", "channels", "bits", "bytes", "contrast", "gradient_ratio"):
        facts[name] = 1.0
    facts["marker_top"] = facts["marker_bottom"] = 0.0
    return table, facts, lungs


def answered(table: pd.DataFrame, score: np.ndarray) -> pd.DataFrame:
    p = 1 / (1 + np.exp(-score))
    made = table.assign(target=np.where(table["label"] == "normal", "normal", "pneumonia"))
    made["predicted"] = np.where(p >= 0.5, "pneumonia", "normal")
    return made.assign(prob_normal=1 - p, prob_pneumonia=p)


def test_a_cheat_falls_among_matched_and_conflicting_images_and_a_reader_does_not() -> None:
    table, facts, lungs = world()
    cheat = 4 * (11 - facts["sharpness"].to_numpy())
    found = {
        name: shift_figures(answered(table, score), "val", facts)
        for name, score in (("cheat", cheat), ("reader", 4 * lungs))
    }
    by = {
        name: {group["kind"]: group for group in reversed(one["groups"]) if group["auroc"]}
        for name, one in found.items()
    }
    assert by["cheat"]["all"]["auroc"]["value"] > 0.9
    assert 0.4 < by["cheat"]["matched"]["auroc"]["value"] < 0.6
    assert by["cheat"]["conflicting"]["auroc"]["value"] < 0.1
    assert by["reader"]["matched"]["auroc"]["value"] > 0.9
    assert by["reader"]["conflicting"]["auroc"]["value"] > 0.9
    assert found["cheat"]["worst_group"]["value"] < 0.2 < 0.7 < found["reader"]["worst_group"]["value"]
    assert "sharpness" in found["cheat"]["worst_group"]["name"]


def test_counts_and_intervals_are_those_of_the_part() -> None:
    table, facts, lungs = world()
    rows = answered(table, lungs)
    found = shift_figures(rows, "val", facts)
    val = rows[rows["split"] == "val"]
    whole = found["groups"][0]
    assert whole["accuracy"]["k"] == int((val["predicted"] == val["target"]).sum())
    assert whole["accuracy"]["n"] == len(val) == whole["healthy"] + whole["abnormal"]
    assert whole["patients"] == val["patient"].nunique()
    assert all(
        one["accuracy"]["low"] <= one["accuracy"]["value"] <= one["accuracy"]["high"]
        for one in found["groups"]
    )
    sizes = [one["accuracy"]["n"] for one in found["groups"] if one["kind"] == "acquisition"]
    assert sum(sizes) == len(val)
    assert found["worst_group"]["n"] >= FEWEST


def test_test_images_take_no_part_in_the_figures_of_val() -> None:
    table, facts, lungs = world()
    table.loc[::5, "split"] = "test"
    rows = answered(table, lungs)
    before = shift_figures(rows, "val", facts)
    changed = facts.copy()
    changed.loc[(table["split"] == "test").to_numpy(), "sharpness"] = 99.0
    assert shift_figures(rows, "val", changed) == before


def test_the_second_series_of_the_public_set_is_a_group() -> None:
    table, facts, lungs = world(n=300)
    healthy = table["label"] == "normal"
    names = np.where(healthy & (np.arange(300) % 2 == 0), "train-NORMAL2-IM-", "train-IM-") + table["case_id"]
    rows, facts = answered(table.assign(case_id=names), lungs), facts.assign(case_id=names)
    series = [
        one for one in shift_figures(rows, "val", facts, with_ends=False)["groups"] if one["kind"] == "series"
    ]
    assert [one["abnormal"] for one in series] == [0, 0] and all(one["auroc"] is None for one in series)
    assert "low" not in series[0]["accuracy"]  # no replicates, no interval


def test_without_shortcuts_the_note_says_so() -> None:
    table, facts, lungs = world(n=100)
    flat = facts.assign(sharpness=1.0, mean=1.0)
    found = shift_figures(answered(table, lungs), "val", flat)
    assert "no number" in found["note"] and [one["kind"] for one in found["groups"]] == ["all"]
    assert found["worst_group"] is None


def test_conflicting_images_by_hand() -> None:
    values = np.array([0.0, 0.0, 9.0, 10.0, 10.0, 1.0])
    abnormal = np.array([0, 0, 0, 1, 1, 1], bool)
    assert conflicting_images(values, abnormal).tolist() == [False, False, True, False, False, True]


def test_clusters_find_planted_cameras_whatever_the_unit() -> None:
    chance = np.random.default_rng(0)
    camera = np.repeat([0, 1, 2], [50, 30, 20])
    facts = pd.DataFrame(
        {"sharpness": chance.normal(camera * 10.0, 0.5), "bytes": chance.normal(1e5 * (camera + 1), 2e3)}
    )
    found = clusters(facts, 3)
    assert adjusted_rand_score(found, camera) > 0.8
    assert (np.diff(np.bincount(found)) <= 0).all()  # the largest comes first
    other = facts.assign(bytes=np.exp(facts["bytes"] / 1e5))
    np.testing.assert_array_equal(clusters(other, 3), found)
    with pytest.raises(DataError, match="1 images could not be measured"):
        clusters(pd.DataFrame({"sharpness": [1.0, 2.0, np.nan]}), 2)
    with pytest.raises(DataError, match="no number"):
        clusters(pd.DataFrame({"sharpness": [1.0, 1.0]}), 2)
    with pytest.raises(DataError, match="2 images"):
        clusters(pd.DataFrame({"sharpness": [1.0, 2.0]}), 3)
