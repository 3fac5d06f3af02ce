"""What a user may say about how data is read: the section `data` of a recipe, and options of the commands."""

import json
import re
import shlex
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from hilum.config import Config
from hilum.data.dicom.options import DicomOptions
from hilum.errors import RecipeError


class Views(StrEnum):
    """Which views of the chest are read."""

    frontal = "frontal"
    all = "all"


class ReadingOptions(Config):
    """`source`: the reader; `healthy`: the label of people without findings, as the data writes it; `patient_from`: a
    regular expression whose first group is the patient, searched in each path relative to the data; `classes`: the
    only labels to read; `exclude`: patterns of files and folders to leave out; `views`: frontal ones alone, or lateral
    and oblique ones too; `show_names`: keep the identifiers of DICOM headers; `dicom_key`: the text file that holds the
    key of their pseudonyms. What the last three leave open, environment variables say (`hilum.data.dicom.options`)."""

    source: str | None = None
    healthy: str | None = None
    patient_from: str | None = None
    classes: list[str] | None = None
    exclude: list[str] = Field(default_factory=list)
    views: Views | None = None
    show_names: bool = False
    dicom_key: Path | None = None

    @field_validator("patient_from")
    @classmethod
    def _has_a_group(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"it is no regular expression ({error})") from None
        if not groups:
            raise ValueError("it has no group; put the part that is the patient in brackets: (...)")
        return pattern

    def in_words(self) -> list[str]:
        """The options that were given, as a command takes them; nothing of the key.

        >>> ReadingOptions(healthy="No_findings", exclude=["lung masks"]).in_words()
        ['--healthy No_findings', "--exclude 'lung masks'"]
        """
        single = {"source": self.source, "healthy": self.healthy, "patient-from": self.patient_from}
        words = [f"--{name} {shlex.quote(value)}" for name, value in single.items() if value is not None]
        words += [f"--classes {shlex.quote(','.join(self.classes))}"] if self.classes else []
        words += [f"--exclude {shlex.quote(pattern)}" for pattern in self.exclude]
        words += [f"--views {self.views}"] if self.views else []
        return [*words, *(["--show-names"] if self.show_names else [])]

    @property
    def of_dicom(self) -> DicomOptions:
        """What is said of DICOM.

        >>> ReadingOptions(views="all").of_dicom.all_views
        True
        """
        all_views = None if self.views is None else self.views == Views.all
        return DicomOptions(all_views, self.show_names, self.dicom_key)


def from_command(
    source: str | None = None,
    healthy: str | None = None,
    patient_from: str | None = None,
    classes: str | None = None,
    exclude: Sequence[str] | None = None,
    views: Views | None = None,
    show_names: bool = False,
    dicom_key: Path | None = None,
) -> ReadingOptions:
    """The options of a command that reads no recipe. RecipeError for a pattern that can't be used.

    >>> from_command(patient_from="(p")
    Traceback (most recent call last):
    hilum.errors.RecipeError: --patient-from '(p' is not possible: it is no regular expression (...)
    """
    try:
        return ReadingOptions(
            source=source,
            healthy=healthy,
            patient_from=patient_from,
            classes=_names(classes),
            exclude=list(exclude or []),
            views=views,
            show_names=show_names,
            dicom_key=dicom_key,
        )
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RecipeError(f"--patient-from {patient_from!r} is not possible: {message}") from None


def _names(classes: str | None) -> list[str] | None:
    return [name.strip() for name in classes.split(",") if name.strip()] if classes else None


def as_changes(
    source: str | None = None,
    healthy: str | None = None,
    patient_from: str | None = None,
    classes: str | None = None,
    exclude: Sequence[str] | None = None,
    views: Views | None = None,
    show_names: bool = False,
    dicom_key: Path | None = None,
) -> list[str]:
    """The options of a command as changes of a recipe; those that were not given change nothing.

    >>> as_changes(healthy="0", classes="0, 1")
    ['data.healthy="0"', 'data.classes=["0", "1"]']
    """
    values: dict[str, str | list[str] | bool | None] = {
        "source": source,
        "healthy": healthy,
        "patient_from": patient_from,
        "classes": _names(classes),
        "exclude": list(exclude) if exclude else None,
        "views": views and views.value,
        "show_names": show_names or None,
        "dicom_key": None if dicom_key is None else str(dicom_key),
    }
    return [f"data.{name}={json.dumps(value)}" for name, value in values.items() if value is not None]
