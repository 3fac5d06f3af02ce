"""Progress on the terminal: a bar with time left in a terminal, plain lines where output goes to a file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int, int], None]
"""Called with (done, total) as work goes on."""

console = Console(stderr=True, highlight=False)


def bar(*fields: str) -> Progress:
    """A bar with count, further text fields, elapsed time and time left; silent when not on a terminal.

    >>> with bar("loss") as progress:
    ...     task = progress.add_task("training", total=2, loss="0.7")
    ...     progress.update(task, advance=1, loss="0.5")
    ...     progress.tasks[task].percentage
    50.0
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        *(TextColumn("{task.fields[" + name + "]}") for name in fields),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


@contextmanager
def advancing(what: str) -> Iterator[Advance]:
    """A bar for work that reports (done, total).

    >>> with advancing("decoding") as advance:
    ...     advance(1, 2)
    """
    with bar() as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def say(text: str) -> None:
    """Prints a line on standard error: standard output is for results."""
    console.print(text, markup=False, soft_wrap=True)
