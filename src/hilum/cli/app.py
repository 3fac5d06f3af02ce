"""The typer application, the options that several commands share, and how errors end."""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hilum.data.reading_options import Views
from hilum.errors import HilumError, StageError

app = typer.Typer(
    name="hilum",
    help="From a folder of chest radiographs to trained, tested, explained models and one report.",
    epilog="Example:  hilum study path/to/chest_xray --preset quick --out runs/real",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="A folder, a .csv or a .npz with radiographs, or the word 'phantom'."
    ),
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Preset = Annotated[str, typer.Option("--preset", help="quick, seed, best, or a recipe file (.yaml).")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one setting, for example multiclass.training.epochs=3. Repeatable."),
]
Out = Annotated[
    Path | None, typer.Option("--out", help="The run folder to write. Default: runs/DATA-PRESET.")
]
Source = Annotated[
    str | None, typer.Option("--source", help="The reader of the data. Default: the first that fits.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with what is already in the folder --out.")]
Skip = Annotated[bool, typer.Option("--skip-unreadable", help="Leave damaged files out instead of stopping.")]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", help="binary, multiclass or findings. Default: all. Repeatable."),
]
ClassTasks = Annotated[
    list[str] | None, typer.Option("--task", help="binary or multiclass. Default: all. Repeatable.")
]
Healthy = Annotated[
    str | None,
    typer.Option("--healthy", help="The label of people without findings, as the data writes it."),
]
PatientFrom = Annotated[
    str | None,
    typer.Option(
        "--patient-from",
        metavar="REGEX",
        help="A regular expression, searched in each path below DATA; its first group is the patient.",
    ),
]
Classes = Annotated[
    str | None, typer.Option("--classes", metavar="A,B,C", help="Read these labels only. Default: all.")
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude", metavar="GLOB", help="Leave out files and folders of this name or path. Repeatable."
    ),
]
ViewsRead = Annotated[
    Views | None,
    typer.Option("--views", help="all: read lateral and oblique views too. Default: frontal ones."),
]
ShowNames = Annotated[
    bool, typer.Option("--show-names", help="Keep patient identifiers and names of DICOM files as they are.")
]
DicomKey = Annotated[
    Path | None,
    typer.Option(
        "--dicom-key", metavar="FILE", help="A text file with a secret, the key of pseudonyms for DICOM."
    ),
]
Devices = Annotated[
    int, typer.Option("--devices", help="Processes that train together on each machine.", min=1)
]
Nodes = Annotated[
    int,
    typer.Option("--num-nodes", help="Machines that train together; torchrun or srun starts hilum.", min=1),
]
Strategy = Annotated[
    str, typer.Option("--strategy", help="ddp, or fsdp (weights in parts, CUDA devices alone).")
]
Force = Annotated[bool, typer.Option("--force", help="Do the stage again even if nothing has changed.")]


class Engine(StrEnum):
    """Who computes."""

    local = "local"
    ray = "ray"


def example(text: str) -> str:
    """The last line of a help page.

    >>> example("hilum report runs/real")
    'Example:  hilum report runs/real'
    """
    return f"Example:  {text}"


OF_ALL = (
    "torch",
    "lightning",
    "pandas",
    "scipy",
    "sklearn",
    "safetensors",
    "matplotlib",
    "jinja2",
    "jaxtyping",
    "threadpoolctl",
    "openTSNE",
    "cleanlab",
)
"""Packages of the extra `all`, which predicting with an exported model does without."""


class HilumInterrupt(Exception):
    """Ctrl-C with a sentence about what to do next."""


@contextmanager
def going_on(sentence: str = "the same command goes on with what is there") -> Iterator[None]:
    """Ctrl-C inside ends with how to go on.

    >>> with going_on():
    ...     raise KeyboardInterrupt
    Traceback (most recent call last):
    hilum.cli.app.HilumInterrupt: stopped; the same command goes on with what is there
    """
    try:
        yield
    except KeyboardInterrupt:
        raise HilumInterrupt(f"stopped; {sentence}") from None


def run() -> None:
    """Runs the command line; every error that a user can cause is one sentence and exit code 2, a stage that
    failed because of a defect is exit code 1.

    >>> from unittest.mock import patch
    >>> with patch("sys.argv", ["hilum", "report", "gone"]):
    ...     run()
    Traceback (most recent call last):
    SystemExit: 2
    """
    try:
        app()
    except StageError as error:
        end(str(error), 1)
    except HilumError as error:
        end(str(error), 2)
    except HilumInterrupt as stop:
        end(str(stop), 130)
    except KeyboardInterrupt:
        end("stopped", 130)
    except OSError as error:
        end(_sentence(error), 2)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in OF_ALL:
            raise
        end(f"this needs {package}, which is not installed; pip install 'hilum[all]'", 2)


def _sentence(error: OSError) -> str:
    """The operating system's complaint with place and remedy."""
    place = error.filename or "the disk"
    if error.errno == errno.ENOSPC:
        return f"{place}: no space left; free some space and go on with --resume"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place}: no permission; choose another folder or change its rights"
    return f"{place}: {error.strerror or error}; check that the place exists and can be used"


def end(sentence: str, code: int) -> None:
    """One sentence on standard error, and the exit code.

    >>> end("gone.png does not exist; name another file", 2)
    Traceback (most recent call last):
    SystemExit: 2
    """
    print(f"hilum: {sentence}", file=sys.stderr)
    sys.exit(code)
