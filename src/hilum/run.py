"""Run: a folder that every stage reads and adds to. The only place that knows the file names inside it.

    runs/<name>/
      run.json          status "started" first, "finished" last; argv, versions, commit, device, seed, digests
      recipe.yaml       resolved: running it again repeats the run
      cases.csv  split.csv  audit.json
      <task>/           binary, multiclass, findings
        model/          weights.safetensors  model.json  golden.npz
        embeddings/     vectors.npz  neighbors.csv  projection.csv
                        suspects.csv  duplicates.csv  figures.json (last)
        attributions/   <method>/<case_id>.npz  maximal.npz  synthesis.npz  figures.json (last)
        history.csv  metrics.json  predictions.csv  reliability.json  checkpoints/last.ckpt
        robustness.json  label_efficiency.json  unseen_class.json  corruption_training.json
      anomaly/
        <detector>/     detector.safetensors  detector.json  result.npz
        scores.csv  examples.npz  figures.json (last)
      report/index.html

Nothing here imports torch, so that a report can be drawn on a machine without it.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from hilum.artifacts.audit import Audit
from hilum.artifacts.run import RunFacts, StageRecord
from hilum.data.cases import Cases
from hilum.data.tasks import TASKS, kind_of
from hilum.errors import RunError
from hilum.files import (
    digest,
    read_table,
    write_table,
    write_text,
)
from hilum.folders import AnomalyFolder, ComparisonFolder, LeakageFolder, TaskFolder


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class Run:
    """Opens a run folder; `Run.create` makes one.

    RunError when the folder is missing, is no run, is half written, or has another format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.facts_file = self.path / "run.json"
        self.recipe_file = self.path / "recipe.yaml"
        self.cases_file = self.path / "cases.csv"
        self.split_file = self.path / "split.csv"
        self.audit_file = self.path / "audit.json"
        self.report_file = self.path / "report" / "index.html"
        self.anomaly = AnomalyFolder(self.path / "anomaly")
        self.comparison = ComparisonFolder(self.path / "compare")
        self.leakage = LeakageFolder(self.path / "leakage")
        self._check()

    def _check(self) -> None:
        if not self.path.is_dir():
            raise RunError(
                f"run folder {self.path} does not exist", "make one with: hilum study DATA --out PATH"
            )
        if not self.facts_file.exists():
            raise RunError(
                f"{self.path} is no run folder: it has no run.json", "name a folder that hilum made"
            )
        self.facts()

    @classmethod
    def create(cls, path: str | Path, facts: RunFacts, recipe: dict[str, Any]) -> "Run":
        """A new run with status "started". The folder may exist if it is empty."""
        folder = Path(path)
        cls.refuse_taken(folder)
        folder.mkdir(parents=True, exist_ok=True)
        begun = {"format": facts.format, "status": "started", "started": _now()}
        facts.model_copy(update=begun).save(folder / "run.json")
        run = cls(folder)
        run.write_recipe(recipe)
        return run

    @staticmethod
    def refuse_taken(folder: Path) -> None:
        """RunError when a new run in this folder would mix with files that are there already.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     _ = (Path(place) / "notes.txt").write_text("mine")
        ...     Run.refuse_taken(Path(place))
        Traceback (most recent call last):
        hilum.errors.RunError: ... already holds files; choose another --out, or go on with --resume
        """
        if folder.is_dir() and any(folder.iterdir()):
            raise RunError(f"{folder} already holds files", "choose another --out, or go on with --resume")

    # -- facts -------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """As the run calls itself, else its folder."""
        return self.facts().name or self.path.name

    def facts(self) -> RunFacts:
        """run.json."""
        return RunFacts.load(self.facts_file)

    def add_facts(self, **more: Any) -> None:
        """Adds or replaces entries of run.json: fields of RunFacts."""
        RunFacts.model_validate({**self.facts().set_fields(), **more}).save(self.facts_file)

    def stage_records(self) -> dict[str, StageRecord]:
        """What became of each stage, by "embed binary" or "anomaly"."""
        return self.facts().stages

    def record_stage(self, label: str, record: StageRecord) -> None:
        """Writes down what became of a stage."""
        self.add_facts(stages={**self.stage_records(), label: record})

    def skip_reasons(self, stage: str) -> list[str]:
        """Why a stage left nothing, per task where it runs per task. Empty when it finished or has not run.

        >>> from hilum.artifacts.run import RunFacts, StageRecord
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     run.record_stage("embed binary", StageRecord(status="skipped", reason="9 images are too few"))
        ...     run.skip_reasons("embed"), run.skip_reasons("anomaly")
        (['9 images are too few'], [])
        """
        records = self.stage_records()
        return [
            record.reason for label, record in records.items() if label.split()[0] == stage and record.reason
        ]

    @property
    def failed_stages(self) -> list[str]:
        """The stages that ended in a defect of hilum: their tracebacks lie in errors/."""
        return [label for label, record in self.stage_records().items() if record.status == "failed"]

    def stop_the_clock(self) -> None:
        """Writes down when the work ended; the report, drawn next, prints it.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     run.stop_the_clock()
        ...     run.facts().started <= run.facts().finished
        True
        """
        self.add_facts(finished=_now())

    def finish(self) -> None:
        """The last thing a study does: whoever reads status "finished" knows that nothing is missing.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     run.finish()
        ...     run.facts().status
        'finished'
        """
        self.add_facts(status="finished")

    def recipe(self) -> dict[str, Any]:
        """recipe.yaml as plain values.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     Run.create(place, RunFacts(), {"replicates": 50}).recipe()
        {'replicates': 50}
        """
        try:
            return yaml.safe_load(self.recipe_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{self.recipe_file} is missing", "make the run again") from None
        except yaml.YAMLError as error:
            raise RunError(f"{self.recipe_file} is damaged ({error})", "make the run again") from None

    def write_recipe(self, recipe: dict[str, Any]) -> None:
        """Writes recipe.yaml, every choice written out.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     run.write_recipe({"replicates": 50})
        ...     run.recipe()
        {'replicates': 50}
        """
        write_text(self.recipe_file, yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))

    # -- data --------------------------------------------------------------------------------------------

    def cases(self) -> Cases:
        """cases.csv; the images themselves may have moved since."""
        data = self.facts().data
        return Cases.read(self.cases_file, data.source, Path(data.root), data.notes)

    def split(self, task: str) -> pd.Series:
        """case_id -> train, val, test or unused, for one task.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     run.write_split({"binary": pd.Series({"a": "train", "b": "test"})})
        ...     run.split("binary").to_dict()
        {'a': 'train', 'b': 'test'}
        """
        table = read_table(self.split_file, **{"case_id": str}).set_index("case_id")
        if task not in table.columns:
            raise RunError(f"{self.split_file} has no column {task!r}", "run the stage 'split' again")
        return table[task].fillna("unused")

    @property
    def split_tasks(self) -> tuple[str, ...]:
        """The tasks that the cases were split for; empty before the stage prepare.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     before = run.split_tasks
        ...     run.write_split({"binary": pd.Series({"a": "train", "b": "test"})})
        ...     before, run.split_tasks
        ((), ('binary',))
        """
        if not self.split_file.exists():
            return ()
        columns = read_table(self.split_file).columns
        return tuple(name for name in TASKS if name in columns)

    def split_digest(self, task: str) -> str:
        """Names which case is in which part.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     run.write_split({task: pd.Series({"a": "train", "b": "val"}) for task in ("binary", "multiclass")})
        ...     run.split_digest("binary") == run.split_digest("multiclass")
        True
        """
        return digest(*(f"{case} {part}" for case, part in self.split(task).items()))

    def write_split(self, columns: dict[str, pd.Series]) -> None:
        """split.csv: one row per case, one column per task. Columns of other tasks stay.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     run.write_split({"binary": pd.Series({"a": "train", "b": "test"})})
        ...     run.write_split({"multiclass": pd.Series({"a": "val"})})
        ...     print(run.split_file.read_text())
        case_id,binary,multiclass
        a,train,val
        b,test,unused
        """
        known = {}
        if self.split_file.exists():
            before = read_table(self.split_file, **{"case_id": str}).set_index("case_id")
            known = {name: before[name] for name in before.columns}
        table = pd.DataFrame({**known, **columns}).fillna("unused")
        write_table(self.split_file, table.rename_axis("case_id").reset_index())

    def audit(self) -> Audit | None:
        """audit.json, or None when no audit was made."""
        return Audit.load(self.audit_file) if self.audit_file.exists() else None

    # -- tasks -------------------------------------------------------------------------------------------

    def task(self, name: str) -> TaskFolder:
        """The folder of one task, whether or not it was trained yet.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     run.task("binary").metrics_file.relative_to(place).as_posix()
        'binary/metrics.json'
        """
        return TaskFolder(self.path / name)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks with a trained model.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     run.task("binary").model_folder.mkdir(parents=True)
        ...     run.task("binary").card_file.touch()
        ...     run.tasks
        ('binary',)
        """
        return tuple(name for name in TASKS if self.task(name).card_file.exists())

    @property
    def class_tasks(self) -> tuple[str, ...]:
        """The trained tasks of one class per image.

        >>> from hilum.artifacts.run import RunFacts
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     run = Run.create(place, RunFacts(), {"tasks": {}})
        ...     for name in ("binary", "findings"):
        ...         run.task(name).model_folder.mkdir(parents=True)
        ...         run.task(name).card_file.touch()
        ...     run.class_tasks
        ('binary',)
        """
        return tuple(name for name in self.tasks if kind_of(name) == "single")
