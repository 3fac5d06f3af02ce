"""Stages that somebody else brings: files in the folders that $HILUM_PLUGINS names.

    FOLDER/stages/<name>.py               a STAGE, as in hilum/stages
    FOLDER/report/<name>/section.py       a make(run), as in hilum/report; template.html beside it

Several folders are separated as in PATH. A stage of a plug-in joins the study, its resume, the commands and the
report like any other.
"""

from hilum.builders import load_file, plugin_folders
from hilum.errors import RecipeError
from hilum.stages.contract import Stage


def plugins() -> list[Stage]:
    """The stages of all plug-in folders, in order of folder and file name. RecipeError for a file without a
    STAGE, and for a folder that does not exist.

    >>> plugins()  # without $HILUM_PLUGINS
    []
    """
    stages = []
    for folder in plugin_folders():
        for path in sorted(folder.glob("stages/*.py")):
            stage = getattr(load_file(path, f"hilum_plugin_{path.stem}"), "STAGE", None)
            if not isinstance(stage, Stage):
                raise RecipeError(f"{path} has no STAGE", "see hilum/stages/contract.py")
            stages.append(stage)
    return stages
