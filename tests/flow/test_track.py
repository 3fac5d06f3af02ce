"""`hilum track`: what a run holds arrives in MLflow and TensorBoard, once, and the model answers there."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from hilum.run import Run

from ..conftest import Answer

Command = Callable[..., Answer]


def test_tensorboard_has_the_history_and_the_figures(small_run: Run, hilum: Command, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):  # the second time replaces the first
        answer = hilum("track", small_run.path, "--tensorboard", tmp_path)
        assert answer.code == 0, answer.err
    events = accumulator.EventAccumulator(str(tmp_path / small_run.name / "binary"))
    events.Reload()
    folder = small_run.task("binary")
    losses = [event.value for event in events.Scalars("train_loss")]
    assert losses == pytest.approx(folder.history()["train_loss"].tolist())
    auroc = folder.metrics()["test"].auroc
    sent = [events.Scalars(f"figures/test_auroc{part}")[0].value for part in ("", "_low", "_high")]
    assert sent == pytest.approx([auroc.value, auroc.low, auroc.high])


@pytest.mark.filterwarnings("ignore")  # of mlflow and what it brings
def test_mlflow_has_the_run_once_and_its_model_answers(
    small_run: Run, hilum: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)  # where MLflow keeps the files of a database
    address = f"sqlite:///{tmp_path}/mlflow.db"
    for _ in range(2):
        answer = hilum("track", small_run.path, "--mlflow", address)
        assert answer.code == 0, answer.err
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(address)
    try:
        runs = mlflow.search_runs(experiment_names=["hilum"], output_format="list")
        assert sorted(run.info.run_name.split()[-1] for run in runs) == ["binary", "multiclass"]
        [binary] = [run for run in runs if run.data.tags["hilum.task"] == "binary"]
        folder = small_run.task("binary")
        auroc = folder.metrics()["test"].auroc
        assert binary.data.metrics["test_auroc_low"] == pytest.approx(auroc.low)
        assert binary.data.params["training.epochs"] == "2"
        names = {item.path for item in mlflow.MlflowClient().list_artifacts(binary.info.run_id)}
        assert {"figures", "report", "metrics.json", "model.json", "recipe.yaml", "history.csv"} <= names
        model = mlflow.pyfunc.load_model(f"runs:/{binary.info.run_id}/model")
    finally:
        mlflow.set_tracking_uri(before)
    test = folder.predictions().query("split == 'test'").head(3)
    paths = small_run.cases().table.set_index("case_id").loc[test["case_id"], "path"].tolist()
    answers = model.predict(pd.DataFrame({"file": [*paths, "gone.png"]}))
    assert list(answers["file"]) == [*paths, "gone.png"] and "no such file" in answers["error"].iloc[-1]
    assert answers["abnormal"].iloc[:3].map(lambda part: 0 <= part["probability"] <= 1).all()


def test_what_is_missing_is_a_sentence(small_run: Run, hilum: Command, tmp_path: Path) -> None:
    nothing = hilum("track", small_run.path)
    assert nothing.code == 2 and "no tracker is named" in nothing.err
    gone = hilum("track", tmp_path / "gone", "--tensorboard", tmp_path)
    assert gone.code == 2 and "does not exist" in gone.err
