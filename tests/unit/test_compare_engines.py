"""Who trains the cells of a comparison makes no difference to its table, and a lost process costs its cell alone."""

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from hilum.artifacts.comparison import Comparison
from hilum.comparison.grid import load_grid
from hilum.comparison.local import LocalEngine
from hilum.comparison.on_ray import _failure
from hilum.comparison.run import Request, compare
from hilum.comparison.spread import EngineName, engine_of
from hilum.comparison.train import Training
from hilum.errors import RunError
from hilum.files import read_json, read_table
from hilum.recipe import load_recipe
from hilum.workers import connected

from ..conftest import Answer
from .score_workers import never_trains

TINY = {"name": "resnet", "options": {"width": 4, "stages": [1, 1], "embedding": 8}}


def grid_file(folder: Path) -> str:
    """Two cells; the process that trains the second is killed the first time."""
    ending = {"name": "tests.unit.ending_network", "options": {"mark": str(folder / "mark")}}
    values = {
        "task": "binary",
        "folds": 2,
        "take_folds": [0],
        "replicates": 20,
        "set": {"pixels.size": [24, 24], "training.epochs": 2},
        "cells": {"plain": {"model": TINY}, "ending": {"model": ending}},
    }
    file = folder / "grid.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    return str(file)


def compared(data: Path, folder: Path, engine: EngineName, workers: int | None) -> Comparison:
    """`hilum compare`."""
    plan = load_grid(grid_file(folder), lambda name: load_recipe(name).tasks)
    return compare(Request(str(data), plan, folder / "out", engine=engine, workers=workers))


def with_a_loss(data: Path, folder: Path, engine: EngineName) -> None:
    """A comparison in which a process is lost: its cell has a reason and no figures, the other is whole."""
    plain, ending = compared(data, folder, engine, 2).cells
    assert plain.error is None and plain.result is not None and plain.result.trainings == 1
    assert ending.result is None and ending.error is not None
    assert ending.error.endswith("; the same command trains it again")


def figures(folder: Path) -> tuple[Any, ...]:
    """What a comparison has written, without its times and the place of the mark."""
    table = read_json(folder / "out" / "compare.json")
    for cell in table["cells"]:
        del cell["changes"], cell["recipe"], cell["result"]["seconds"]
    rows = read_table(folder / "out" / "compare.csv").drop(columns="seconds")
    cells = [folder / "out" / "cells" / name / "seed0-fold0" for name in ("plain", "ending")]
    return json.dumps(table), rows.to_csv(), *((cell / "predictions.csv").read_bytes() for cell in cells)


@pytest.fixture(scope="module")
def local(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """The figures of two workers of this machine, one of which is lost; this process trains what is missing."""
    folder = tmp_path_factory.mktemp("engines")
    with_a_loss(phantom_data, folder, "local")
    plain, ending = compared(phantom_data, folder, "local", None).cells
    assert plain.error is None and ending.error is None
    return figures(folder)


@pytest.mark.slow
def test_a_lost_worker_costs_its_cell_until_the_command_is_repeated(local: tuple[Any, ...]) -> None:
    assert [cell["result"]["trainings"] for cell in json.loads(local[0])["cells"]] == [1, 1]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'hilum[ray]'")
@pytest.mark.filterwarnings("ignore")  # of ray
def test_ray_writes_the_same_table(
    local: tuple[Any, ...], phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setenv("RAY_ADDRESS", "local")
    try:
        with_a_loss(phantom_data, tmp_path, "ray")
        compared(phantom_data, tmp_path, "ray", 2)
    finally:
        ray.shutdown()
    assert figures(tmp_path) == local


def test_ctrl_c_ends_the_workers() -> None:
    engine = LocalEngine(2, target=never_trains)
    processes = []

    def interrupt(trainings: object) -> None:
        processes.extend(worker.process for worker in engine.processes.running)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(engine.run(enumerate([object.__new__(Training)] * 3), interrupt))
    assert len(processes) == 2 and not any(process.is_alive() for process in processes)


def test_a_folder_that_not_all_machines_see_is_a_sentence(tmp_path: Path) -> None:
    training = object.__new__(Training)
    object.__setattr__(training, "folder", tmp_path / "cell")
    ray = Mock(get=lambda answer: None)  # the task was done, elsewhere
    assert _failure(ray, "answer", training) == (
        f"{tmp_path / 'cell'} is not seen by all machines of the cluster; choose another --out"
    )


def test_what_cannot_be_is_a_sentence(
    hilum: Callable[..., Answer], phantom_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = grid_file(tmp_path)
    for words, sentence in (
        (["--engine", "dask"], "'dask' is not one of 'local', 'ray'"),
        (["--workers", "0"], "Invalid value for '--workers': Input should be greater than or equal to 1"),
        (
            ["--leakage", "--engine", "ray"],
            "--leakage trains in this process; leave --engine and --workers out",
        ),
    ):
        answer = hilum("compare", phantom_data, "--grid", grid, "--out", tmp_path / "out", *words)
        assert answer.code == 2 and sentence in answer.err
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = hilum("compare", phantom_data, "--grid", grid, "--out", tmp_path / "out", "--engine", "ray")
    assert answer.err == "hilum: the engine ray needs the package ray; install it: pip install 'hilum[ray]'\n"
    assert not (tmp_path / "out").exists()
    with pytest.raises(RunError, match="needs the package ray"):
        engine_of("ray", None)


def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(address: str = "", **_: object) -> None:
        raise ConnectionError(address)

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6999")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    with pytest.raises(
        RunError, match=r"the Ray cluster 127\.0\.0\.1:6999 does not answer; start it, or unset"
    ):
        connected(2)
