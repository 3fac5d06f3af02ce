"""Artifact: a JSON file that one stage writes and others read, as one typed value with a schema version."""

from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from hilum.errors import RunError
from hilum.files import read_json, write_json

A = TypeVar("A", bound="Artifact")


class Part(BaseModel):
    """A part of an artifact. Unknown keys are errors, so what a stage writes and what a section reads can't
    drift apart."""

    model_config = ConfigDict(extra="forbid")

    def set_fields(self) -> dict[str, Any]:
        """The fields that were set, by name.

        >>> Figure(value=0.5, n=4).set_fields()
        {'value': 0.5, 'n': 4}
        """
        return {
            name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }


class Figure(Part):
    """A number with its 95 % interval over patients, and with its counts where it is a share.

    `value`: None where the figure does not exist; `low`, `high`: the interval, None without one; `reason`: why there
    is no value, or no interval; `k` of `n`: the counts; `note`: what a reader must know of it.

    >>> Figure(value=0.5, k=5, n=10).counts
    '5/10'
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    k: int | None = None
    n: int | None = None
    note: str | None = None
    reason: str | None = None

    @property
    def counts(self) -> str:
        """k/n, or nothing where the figure is no share.

        >>> Figure(value=0.5, k=5, n=10).counts, Figure(value=0.98).counts
        ('5/10', '')
        """
        return "" if self.k is None or self.n is None else f"{self.k}/{self.n}"


class Artifact(Part):
    """The content of one file. A subclass raises SCHEMA when the meaning of a key changes; a file of another
    version is refused, never misread. `STAGE`: the command that writes it, for error sentences; `REMEDY`: what
    to do where that command does not write it anew with --force."""

    SCHEMA: ClassVar[int] = 1
    STAGE: ClassVar[str] = "study"
    REMEDY: ClassVar[str] = ""

    schema_version: int = 0  # stamped, see below

    @model_validator(mode="before")
    @classmethod
    def _stamped(cls, values: Any) -> Any:
        """What is made in Python has the present version; what is read must say its own (see `load`)."""
        return {"schema_version": cls.SCHEMA, **values} if isinstance(values, dict) else values

    def save(self, path: Path) -> None:
        """Writes the file, all or nothing.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Artifact().save(Path(folder) / "a.json")
        ...     read_json(Path(folder) / "a.json")
        {'schema_version': 1}
        """
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls: type[A], path: Path, weights_digest: str | None = None) -> A:
        """Reads the file. RunError when it is missing, damaged, of another schema version, or made with other
        weights than `weights_digest`.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Artifact().save(Path(folder) / "a.json")
        ...     Artifact.load(Path(folder) / "a.json").schema_version
        1
        """
        return cls.read(read_json(path), path, weights_digest)

    @classmethod
    def read(cls: type[A], values: Any, path: Path, weights_digest: str | None = None) -> A:
        """The artifact in the values of a file, `path` for error sentences; see `load`.

        >>> Artifact.read({"schema_version": 7}, Path("a.json"))
        Traceback (most recent call last):
        hilum.errors.RunError: a.json has schema version 7, this hilum reads 1; run: hilum study RUN --force
        """
        remedy = cls.REMEDY or f"run: hilum {cls.STAGE} RUN --force"
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != cls.SCHEMA:
            raise RunError(f"{path} has schema version {version}, this hilum reads {cls.SCHEMA}", remedy)
        try:
            artifact = cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RunError(f"{path} is damaged ({place}: {first['msg']})", remedy) from None
        made_with = getattr(artifact, "weights_digest", None)
        if weights_digest is not None and made_with != weights_digest:
            raise RunError(f"{path} was made with other weights than the model has", remedy)
        return artifact
