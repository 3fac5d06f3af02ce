"""`hilum track`: what a run holds, in MLflow or TensorBoard. It can be repeated: a task is one MLflow run, known by its
weights, and what is sent again replaces what was there.

A finished training is sent, and no training waits for a server: history by epoch, figures with the ends of their
intervals, recipe, card, drawings, report, and the model as an MLflow model that `mlflow.pyfunc.load_model` opens.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from hilum.errors import HilumError, ModelError, RunError
from hilum.report.performance.panels import operating_panels, training_panels
from hilum.report.results import Results, results
from hilum.run import Run

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

WEIGHTS = "hilum.weights"
"""The tag by which a task's MLflow run is known again."""


def figures_of(task: Results) -> Iterator[tuple[str, float]]:
    """Name and value of every figure and of the ends of its interval: "val_auroc", "val_auroc_low", "val_auroc_high".

    >>> from hilum.artifacts.base import Figure
    >>> from hilum.artifacts.metrics import Metrics, SplitMetrics, FIGURES
    >>> from types import SimpleNamespace
    >>> auroc = Figure(value=0.9, low=0.8, high=0.95)
    >>> block = SplitMetrics.model_construct(**dict.fromkeys(FIGURES) | {"auroc": auroc})
    >>> list(figures_of(SimpleNamespace(metrics=Metrics({"val": block}))))
    [('val_auroc', 0.9), ('val_auroc_low', 0.8), ('val_auroc_high', 0.95)]
    """
    for split, block in task.metrics.splits.items():
        for name, figure in block.figures.items():
            for part, value in (("", figure.value), ("_low", figure.low), ("_high", figure.high)):
                if value is not None:
                    yield f"{split}_{name}{part}", float(value)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings by their path, as a recipe is changed with --set.

    >>> flat({"training": {"epochs": 3, "optimizer": {"lr": 0.1}}})
    {'training.epochs': '3', 'training.optimizer.lr': '0.1'}
    """
    values: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = str(value)
    return values


def drawings(task: Results) -> Iterator[tuple[str, str]]:
    """File name and SVG of the curves of the report: training, ROC, precision and recall."""
    for kind, rows in (("training", [training_panels(task)]), ("operating", operating_panels(task))):
        images = [drawing for row in rows for drawing in row.drawings]
        for number, drawing in enumerate(images, start=1):
            text = str(drawing)
            start, end = text.find("<svg"), text.rfind("</svg>")
            if start >= 0:
                yield f"{kind}-{number}.svg", text[start : end + len("</svg>")]


def evaluated(run: Run) -> list[Results]:
    """The tasks that are trained and evaluated. RunError where there is none.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     evaluated(Run.create(place, RunFacts(), {"tasks": {}}))
    Traceback (most recent call last):
    hilum.errors.RunError: ... has no evaluated network; run: hilum evaluate ...
    """
    tasks = [task for name in run.tasks if (task := results(run, name)) is not None]
    if not tasks:
        raise RunError(f"{run.path} has no evaluated network", f"run: hilum evaluate {run.path}")
    return tasks


# -- TensorBoard -----------------------------------------------------------------------------------------------------


def to_tensorboard(run: Run, folder: Path) -> list[Path]:
    """Writes an event file for each task below `folder` and gives their folders back; those of an earlier call are
    replaced. ModelError without the extra `track`."""
    _needs("tensorboard")
    from shutil import rmtree

    from torch.utils.tensorboard.writer import SummaryWriter

    written = []
    for task in evaluated(run):
        place = folder / run.name / task.task
        rmtree(place, ignore_errors=True)
        with SummaryWriter(str(place)) as writer:
            for epoch, name, value in _epochs(task.history):
                writer.add_scalar(name, value, epoch)
            figures = dict(figures_of(task))
            for name, value in figures.items():
                writer.add_scalar(f"figures/{name}", value, 0)
            settings = flat(run.recipe()["tasks"][task.task])
            writer.add_text("recipe", f"```yaml\n{yaml.safe_dump(run.recipe()['tasks'][task.task])}\n```")
            writer.add_text(
                "card", f"```json\n{json.dumps(task.card.model_dump(mode='json'), indent=1)}\n```"
            )
            shown = {f"hparam/{name}": value for name, value in figures.items() if name.count("_") == 1}
            writer.add_hparams(settings, shown, run_name="settings")
        written.append(place)
    return written


def _epochs(history: pd.DataFrame) -> Iterator[tuple[int, str, float]]:
    """Epoch, name and value of each figure of history.csv."""
    for row in history.to_dict("records"):
        for name, value in row.items():
            if name != "epoch" and value == value:
                yield int(row["epoch"]), str(name), float(value)


# -- MLflow ----------------------------------------------------------------------------------------------------------


def to_mlflow(run: Run, address: str, experiment: str = "hilum") -> list[str]:
    """Sends each task to the MLflow server or database at `address` ("sqlite:///mlflow.db", "http://HOST:5000") and
    gives the ids of its runs back. ModelError without the extra `track`; HilumError where the server does not
    answer."""
    _needs("mlflow")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody but this server is told of the run
    import mlflow
    from mlflow.exceptions import MlflowException

    tasks = evaluated(run)
    before = mlflow.get_tracking_uri()
    try:
        mlflow.set_tracking_uri(address)
        mlflow.set_experiment(experiment)
        return [_send(run, task) for task in tasks]
    except (MlflowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise HilumError(f"MLflow at {address} does not take the run ({reason}); check the address") from None
    finally:
        mlflow.set_tracking_uri(before)


def _send(run: Run, task: Results) -> str:
    import mlflow

    known = _known(task)
    with mlflow.start_run(
        run_id=known.info.run_id if known else None, run_name=f"{run.name} {task.task}"
    ) as mine:
        facts = run.facts()
        mlflow.set_tags(
            {
                WEIGHTS: task.card.weights_digest,
                "hilum.task": task.task,
                "hilum.data": facts.data.digest,
                "hilum.commit": facts.commit,
                "hilum.measured_on": task.split,
                "hilum.chosen_on_val": ", ".join(task.chosen_on_val),
            }
        )
        if known is None:  # settings of an MLflow run cannot change, and those of the same weights do not
            mlflow.log_params(flat(run.recipe()["tasks"][task.task]))
            for epoch, name, value in _epochs(task.history):
                mlflow.log_metric(f"epoch_{name}", value, step=epoch)
        mlflow.log_metrics(dict(figures_of(task)))
        for name in ("metrics_file", "card_file", "history_file"):
            mlflow.log_artifact(str(getattr(task.folder, name)))
        mlflow.log_artifact(str(run.recipe_file))
        for name, drawing in drawings(task):
            mlflow.log_text(drawing, f"figures/{name}")
        if run.report_file.exists():
            mlflow.log_artifact(str(run.report_file), "report")
        if known is None:
            _send_model(run, task)
        return mine.info.run_id


def _known(task: Results) -> "MlflowRun | None":
    """The run that these weights already have in the experiment."""
    import mlflow

    same = mlflow.search_runs(
        filter_string=f"tags.`{WEIGHTS}` = '{task.card.weights_digest}'", max_results=1, output_format="list"
    )
    return same[0] if isinstance(same, list) and same else None


def _send_model(run: Run, task: Results) -> None:
    """The model folder as an MLflow model, and beside it the exported network where onnx is installed."""
    import tempfile
    from importlib.util import find_spec

    import mlflow

    from hilum.scale.mlflow_model import HilumModel

    folder = run.task(task.task).model_folder
    mlflow.pyfunc.log_model(
        name="model",
        python_model=HilumModel(),
        artifacts={"model": str(folder)},
        pip_requirements=["hilum"],
        metadata={"weights": task.card.weights_digest, "intended_use": task.card.intended_use},
    )
    if find_spec("onnx") and find_spec("onnxruntime"):
        from hilum.scale.export import Request, export_model

        with tempfile.TemporaryDirectory() as place:
            export_model(Request(str(run.task(task.task).path), "onnx", Path(place) / "onnx"))
            mlflow.log_artifacts(str(Path(place) / "onnx"), "onnx")


def _needs(package: str) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise ModelError(f"{package} is not installed", 'install it with: pip install "hilum[track]"')
