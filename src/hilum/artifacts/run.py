"""run.json: where, when and with what a run was made, and what became of each stage."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from hilum.artifacts.base import Part
from hilum.errors import RunError
from hilum.files import read_json, write_json

FORMAT = 2
"""Raised when the meaning of a file in a run folder changes; an older run is then refused, never misread."""


class Machine(Part):
    """What the run ran on, without names of people or hosts. `threads`: those of the computation."""

    system: str = ""
    cpu: str = ""
    cores: int | None = None
    threads: int | None = None
    gpu: str | None = None


class Reading(Part):
    """How the data was understood. `layout`: what the folders or columns stand for; `patients`: where they come
    from; `splits` and `labels`: the number of images; `written`: label -> as the data writes it; `healthy`: the
    word that became 'normal', empty without one; `shaped_by`: the options that changed the reading."""

    layout: str = ""
    splits: dict[str, int] = Field(default_factory=dict)
    labels: dict[str, int] = Field(default_factory=dict)
    written: dict[str, list[str]] = Field(default_factory=dict)
    healthy: str = ""
    patients: str = ""
    shaped_by: list[str] = Field(default_factory=list)


class DataFacts(Part):
    """The data: `given` on the command line, where it lay, its reader, a digest of all cases, and how it was read."""

    given: str = ""
    root: str = ""
    source: str = ""
    digest: str = ""
    n_cases: int | None = None
    n_patients: int | None = None
    notes: list[str] = Field(default_factory=list)
    reading: Reading = Reading()

    @property
    def place(self) -> str:
        """As the user named it, else where it lay."""
        return self.given or self.root


class SplitFacts(Part):
    """How one task's cases were divided; see `hilum.data.split.Split`."""

    scheme: str
    seed: int
    leaky: bool = False
    shared_patients: int = 0
    shared_images: int = 0
    note: str = ""
    fold: int | None = None
    folds: int | None = None


class StageRecord(Part):
    """What became of one stage. `reason`: why one left nothing; `fingerprint`: of everything that its results
    depend on, see `hilum.driver`."""

    status: Literal["finished", "skipped", "failed"] = "finished"
    seconds: float | None = None
    fingerprint: str = ""
    reason: str = ""

    @property
    def finished(self) -> bool:
        """Whether its files are there."""
        return self.status == "finished"


class RunFacts(Part):
    """The whole file. `argv`: the command that made the run; `status`: "finished" says that nothing is missing;
    `split`: by task; `stages`: by "embed binary" or "anomaly"; `skipped_files`: those that can't be read."""

    format: int = FORMAT
    status: Literal["started", "finished"] = "started"
    started: str | None = None
    name: str = ""
    preset: str = ""
    hilum: str = ""
    argv: list[str] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    python: str = ""
    commit: str = ""
    machine: Machine = Machine()
    data: DataFacts = DataFacts()
    stages: dict[str, StageRecord] = Field(default_factory=dict)
    split: dict[str, SplitFacts] = Field(default_factory=dict)
    skipped_files: list[str] = Field(default_factory=list)
    finished: str | None = None

    def save(self, path: Path) -> None:
        """Writes the file, all or nothing; what was not set is left out."""
        write_json(path, self.model_dump(mode="json", exclude_unset=True))

    @classmethod
    def load(cls, path: Path) -> "RunFacts":
        """Reads the file. RunError when it is missing, damaged, or of another format."""
        values = read_json(path)
        if not isinstance(values, dict):
            raise RunError(f"{path} is damaged", "make the run again")
        form = values.get("format")
        if form != FORMAT:
            raise RunError(
                f"{path} has format {form!r}, this hilum reads format {FORMAT}",
                "make the run again, or install the hilum version named in run.json",
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RunError(f"{path} is damaged ({place}: {first['msg']})", "make the run again") from None
