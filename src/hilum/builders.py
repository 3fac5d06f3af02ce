"""One file, one component: what a recipe names is a module with `build`, found by its name.

Models, detectors and feature networks are all chosen so; a dotted name loads a component from elsewhere, and
$HILUM_PLUGINS names folders that bring more: FOLDER/stages/<name>.py and FOLDER/report/<name>/section.py.
"""

import inspect
import os
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from hilum.errors import RecipeError, nearest


def with_build(package: str, path: Iterable[str]) -> list[str]:
    """The files of a package that define `build` themselves, sorted; helper files do not.

    >>> import hilum.models
    >>> "vgg" in with_build("hilum.models", hilum.models.__path__)
    True
    """
    names = []
    for module in iter_modules(path):
        if not module.ispkg:
            maker = getattr(import_module(f"{package}.{module.name}"), "build", None)
            if getattr(maker, "__module__", None) == f"{package}.{module.name}":
                names.append(module.name)
    return sorted(names)


def find_build(
    kind: str, name: str, package: str, known: list[str], options: dict[str, Any], given: int
) -> Callable[..., Any]:
    """`build` of the module `name` of `package`, or of any module where the name has a dot.

    `kind`: the word for error sentences; `given`: how many of its first parameters are not options.
    RecipeError for an unknown name or option, with the nearest known one.

    >>> find_build("model", "vgg", "hilum.models", ["vgg"], {"dropuot": 0.1}, given=2)
    Traceback (most recent call last):
    hilum.errors.RecipeError: model 'vgg' has no option 'dropuot'; did you mean 'dropout'?
    """
    if "." not in name and name not in known:
        raise RecipeError(f"{kind} {name!r} is not known", nearest(name, known))
    try:
        maker = import_module(name if "." in name else f"{package}.{name}").build
    except (ImportError, AttributeError) as error:
        raise RecipeError(
            f"{kind} {name!r} can't be loaded ({error})", "name a module with build()"
        ) from None
    known_options = list(inspect.signature(maker).parameters)[given:]
    for key in options:
        if key not in known_options:
            raise RecipeError(f"{kind} {name!r} has no option {key!r}", nearest(key, known_options))
    return maker


def built(kind: str, name: str, maker: Callable[..., Any], *given: Any, **options: Any) -> Any:
    """maker(*given, **options). RecipeError for an option of the wrong type, which YAML can hold.

    >>> built("model", "range", range, 3)
    range(0, 3)
    """
    try:
        return maker(*given, **options)
    except TypeError as error:
        raise RecipeError(
            f"{kind} {name!r}: an option has the wrong type ({error})", "see its file"
        ) from None


def plugin_folders() -> list[Path]:
    """The folders that $HILUM_PLUGINS names, separated as in PATH. RecipeError for one that does not exist.

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, HILUM_PLUGINS="/nowhere"):
    ...     plugin_folders()
    Traceback (most recent call last):
    hilum.errors.RecipeError: HILUM_PLUGINS names /nowhere, which is not a folder; correct the variable
    """
    folders = [Path(part) for part in os.environ.get("HILUM_PLUGINS", "").split(os.pathsep) if part]
    for folder in folders:
        if not folder.is_dir():
            raise RecipeError(f"HILUM_PLUGINS names {folder}, which is not a folder", "correct the variable")
    return folders


def load_file(path: Path, name: str) -> ModuleType:
    """The module in a file that is in no package, under this name.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "mine.py").write_text("ANSWER = 7")
    ...     load_file(Path(folder) / "mine.py", "mine").ANSWER
    7
    """
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{path} can't be loaded", "a plug-in is a Python file")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
