"""Who trains the cells of a comparison: this process, worker processes of this machine, or a Ray cluster.

This process trains one network after the other, with all its threads. Workers of either kind have one thread each: what
they give does not depend on their number, nor on the engine.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Literal, Protocol, runtime_checkable

from hilum.comparison.local import LocalEngine
from hilum.comparison.on_ray import RayEngine
from hilum.comparison.train import Job, Look, Training, attempt, finished
from hilum.errors import RunError
from hilum.progress import Advance, advancing, say

EngineName = Literal["local", "ray"]


@runtime_checkable
class Engine(Protocol):
    """Whoever trains: see `hilum.comparison.local.LocalEngine`."""

    def run(self, jobs: Iterable[Job], look: Look) -> Iterator[tuple[int, str | None]]:
        """(number, why it failed or None) of each job as it ends.

        >>> isinstance(Here(), Engine), isinstance(RayEngine(2), Engine)
        (True, True)
        """
        ...


class Here:
    """This process."""

    def run(self, jobs: Iterable[Job], look: Look) -> Iterator[tuple[int, str | None]]:
        """One job after the other; `look` is not called, as the training has a bar of its own.

        >>> list(Here().run([], lambda trainings: None))
        []
        """
        for number, training in jobs:
            yield number, attempt(training)


def engine_of(name: EngineName, workers: int | None) -> Engine:
    """The engine of a command. `workers`: trainings at once; None: for "local", in this process; for "ray", as many as
    the cluster can take. RunError where ray is not installed.

    >>> engine_of("local", None), engine_of("ray", 2)
    (<hilum.comparison.spread.Here object at ...>, RayEngine(workers=2))
    """
    if name == "ray":
        if find_spec("ray") is None:
            raise RunError("the engine ray needs the package ray", "install it: pip install 'hilum[ray]'")
        return RayEngine(workers)
    return Here() if workers is None else LocalEngine(workers)


def train_all(trainings: Mapping[str, Sequence[Training]], engine: Engine) -> dict[str, str]:
    """Trains what is not finished of some cells, and gives cell -> why a training of it failed. What is left of a cell
    that has failed is not trained; the other cells go on.

    Seed by seed and fold by fold, so that a comparison that was stopped has all cells.

    >>> train_all({"vgg": []}, Here())
    {}
    """
    rounds = zip(*trainings.values(), strict=True)
    order = [pair for round_ in rounds for pair in zip(trainings, round_, strict=True)]
    due = [number for number, (_, training) in enumerate(order) if finished(training) is None]
    failures: dict[str, tuple[int, str]] = {}

    def jobs() -> Iterator[Job]:
        for number in due:
            cell, training = order[number]
            if cell not in failures:
                say(f"{number + 1}/{len(order)}  {training.name}")
                yield number, training

    alone = isinstance(engine, Here)  # then the training shows a bar of its own
    bar = nullcontext(lambda done, total: None) if alone else advancing("epochs of all trainings")
    with bar as advance:
        epochs = _Epochs([order[number][1] for number in due], advance)
        for number, failure in engine.run(jobs(), epochs.look):
            cell, training = order[number]
            epochs.ended(training)
            if failure is not None:
                say(f"  {cell} failed: {failure}")
                failures[cell] = min(failures.get(cell, (number, failure)), (number, failure))
    return {cell: failures[cell][1] for cell in trainings if cell in failures}


class _Epochs:
    """How far several trainings are, from their history.csv."""

    def __init__(self, trainings: Sequence[Training], advance: Advance) -> None:
        self.total = sum(training.recipe.training.epochs for training in trainings)
        self.done = 0
        self.advance = advance

    def look(self, running: Iterable[Training]) -> None:
        """Shows the epochs of the trainings that have ended and of those that run."""
        self.advance(self.done + sum(map(_epochs, running)), self.total)

    def ended(self, training: Training) -> None:
        """Counts all epochs of a training, even where they were not all needed."""
        self.done += training.recipe.training.epochs


def _epochs(training: Training) -> int:
    """Finished epochs of a training: lines of its history.csv after the first."""
    try:
        return max(0, (training.folder / "history.csv").read_bytes().count(b"\n") - 1)
    except OSError:
        return 0
