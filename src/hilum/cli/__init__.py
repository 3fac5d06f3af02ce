"""The command line: one short command per stage. Heavy imports stay inside the commands."""

from hilum.cli.app import app as app
from hilum.cli.app import end, run
from hilum.errors import HilumError

_unusable = ""
try:  # in the order of `hilum --help`
    from hilum.cli import study as study  # isort: skip
    from hilum.cli import stages as stages  # isort: skip
    from hilum.cli import predict as predict  # isort: skip
    from hilum.cli import neighbors as neighbors  # isort: skip
    from hilum.cli import score as score  # isort: skip
    from hilum.cli import export as export  # isort: skip
    from hilum.cli import adapt as adapt  # isort: skip
    from hilum.cli import serve as serve  # isort: skip
    from hilum.cli import compare as compare  # isort: skip
    from hilum.cli import track as track  # isort: skip
    from hilum.cli import data as data  # isort: skip
except HilumError as error:  # a plug-in that can't be loaded: no command can be trusted to be complete
    _unusable = str(error)


def main() -> None:
    """Runs the command line; every error that a user can cause is one sentence and exit code 2.

    >>> from unittest.mock import patch
    >>> with patch("sys.argv", ["hilum", "report", "gone"]):
    ...     main()
    Traceback (most recent call last):
    SystemExit: 2
    """
    if _unusable:
        end(_unusable, 2)
    run()
