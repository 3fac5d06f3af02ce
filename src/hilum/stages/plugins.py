"""Stages that somebody else brings: files in the folders that $HILUM_PLUGINS names.

    FOLDER/stages/<name>.py               a STAGE, as in hilum/stages
    FOLDER/report/<name>/section.py       a make(run), as in hilum/report; template.html beside it

Several folders are separated as in PATH. A stage of a plug-in joins the study, its resume, the commands and the
report like any other.
"""

import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from hilum.errors import RecipeError
from hilum.stages.contract import Stage


def plugin_folders() -> list[Path]:
    """The folders that $HILUM_PLUGINS names. RecipeError for one that does not exist."""
    folders = [Path(part) for part in os.environ.get("HILUM_PLUGINS", "").split(os.pathsep) if part]
    for folder in folders:
        if not folder.is_dir():
            raise RecipeError(f"HILUM_PLUGINS names {folder}, which is no folder", "correct the variable")
    return folders


def load_file(path: Path, name: str) -> ModuleType:
    """The module in a file that is in no package."""
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise RecipeError(f"{path} can't be loaded", "a plug-in is a Python file")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plugins() -> list[Stage]:
    """The stages of all plug-in folders, in order of folder and file name."""
    stages = []
    for folder in plugin_folders():
        for path in sorted(folder.glob("stages/*.py")):
            found = getattr(load_file(path, f"hilum_plugin_{path.stem}"), "STAGE", None)
            if not isinstance(found, Stage):
                raise RecipeError(f"{path} has no STAGE", "see hilum/stages/contract.py")
            stages.append(found)
    return stages
