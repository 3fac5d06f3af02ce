"""The driver: what is done, what is not done again, and what becomes of a stage that can't be done."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from hilum import driver as driver_module
from hilum.artifacts.run import DataFacts, RunFacts
from hilum.config import Config
from hilum.data.cases import Cases
from hilum.driver import Driver, with_needs
from hilum.errors import DataError, RecipeError
from hilum.recipe import Recipe
from hilum.run import Run
from hilum.stages import STAGES, Context, Stage
from hilum.training.config import TaskRecipe

TASK = {"model": {"name": "vgg"}, "training": {"epochs": 1}}


class Settings(Config):
    k: int = 7


class FakeRecipe(Recipe):
    count: Settings | None = Settings()
    write: Settings | None = Settings()
    read: Settings | None = Settings()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose cases are split for one task."""
    table = pd.DataFrame(
        {
            "case_id": ["a", "b"],
            "path": "/nowhere.png",
            "label": ["normal", "virus"],
            "patient": ["p", "q"],
            "split": "",
            "digest": ["1", "2"],
        }
    )
    cases = Cases.checked(table, "table", tmp_path)
    facts = RunFacts(data=DataFacts(digest=cases.digest, source="table", root=str(tmp_path)))
    run = Run.create(tmp_path / "run", facts, {})
    cases.write(run.cases_file)
    run.write_split({"binary": pd.Series({"a": "train", "b": "val"})})
    return run


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces the stages of the study."""

    def use(*given: Stage) -> None:
        monkeypatch.setattr(driver_module, "STAGES", given)
        monkeypatch.setattr(driver_module, "stage_of", {one.name: one for one in given}.__getitem__)

    return use


def recipe(**settings: object) -> FakeRecipe:
    return FakeRecipe(name="fake", tasks={"binary": TaskRecipe.model_validate(TASK)}, **settings)


def counting(calls: list[Context], **more: object) -> Stage:
    """A stage that leaves count.txt and remembers what it was given."""

    def work(context: Context, config: Settings) -> None:
        calls.append(context)
        (context.folder.path).mkdir(exist_ok=True)
        (context.folder.path / "count.txt").write_text(str(config.k))

    return Stage("count", "", Settings, work, **{"needs": (), "artifacts": ("count.txt",), **more})


def test_a_stage_is_done_once_and_again_only_when_something_changed(run: Run, stages) -> None:
    calls: list[Context] = []
    stage = counting(calls)
    stages(stage)
    Driver(run, recipe()).execute([stage])
    Driver(run, recipe()).execute([stage])
    assert len(calls) == 1 and not calls[0].force
    Driver(run, recipe(count={"k": 3})).execute([stage])
    assert len(calls) == 2, "other settings"
    (run.task("binary").path / "count.txt").unlink()
    Driver(run, recipe(count={"k": 3})).execute([stage])
    assert len(calls) == 3, "its file is gone"
    run.write_split({"binary": pd.Series({"a": "val", "b": "train"})})
    Driver(run, recipe(count={"k": 3})).execute([stage])
    assert len(calls) == 4, "another split"
    Driver(run, recipe(count={"k": 3})).execute([stage], force=["count"])
    assert len(calls) == 5 and calls[-1].force
    newer = counting(calls, version=2)
    stages(newer)
    Driver(run, recipe(count={"k": 3})).execute([newer])
    assert len(calls) == 6, "another version of the stage"


def test_a_stage_is_given_its_task_its_cases_and_its_split(run: Run, stages) -> None:
    calls: list[Context] = []
    stages(counting(calls))
    Driver(run, recipe()).execute([counting(calls)])
    context = calls[0]
    assert context.this_task.name == "binary" and context.cases.labels == ("normal", "virus")
    assert context.split.to_dict() == {"a": "train", "b": "val"}


def test_null_leaves_a_stage_out(run: Run, stages) -> None:
    calls: list[Context] = []
    stages(counting(calls))
    Driver(run, recipe(count=None)).execute([counting(calls)])
    assert calls == [] and run.stage_records() == {}


def test_what_cannot_be_done_is_skipped_with_its_reason_and_passed_on(run: Run, stages) -> None:
    """`write` can't be done; `read` needs it; `count` does not and is done."""
    calls: list[Context] = []

    def refuse(context: Context, config: Settings) -> None:
        raise DataError("2 images are too few", "bring more")

    write = Stage("write", "", Settings, refuse, needs=())
    read = Stage("read", "", Settings, lambda context, config: None, needs=("write",))
    count = counting(calls)
    stages(write, read, count)
    driver = Driver(run, recipe())
    driver.execute([read, count])
    records = run.stage_records()
    assert records["write binary"].status == "skipped"
    assert records["write binary"].reason == "2 images are too few; bring more"
    assert records["read binary"].reason == (
        "stage 'read' needs 'write', which left nothing (2 images are too few; bring more)"
    )
    assert run.skip_reasons("write") == ["2 images are too few; bring more"]
    assert records["count binary"].status == "finished" and len(calls) == 1 and driver.failed == []


def test_a_defect_costs_neither_the_other_stages_nor_its_traceback(run: Run, stages) -> None:
    calls: list[Context] = []

    def break_down(context: Context, config: Settings) -> None:
        raise ZeroDivisionError("by zero")

    write, count = Stage("write", "", Settings, break_down, needs=()), counting(calls)
    stages(write, count)
    driver = Driver(run, recipe())
    driver.execute([write, count])
    assert run.failed_stages == driver.failed == ["write binary"] and len(calls) == 1
    assert run.stage_records()["write binary"].reason == "ZeroDivisionError: by zero"
    assert "break_down" in (run.path / "errors" / "write-binary.txt").read_text()
    Driver(run, recipe()).execute([write, count])
    assert len(calls) == 1, "the other stage is not done again; the failed one is tried again"


def test_an_error_of_a_core_stage_ends_the_study(run: Run, stages) -> None:
    def refuse(context: Context, config: Settings) -> None:
        raise RecipeError("no such network", "choose another")

    write = Stage("write", "", Settings, refuse, needs=(), core=True)
    stages(write)
    with pytest.raises(RecipeError, match="no such network; choose another"):
        Driver(run, recipe()).execute([write])


def test_a_defect_in_a_core_stage_costs_its_task_alone(run: Run, stages) -> None:
    def break_down(context: Context, config: Settings) -> None:
        raise error

    error: Exception = ZeroDivisionError("by zero")
    calls: list[Context] = []
    write = Stage("write", "", Settings, break_down, needs=(), core=True)
    read = Stage("read", "", Settings, lambda context, config: None, needs=("write",), core=True)
    whole = Stage("whole", "", Settings, break_down, needs=(), core=True, per_task=False)
    count = counting(calls)
    stages(write, read, whole, count)
    driver = Driver(run, recipe())
    driver.execute([read, count])
    records = run.stage_records()
    assert driver.failed == ["write binary"] and len(calls) == 1
    assert "left nothing (ZeroDivisionError: by zero)" in records["read binary"].reason
    with pytest.raises(ZeroDivisionError):
        Driver(run, recipe()).execute([whole])
    error = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        Driver(run, recipe()).execute([write])


def test_results_that_a_stage_reads_are_part_of_its_fingerprint(run: Run, stages) -> None:
    """`read` uses what `count` writes: when that changes, it is done again, and not otherwise."""
    calls: list[Context] = []
    done: list[str] = []
    read = Stage("read", "", Settings, lambda context, config: done.append("read"), needs=(), uses=("count",))
    count = counting(calls)
    stages(count, read)
    for _ in range(2):
        Driver(run, recipe()).execute([count, read])
    assert done == ["read"]
    Driver(run, recipe(count={"k": 1})).execute([count, read])
    assert done == ["read", "read"]


def test_the_stages_of_the_study_come_after_what_they_need() -> None:
    seen: set[str] = set()
    for stage in STAGES:
        assert set(stage.needs) <= seen, stage.name
        assert set(stage.uses) <= seen, stage.name
        seen.add(stage.name)
    assert len(seen) == len(STAGES)
    assert [stage.name for stage in with_needs([STAGES[1]])] == ["prepare", "train"]


def test_a_silent_stage_leaves_its_sentence_to_the_caller(run: Run, stages, capsys) -> None:
    def refuse(context: Context, config: Settings) -> None:
        raise DataError("2 images are too few", "bring more")

    write = Stage("write", "", Settings, refuse, needs=())
    stages(write)
    Driver(run, recipe()).execute([write])
    assert capsys.readouterr().err.count("2 images are too few; bring more") == 1
    Driver(run, recipe(), silent=["write"]).execute([write], force=["write"])
    assert capsys.readouterr().err == ""
    assert run.skip_reasons("write") == ["2 images are too few; bring more"]
