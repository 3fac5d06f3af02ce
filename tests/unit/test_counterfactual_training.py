"""Epochs and recipes judged in the look of the other label's devices."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from hilum.comparison import train
from hilum.comparison.folds import held_out
from hilum.comparison.table import cell_result
from hilum.data.facts import facts_table
from hilum.data.sources import open_source
from hilum.data.split import split_cases
from hilum.data.tasks import Task, task
from hilum.errors import RecipeError
from hilum.evaluation.scores import validation_figures
from hilum.folders import TaskFolder
from hilum.training.config import TaskRecipe
from hilum.training.counterfactual import Counterfactuals
from hilum.training.task import train_task

RECIPE = TaskRecipe.model_validate(
    {
        "pixels": {"size": [32, 40]},
        "model": {"name": "vgg", "options": {"blocks": [[4], [8]], "dense": [8]}},
        "training": {"epochs": 2, "monitor": "counterfactual_auroc", "ema": 0.5},
    }
)


@pytest.mark.parametrize("name", ["binary", "multiclass"])
def test_the_epoch_is_chosen_on_counterfactual_images(name: str, phantom_data: Path, tmp_path: Path) -> None:
    cases = open_source(phantom_data)
    chosen, split = task(name, cases.labels), split_cases(cases, val_fraction=0.3)
    folder = TaskFolder(tmp_path / name)
    train_task(folder, cases, split, chosen, RECIPE, "example", validation_figures)
    history = folder.history()["val_counterfactual_auroc"]
    training = folder.card().training
    best = training.best_metric if training else None
    assert best is not None
    assert best.name == "counterfactual_auroc"
    assert best.value == pytest.approx(history.max())
    model = folder.load_model()
    images = Counterfactuals.of(cases, split.of, chosen, model.pixels, validation_figures)
    assert (cases.table.set_index("case_id").loc[images.rows["case_id"]].index.map(split.of) == "val").all()
    again = images.figures(model, torch.device("cpu"))["counterfactual_auroc"]
    assert again == pytest.approx(best.value, abs=0.02)  # trained in bf16 where the processor has it


def test_a_task_without_a_healthy_class_is_a_sentence(phantom_data: Path) -> None:
    cases = open_source(phantom_data)
    kinds = Task("multiclass", ("bacteria", "virus"), {"bacteria": "bacteria", "virus": "virus"})
    pixels = RECIPE.pixels.contract(0.5, 0.25)
    with pytest.raises(RecipeError, match="needs the class 'normal'"):
        Counterfactuals.of(cases, split_cases(cases).of, kinds, pixels, validation_figures)


def test_a_comparison_has_the_figure_where_the_grid_wants_it(phantom_data: Path, tmp_path: Path) -> None:
    cases = open_source(phantom_data)
    binary, split = task("binary", cases.labels), held_out(cases, 0, 0, 2)
    recipe = RECIPE.model_copy(
        update={"training": RECIPE.training.model_copy(update={"monitor": "val_auroc"})}
    )
    plain = train.Training("example", tmp_path / "a", recipe, split, cases, binary)
    wanted = replace(plain, folder=tmp_path / "b", counterfactual=12)
    assert plain.digest != wanted.digest
    result = train.run(wanted)
    moved = result.counterfactual_auroc
    assert moved is not None and moved.value is not None and 0 <= moved.low <= moved.value <= moved.high <= 1
    assert result.held.accuracy.n == result.held.n and result.held.brier.low < result.held.brier.high
    assert train.run(wanted) == result  # finished: read again
    held = {name: getattr(result.held, name).value for name in train.METRICS}
    row = {**held, **result.model_dump(include={"parameters", "epochs", "seconds"})}
    rows = pd.DataFrame([{**row, "counterfactual_auroc": moved.value}])
    cell = cell_result(rows, None, binary, facts_table(cases), 0)
    assert cell.counterfactual is not None and cell.counterfactual.mean == moved.value
