"""The errors that hilum raises on purpose.

Each is one sentence that names the value, the place and the remedy. The command line prints that
sentence and ends with exit code 2; a traceback from hilum is therefore always a defect of hilum.
"""


class HilumError(Exception):
    """Base of all errors that a user can cause and correct.

    >>> str(DataError("cases.csv row 412: split 'tset' is not one of train, val, test", "correct the cell"))
    "cases.csv row 412: split 'tset' is not one of train, val, test; correct the cell"
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.what = what
        self.remedy = remedy


class DataError(HilumError):
    """Radiographs, tables or splits that can't be used as they are."""


class RecipeError(HilumError):
    """A recipe with an unknown key, a value out of range, or settings that exclude each other."""


class ModelError(HilumError):
    """A model folder that is damaged, or that does not fit its use."""


class RunError(HilumError):
    """A run folder that is missing, half written, or of another version."""


class StageError(HilumError):
    """A stage that failed because of a defect of hilum; the traceback lies in the run folder."""


class TrainingError(HilumError):
    """Training that can't continue, for example because the loss is not a number."""


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str:
    """The known word closest to a mistyped one, as a hint for an error sentence; empty if none is near.

    >>> nearest("lerning_rate", ["learning_rate", "epochs"])
    "did you mean 'learning_rate'?"
    """
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known are: {', '.join(known)}"
