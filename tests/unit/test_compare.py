"""Comparisons: what a grid file means, clean folds, shared caches, and what failures cost."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from hilum.artifacts.comparison import CellResult, Comparison
from hilum.comparison import table, train
from hilum.comparison.folds import HELD, held_out, held_out_acquisition, held_out_by_image, held_out_ordered
from hilum.comparison.grid import Cell, Plan, Scheme, grids
from hilum.comparison.grid import load_grid as load_plan
from hilum.comparison.run import Request, compare
from hilum.data import decode
from hilum.data.cases import Cases
from hilum.data.shortcuts import NAMES
from hilum.data.sources import open_source
from hilum.data.split import split_cases
from hilum.data.tasks import task
from hilum.errors import DataError, RecipeError, RunError
from hilum.folders import ComparisonFolder
from hilum.recipe import load_recipe
from hilum.report.comparison.section import build_comparison_page, comparison_section, lead

TINY = {"name": "resnet", "options": {"width": 4, "stages": [1, 1], "embedding": 8}}
SMALL = {
    "base": "quick",
    "task": "multiclass",
    "folds": 2,
    "seeds": [0, 1],
    "replicates": 50,
    "set": {"pixels.size": [24, 24], "training.epochs": 1},
    "cells": {
        "plain": {"model": TINY},
        "relu sgd": {"model": TINY, "training.optimizer.name": "sgd"},
        "broken": {"model": TINY, "training.monitor": "val_nonsense"},
    },
}


def written(folder: Path, values: object) -> str:
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return str(path)


def load_grid(
    source: str, changes: list[str] | None = None, task: str | None = None, scheme: Scheme | None = None
) -> Plan:
    return load_plan(source, lambda name: load_recipe(name).tasks, changes or [], task, scheme)


# -- grid files ----------------------------------------------------------------------------------------------


def test_a_product_and_named_cells_stand_together(tmp_path: Path) -> None:
    plan = load_grid(
        written(
            tmp_path,
            {
                "seeds": [4],
                "set": {"training.epochs": 2},
                "grid": {"model.name": ["vgg", "resnet34_gelu"], "training.optimizer.name": ["sgd", "adam"]},
                "cells": {"no augmentation": {"augment": {}}},
            },
        ),
        ["training.batch_size=5"],
    )
    cells = plan.cells
    assert plan.grid.held_out == (0, 1, 2, 3, 4)
    assert [cell.name for cell in cells] == [
        "vgg, sgd",
        "vgg, adam",
        "resnet34_gelu, sgd",
        "resnet34_gelu, adam",
        "no augmentation",
    ]
    assert {cell.recipe.training.epochs for cell in cells} == {2}
    assert {cell.recipe.training.batch_size for cell in cells} == {5}
    assert cells[1].recipe.model.name == "vgg"
    assert cells[1].recipe.model.options == {}  # those of the base's resnet are gone
    assert cells[1].recipe.training.optimizer.name == "adam"
    assert cells[4].recipe.augment.is_off
    assert cells[4].recipe.model.options["width"] == 32  # the base's own
    assert len({cell.folder for cell in cells}) == 5


FAULTS: dict[str, tuple[dict, str]] = {
    "key": ({"seed": [1]}, "key 'seed' is not known; did you mean 'seeds'"),
    "recipe key": (
        {"cells": {"a": {"training.epoch": 3}}},
        "cell 'a': .*epoch' is not known; did you mean 'epochs'",
    ),
    "value": ({"cells": {"a": {"training.epochs": 0}}}, "training.epochs = 0 is not possible"),
    "fold": ({"take_folds": [5]}, "take_folds names fold 5, there are 0 to 4"),
    "seeds": ({"seeds": [1, 1]}, "are not different whole numbers"),
    "task": ({"task": "multiclas"}, "has no task 'multiclas'; did you mean 'multiclass'"),
    "against": ({"against": "aa"}, "against 'aa' is no cell; did you mean 'a'"),
    "own": ({"cells": {"a": {"training.seed": 3}}}, "'training.seed' can't differ between cells"),
    "split": ({"set": {"split.seed": 3}}, "'split.seed' can't differ between cells"),
    "empty axis": ({"grid": {"model.name": []}}, "grid.model.name holds no values"),
    "nothing": ({"cells": {}}, "nothing to compare"),
    "twice": ({"cells": {"vgg": {}}, "grid": {"model.name": ["vgg"]}}, "two cells have the name 'vgg'"),
    "no keys": ({"set": {"threshold.value": 1}}, "'threshold' holds no keys"),
    "range": (
        {"search": {"training.epochs": {"low": 3, "high": 1}}},
        "a range from 3 to 1 can't be drawn from",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_grid_names_key_and_remedy(name: str, tmp_path: Path) -> None:
    values, sentence = FAULTS[name]
    with pytest.raises(RecipeError, match=sentence):
        load_grid(written(tmp_path, {"cells": {"a": {}}, **values}))


def test_grids_that_come_with_the_package_are_valid() -> None:
    plans = {name: load_grid(name) for name in grids()}
    assert {name: len(plan.cells) for name, plan in plans.items()} == {
        "alternatives": 17,
        "generalization": 11,
        "validation": 1,
    }
    with pytest.raises(RecipeError, match="grid 'alternative' is not known; did you mean 'alternatives'"):
        load_grid("alternative")


def test_a_grid_is_used_for_another_task(tmp_path: Path) -> None:
    own = load_grid(written(tmp_path, {"name": "mine", "cells": {"a": {}}}))
    other = load_grid(written(tmp_path, {"name": "mine", "cells": {"a": {}}}), task="binary")
    assert (own.grid.task, own.grid.name) == ("multiclass", "mine")
    assert (other.grid.task, other.grid.name) == ("binary", "mine-binary")
    assert other.cells[0].recipe == load_recipe("quick").tasks["binary"]
    same = load_grid(written(tmp_path, {"name": "mine", "cells": {"a": {}}}), task="multiclass")
    assert same.grid == own.grid
    with pytest.raises(RecipeError, match="no task 'binari'; did you mean 'binary'"):
        load_grid("validation", task="binari")


def test_no_two_cells_of_a_packaged_grid_are_the_same_recipe() -> None:
    for name in grids():
        cells = load_grid(name).cells
        assert len({cell.recipe.model_dump_json() for cell in cells}) == len(cells), name


def test_a_grid_is_judged_by_another_scheme(tmp_path: Path) -> None:
    file = written(tmp_path, {"name": "mine", "cells": {"a": {}}})
    other = load_grid(file, scheme="ordered")
    assert (other.grid.scheme, other.grid.name) == ("ordered", "mine-ordered")
    assert load_grid(file, scheme="patient").grid == load_grid(file).grid
    with pytest.raises(RecipeError, match="scheme"):
        load_grid(written(tmp_path, {"scheme": "order", "cells": {"a": {}}}))


# -- folds ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases(phantom_data: Path) -> Cases:
    return open_source(str(phantom_data))


def test_folds_hold_each_patient_once_and_keep_patients_apart(cases: Cases) -> None:
    patient = cases.table.set_index("case_id")["patient"]
    declared = set(cases.table["case_id"][cases.table["split"] == "test"])
    seen: list[str] = []
    for fold in range(3):
        of = held_out(cases, 0, fold, 3, 0.2).of
        parts = {name: set(patient[of.index[of == name]]) for name in ("train", "val", HELD)}
        assert all(parts.values())
        assert not (
            parts["train"] & parts["val"] or parts["train"] & parts[HELD] or parts["val"] & parts[HELD]
        )
        assert set(of.index[of == "unused"]) >= declared
        seen += of.index[of == HELD].tolist()
    assert sorted(seen) == sorted(set(cases.table["case_id"]) - declared)


def test_folds_by_image_hold_each_image_once_and_leak(cases: Cases) -> None:
    patient = cases.table.set_index("case_id")["patient"]
    seen, shared = [], 0
    for fold in range(3):
        of = held_out_by_image(cases, 0, fold, 3, 0.2).of
        shared += len(set(patient[of == HELD]) & set(patient[of == "train"]))
        seen += of.index[of == HELD].tolist()
    assert sorted(seen) == sorted(cases.table["case_id"][cases.table["split"] != "test"])
    assert shared > 5


def test_too_few_patients_for_the_folds_is_one_sentence(cases: Cases) -> None:
    with pytest.raises(DataError, match="too few for 40 sides; add patients of this label"):
        held_out(cases, 0, 0, 40, 0.2)


# -- a whole comparison --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compared(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison, int]:
    """Folder, compare.json, and how many images were decoded."""
    out = tmp_path_factory.mktemp("compare")
    plan = load_grid(written(out, SMALL))
    decoded, read = [], decode.read_grey
    patch = pytest.MonkeyPatch()
    patch.setattr(decode, "read_grey", lambda path: decoded.append(path) or read(path))
    result = compare(Request(str(phantom_data), plan, out / "out"))
    patch.undo()
    build_comparison_page(out / "out")
    return out / "out", result, len(decoded)


def result_of(comparison: Comparison, place: int) -> CellResult:
    """The figures of a cell that has been trained."""
    result = comparison.cells[place].result
    assert result is not None
    return result


def test_no_image_is_decoded_twice(compared: tuple[Path, Comparison, int], cases: Cases) -> None:
    """Three cells, two seeds, two folds: one pass over the images."""
    assert compared[2] == len(cases)


def test_a_failing_cell_stands_in_the_table_and_stops_no_other(
    compared: tuple[Path, Comparison, int],
) -> None:
    plain, sgd, broken = compared[1].cells
    assert broken.error is not None and "val_nonsense" in broken.error and broken.result is None
    assert (plain.error, result_of(compared[1], 0).trainings) == (None, 4)
    assert (sgd.error, result_of(compared[1], 1).trainings) == (None, 4)
    page = (compared[0] / "index.html").read_text()
    assert "val_nonsense" in page and "relu sgd" in page


@pytest.mark.parametrize("place", [0, 1])
def test_a_row_follows_from_the_trainings(compared: tuple[Path, Comparison, int], place: int) -> None:
    """Counted again by hand from compare.csv and from the predictions of the trainings."""
    out, comparison, _ = compared
    rows = pd.read_csv(out / "compare.csv")
    assert len(rows) == 8
    name, result = comparison.cells[place].name, result_of(comparison, place)
    mine = rows[rows["cell"] == name]
    assert result.spread["accuracy"].mean == pytest.approx(mine["accuracy"].mean())
    assert result.spread["accuracy"].sd == pytest.approx(mine["accuracy"].std())
    paths = sorted(out.glob(f"cells/{name.split()[0]}*/*/predictions.csv"))
    assert len(paths) == 4
    held = pd.concat([pd.read_csv(path) for path in paths]).query("split == 'held'")
    mean = held.groupby("case_id")[["prob_normal", "prob_bacteria", "prob_virus"]].mean()
    target = held.drop_duplicates("case_id").set_index("case_id")["target"].loc[mean.index]
    predicted = mean.idxmax(axis=1).str.removeprefix("prob_")
    assert result.pooled is not None
    assert result.pooled.accuracy.k == int((predicted == target).sum())
    assert result.pooled.n_cases == len(mean)


def test_the_paired_tests_compare_the_pooled_predictions(compared: tuple[Path, Comparison, int]) -> None:
    comparison = compared[1]
    plain, sgd = result_of(comparison, 0), result_of(comparison, 1)
    assert comparison.against == "plain" and plain.paired is None
    assert plain.pooled is not None and sgd.pooled is not None and sgd.paired is not None
    gap = (sgd.pooled.accuracy.value or 0) - (plain.pooled.accuracy.value or 0)
    assert sgd.paired.accuracy.value == pytest.approx(gap)
    won = sgd.paired.accuracy_test.only_first - sgd.paired.accuracy_test.only_second
    assert won / plain.pooled.n_cases == pytest.approx(gap)
    assert sgd.paired.accuracy_test.p_holm == sgd.paired.accuracy_test.p  # one comparison


def test_what_is_finished_is_not_trained_again(
    compared: tuple[Path, Comparison, int],
    phantom_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A lost training is made again, alone; one of another recipe is thrown away; the figures come back."""
    out = tmp_path / "out"
    shutil.copytree(compared[0], out)
    shutil.rmtree(out / "cells" / "plain" / "seed1-fold0")
    trained: list[str] = []
    train_task = train.train_task
    monkeypatch.setattr(train, "train_task", lambda *given: trained.append(given[5]) or train_task(*given))
    values = {**SMALL, "cells": {name: SMALL["cells"][name] for name in ("plain", "relu sgd")}}  # type: ignore[index]
    plan = load_grid(written(tmp_path, values))
    again = compare(Request(str(phantom_data), plan, out))
    assert trained == ["plain, seed 1, fold 0"]
    before = result_of(compared[1], 0).spread["accuracy"]
    assert result_of(again, 0).spread["accuracy"].mean == pytest.approx(before.mean)
    trained.clear()
    plan = load_grid(written(tmp_path, values), ["training.label_smoothing=0.1"])
    compare(Request(str(phantom_data), plan, out, only=["plain"]))
    assert trained == [f"plain, seed {seed}, fold {fold}" for seed in (0, 1) for fold in (0, 1)]


def test_weights_and_checkpoints_do_not_fill_the_disk(compared: tuple[Path, Comparison, int]) -> None:
    left = {path.name for path in compared[0].glob("cells/plain/seed0-fold0/*")}
    assert left == {"training.json", "history.csv", "predictions.csv", "figures.json"}
    assert ComparisonFolder(compared[0]).figures() == compared[1]


def test_two_classes_keep_their_predictions_when_thresholds_are_moved_to_one_half() -> None:
    chance = np.random.default_rng(0)
    abnormal = chance.random(200)
    rows = pd.DataFrame(
        {
            "case_id": [f"c{i}" for i in range(200)],
            "patient": [f"p{i}" for i in range(200)],
            "target": np.where(abnormal + chance.normal(0, 0.3, 200) > 0.6, "pneumonia", "normal"),
            "prob_normal": 1 - abnormal,
            "prob_pneumonia": abnormal,
            "threshold": 0.62,
            "split": HELD,
        }
    )
    rows["label"] = rows["target"]
    pooled = table.pooled([rows], ["normal", "pneumonia"])
    correct = table.is_correct(pooled, ["normal", "pneumonia"])
    assert correct.sum() == int(((abnormal >= 0.62) == (rows["target"] == "pneumonia")).sum())
    mine = pd.DataFrame([{"parameters": 1, "epochs": 1, "seconds": 1.0, **dict.fromkeys(table.SPREAD, 0.5)}])
    images = pd.DataFrame({"case_id": rows["case_id"], **{name: chance.random(200) for name in NAMES}})
    result = table.cell_result(mine, pooled, task("binary", ["normal", "pneumonia"]), images, 0)
    assert result.pooled is not None and result.pooled.accuracy.k == correct.sum()
    assert result.acquisition is not None
    every = result.acquisition.groups[0]
    assert (every.kind, every.accuracy.k) == ("all", correct.sum())


def test_acquisition_groups_are_held_out_whole(phantom_data: Path) -> None:
    cases = open_source(str(phantom_data))
    outer = split_cases(cases, "acquisition", 0, fold=2, folds=3)
    split = held_out_acquisition(cases, 0, 2, 3, 0.2)
    assert set(split.of.index[split.of == HELD]) == set(outer.of.index[outer.of == "val"])
    patient = cases.table.set_index("case_id")["patient"]
    parts = [set(patient[split.of.index[split.of == part]]) for part in ("train", "val", HELD)]
    assert all(parts)
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_ordered_parts_are_neighbours_in_number_and_cover_all(phantom_data: Path) -> None:
    cases = open_source(str(phantom_data))
    patient = cases.table.set_index("case_id")["patient"]
    label = cases.table.set_index("case_id")["label"]
    parts: list[set[str]] = []
    for fold in range(3):
        split = held_out_ordered(cases, 0, fold, 3, 0.2)
        sides = [set(patient[split.of.index[split.of == part]]) for part in ("train", "val", HELD)]
        assert all(sides)
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
        assert set(label[split.of == HELD]) == set(cases.labels)
        parts.append(sides[2])
    assert parts[0] | parts[1] | parts[2] == set(patient[split.of.isin(["train", "val", HELD])])
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    first_of = dict(zip(patient, label, strict=True))
    for kind in cases.labels:  # each label has names of its own series
        names = [sorted(name for name in part if first_of[name] == kind) for part in parts]
        assert names[0][-1] < names[1][0] and names[1][-1] < names[2][0]


def test_a_part_by_number_without_a_label_is_a_sentence(phantom_data: Path) -> None:
    cases = open_source(str(phantom_data))
    letters = {
        name: f"{name[-2:]}{chr(97 + i % 26)}{chr(97 + i // 26)}x"
        for i, name in enumerate(cases.table["patient"])
    }
    table = cases.table.assign(patient=cases.table["patient"].map(letters).str.replace(r"\d", "", regex=True))
    with pytest.raises(DataError, match="by case number holds no image of"):
        held_out_ordered(Cases(table, cases.source, cases.root, cases.notes), 0, 0, 3)


def test_the_command_judges_by_number(phantom_data: Path, hilum: Callable, tmp_path: Path) -> None:
    grid = written(
        tmp_path,
        {**SMALL, "folds": 3, "take_folds": [0], "seeds": [0], "cells": {"a": {"model": TINY}}, "grid": {}},
    )
    words = ["compare", phantom_data, "--grid", grid, "--out", tmp_path / "out"]
    answer = hilum(*words, "--scheme", "ordered")
    assert answer.code == 0, answer.err
    assert ComparisonFolder(tmp_path / "out").figures().folds.scheme == "ordered"
    page = (tmp_path / "out" / "index.html").read_text()
    assert "parts by case number" in page and "--scheme ordered" in page
    answer = hilum(*words)
    assert (answer.code, "holds trainings of the scheme 'ordered'" in answer.err) == (2, True)
    answer = hilum("compare", phantom_data, "--leakage", "--scheme", "ordered", "--out", tmp_path / "leak")
    assert (answer.code, "leave --scheme out" in answer.err) == (2, True)


def test_the_command_prints_the_table_and_refuses_faults(
    phantom_data: Path, compared: tuple[Path, Comparison, int], hilum: Callable, tmp_path: Path
) -> None:
    grid = written(tmp_path, SMALL)
    answer = hilum("compare", phantom_data, "--grid", grid, "--out", compared[0], "--only", "plain")
    assert answer.code == 0
    assert "plain" in answer.out and "4/4" in answer.out and answer.out.strip().endswith("index.html")
    for words, sentence in (
        (["--only", "plane"], "the grid has no cell 'plane'; did you mean 'plain'?"),
        (["--set", "training.epoch=3"], "did you mean 'epochs'"),
    ):
        answer = hilum("compare", phantom_data, "--grid", grid, "--out", compared[0], *words)
        assert (answer.code, sentence in answer.err) == (2, True), answer.err
    for model, sentence in (
        ({"model.name": "vggg"}, "model 'vggg' is not known; did you mean 'vgg'?"),
        ({"model.options": {"widht": 3}}, "model 'resnet' has no option 'widht'; did you mean 'width'?"),
    ):
        wrong = written(tmp_path, {"cells": {"a": {}, "b": model}})
        answer = hilum("compare", phantom_data, "--grid", wrong, "--out", tmp_path / "new")
        assert (answer.code, sentence in answer.err) == (2, True), answer.err
        assert not (tmp_path / "new").exists()
    grid = written(tmp_path, SMALL)
    answer = hilum("compare", phantom_data, "--grid", grid, "--out", tmp_path)
    assert answer.code == 2 and "already holds files; choose another --out" in answer.err
    other = hilum("compare", "phantom", "--grid", grid, "--out", compared[0], "--source", "folder")
    assert other.code == 2


def test_a_failure_becomes_one_sentence() -> None:
    assert train.failure(RuntimeError("out of memory\nTraceback ...")) == "RuntimeError: out of memory"
    assert train.failure(DataError("what", "remedy")) == "what; remedy"
    assert train.failure(KeyError()) == "KeyError"


def test_the_report_of_a_run_shows_a_comparison_that_lies_in_it(
    compared: tuple[Path, Comparison, int],
) -> None:
    section = comparison_section(ComparisonFolder(compared[0]))
    assert (section.anchor, section.title) == ("comparison", "Comparison of architectures")
    assert "Of 2\xa0recipes" in lead(compared[1])
    empty = compared[1].model_copy(update={"cells": []})
    assert lead(empty) == "No recipe has finished all its trainings yet."


# -- search --------------------------------------------------------------------------------------------------

RANGES = {
    "training.optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "training.batch_size": {"low": 4, "high": 64},
    "training.balance": ["none", "weights"],
}


def test_a_search_stays_within_its_ranges_and_repeats_itself(tmp_path: Path) -> None:
    """Judged by a known function, it comes near its best; a second search makes the same draws."""
    pytest.importorskip("optuna")
    from hilum.comparison.search import search

    plan = load_grid(written(tmp_path, {"search": RANGES}))
    assert plan.cells == ()

    def judge(cell: Cell) -> float | None:
        if cell.name == "trial 3":
            return None  # a training that failed
        return -abs(np.log10(cell.recipe.training.optimizer.lr) + 2)

    cells = search(plan, 30, judge)
    assert [cell.name for cell in cells[:2]] == ["trial 1", "trial 2"]
    assert len(cells) == 30
    for cell in cells:
        assert 1e-4 <= cell.recipe.training.optimizer.lr <= 1e-1
        assert cell.recipe.training.batch_size in range(4, 65)
        assert cell.recipe.training.balance in ("none", "weights")
    values = [judge(cell) for cell in cells]
    early = [value for value in values[:10] if value is not None]
    late = [value for value in values[20:] if value is not None]
    assert len(early) == 9 and len(late) == 10
    assert np.mean(late) > np.mean(early)
    again = search(plan, 30, judge)
    assert [cell.changes for cell in again] == [cell.changes for cell in cells]


def test_a_search_without_ranges_or_optuna_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hilum.comparison.search import search

    plain = load_grid(written(tmp_path, SMALL))
    with pytest.raises(RecipeError, match="has no section 'search'"):
        search(plain, 1, lambda _: 0.0)
    plan = load_grid(written(tmp_path, {"search": RANGES}))
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RunError, match="--search needs the package optuna, which is not installed"):
        search(plan, 1, lambda _: 0.0)


def test_trials_stand_in_the_table(phantom_data: Path, tmp_path: Path, hilum: Callable) -> None:
    pytest.importorskip("optuna")
    values = {**SMALL, "cells": {}, "seeds": [0], "search": {"model.options.width": [2, 4]}}
    values["set"] = {**SMALL["set"], "model": TINY}  # type: ignore[dict-item]
    grid = written(tmp_path, values)
    for _ in range(2):  # the second time everything is there
        answer = hilum("compare", phantom_data, "--grid", grid, "--out", tmp_path / "out", "--search", 2)
        assert answer.code == 0, answer.err
        assert "trial 2" in answer.out
    assert "epoch 1/1" not in answer.err
