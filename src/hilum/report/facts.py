"""run.json as the report reads it: where, when and with what a run was made."""

from pydantic import BaseModel, ConfigDict, Field

from hilum.report.wording import plural
from hilum.run import Run


class _Facts(BaseModel):
    """The driver writes more than the report prints: other keys are left alone."""

    model_config = ConfigDict(extra="ignore")


class Machine(_Facts):
    """What the run ran on."""

    gpu: str | None = None
    cpu: str | None = None
    cores: int | None = None
    system: str | None = None

    def __str__(self) -> str:
        """GPU if there was one, CPU, cores, system.

        >>> str(Machine(cpu="A processor", cores=2, system="Linux x86_64")).replace("\\xa0", " ")
        'A processor, 2 cores, Linux x86_64'
        """
        cores = plural(self.cores, "core") if self.cores else None
        return ", ".join(part for part in (self.gpu, self.cpu, cores, self.system) if part)


class DataFacts(_Facts):
    """The data as it was given; `source` names the reader."""

    given: str = ""
    root: str = ""
    source: str = ""
    digest: str = ""
    n_cases: int | None = None
    n_patients: int | None = None
    notes: list[str] = Field(default_factory=list)

    @property
    def place(self) -> str:
        """As the user named it, else where it lay.

        >>> DataFacts(given="phantom", root="/cache/phantom").place, DataFacts(root="/data").place
        ('phantom', '/data')
        """
        return self.given or self.root


class SplitFacts(_Facts):
    """How one task's cases were divided."""

    scheme: str = ""
    seed: int | None = None
    leaky: bool = False
    note: str = ""
    fold: int | None = None
    folds: int | None = None


class StageFacts(_Facts):
    """What became of one stage."""

    seconds: float | None = None
    status: str = "finished"
    reason: str = ""


class RunFacts(_Facts):
    """Everything of run.json that the report prints."""

    name: str = ""
    preset: str = ""
    status: str = ""
    started: str | None = None
    finished: str | None = None
    hilum: str = ""
    commit: str = ""
    python: str = ""
    argv: list[str] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    machine: Machine = Machine()
    data: DataFacts = DataFacts()
    split: dict[str, SplitFacts] = Field(default_factory=dict)
    stages: dict[str, StageFacts] = Field(default_factory=dict)
    skipped_files: list[str] = Field(default_factory=list)

    @classmethod
    def of(cls, run: Run) -> "RunFacts":
        """The facts of a run; the folder's name where it has no other.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     RunFacts.of(Run.create(folder, {"name": "mine", "machine": {"cores": 2}}, {})).machine.cores
        2
        """
        facts = cls.model_validate(run.facts())
        return facts if facts.name else facts.model_copy(update={"name": run.path.name})
