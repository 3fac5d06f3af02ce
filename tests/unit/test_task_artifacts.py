"""metrics.json and curves.json: what is saved is what is loaded, and a file of another kind is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hilum.artifacts.curves import Curves
from hilum.artifacts.metrics import Metrics
from hilum.errors import RunError
from hilum.evaluation import metrics as m
from hilum.evaluation.curves import curves_of, diagram_bins
from hilum.evaluation.evaluate import evaluate, predicted_classes
from hilum.evaluation.predictions import metrics_of
from hilum.files import read_json, write_json

TWO, THREE = ("normal", "pneumonia"), ("normal", "bacteria", "virus")


def table(classes: tuple[str, ...], n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    target = rng.integers(0, len(classes), n)
    logits = rng.normal(size=(n, len(classes)))
    logits[np.arange(n), target] += 1
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return pd.DataFrame(
        {
            "case_id": [f"c{number:03d}" for number in range(n)],
            "patient": [f"p{number // 2}" for number in range(n)],
            "split": np.where(np.arange(n) % 3 == 0, "test", "train"),
            "target": np.array(classes)[target],
            "predicted": predicted_classes(shares, classes),
            **{f"prob_{name}": shares[:, index] for index, name in enumerate(classes)},
        }
    )


@pytest.mark.parametrize("classes", [TWO, THREE])
def test_metrics_json_holds_the_blocks_of_evaluate(tmp_path: Path, classes: tuple[str, ...]) -> None:
    rows = table(classes)
    metrics_of(rows, classes, None, "w", replicates=30).save(tmp_path / "metrics.json")
    written = read_json(tmp_path / "metrics.json")
    assert set(written) == {"train", "test"}
    for split, block in written.items():
        plain = evaluate(rows[rows["split"] == split], classes, None, replicates=30)
        assert {key: block[key] for key in plain} == plain
        assert (block["schema_version"], block["weights_digest"]) == (2, "w")
    loaded = Metrics.load(tmp_path / "metrics.json", "w")
    assert loaded.reported == "test"
    assert loaded.splits["test"].accuracy.counts == f"{written['test']['accuracy']['k']}/40"
    assert (loaded.splits["test"].npv is None) == (len(classes) == 3)


def test_a_figure_that_does_not_exist_stays_null_with_its_reason(tmp_path: Path) -> None:
    rows = table(TWO)
    metrics_of(rows, TWO, 1.0, "w", replicates=0).save(tmp_path / "metrics.json")
    written = read_json(tmp_path / "metrics.json")["test"]["precision"]
    assert written == {"value": None, "k": 0, "n": 0, "reason": "no case was classified as 'pneumonia'"}
    assert Metrics.load(tmp_path / "metrics.json").splits["test"].precision.reason == written["reason"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"schema_version": 99},
            r"has schema version 99, this hilum reads 2; run: hilum evaluate RUN --force",
        ),
        ({"schema_version": None}, r"has schema version None"),
        ({"weights_digest": "other"}, r"was made with other weights than the model has; run: hilum evaluate"),
        ({"auroc": 0.5}, r"is damaged \(auroc: "),
        ({"surprise": 1}, r"is damaged \(surprise: "),
    ],
)
def test_another_file_is_refused(tmp_path: Path, change: dict, sentence: str) -> None:
    file = tmp_path / "metrics.json"
    metrics_of(table(TWO), TWO, 0.5, "w", replicates=0).save(file)
    blocks = read_json(file)
    write_json(file, {**blocks, "test": {**blocks["test"], **change}})
    with pytest.raises(RunError, match=sentence):
        Metrics.load(file, "w")


def test_a_file_without_splits_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", {})
    with pytest.raises(RunError, match="holds no splits; run: hilum evaluate RUN --force"):
        Metrics.load(tmp_path / "metrics.json")


@pytest.mark.parametrize(("classes", "drawn"), [(TWO, TWO[1:]), (THREE, THREE)])
def test_the_curves_enclose_the_areas_of_metrics_json(
    tmp_path: Path, classes: tuple[str, ...], drawn: tuple[str, ...]
) -> None:
    rows = table(classes)
    curves_of(rows, classes, "test", "w").save(tmp_path / "curves.json")
    curves = Curves.load(tmp_path / "curves.json", "w")
    assert tuple(each.name for each in curves.classes) == drawn
    assert curves.n_cases == len(rows)
    for each in curves.classes:
        positive = (rows["target"] == each.name).to_numpy()
        area = m.auroc(rows[f"prob_{each.name}"], positive)
        assert np.trapezoid(each.roc.y, each.roc.x) == pytest.approx(area, abs=1e-4)
        assert each.share == positive.mean()
        assert sum(group.n for group in each.bins) == len(rows)
        assert len(each.bins) <= diagram_bins(len(rows))
        assert all(low <= high for low, high in zip(each.roc.low, each.roc.high, strict=True))


def test_a_class_without_cases_has_no_curve() -> None:
    rows = table(THREE)
    rows = rows[rows["target"] != "virus"]
    assert [each.name for each in curves_of(rows, THREE, "test", "w").classes] == ["normal", "bacteria"]
