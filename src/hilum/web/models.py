"""The models that are served: those of the runs first, then the packaged ones; loaded when they are first asked."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.artifacts.card import ModelCard, PixelContract
from hilum.data.tasks import kind_of
from hilum.errors import HilumError, RunError, nearest
from hilum.explain.attribution import methods
from hilum.inference.predictor import Predictor
from hilum.progress import say
from hilum.run import Run
from hilum.serving.predictor import predictor_for

SCHEMA_VERSION = 1
"""Of the answers; raised when the meaning of a key changes."""

PACKAGED = "packaged"


class NoSuchModel(HilumError):
    """A model id that is not served."""


@dataclass
class Served:
    """One model. `run_id`, `run`, `task`: where it lies; None for the packaged models."""

    id: str
    device: str
    run_id: str | None = None
    run: Run | None = None
    task: str | None = None
    _predictor: Predictor | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def predictor(self) -> Predictor:
        """The model, loaded. HilumError when its folder is gone or damaged.

        >>> Served("packaged", "cpu").predictor.classes
        ('normal', 'bacteria', 'virus')
        """
        with self._lock:
            if self._predictor is None:
                place = self.run.path / self.task if self.run is not None and self.task else None
                self._predictor = predictor_for(place, self.device)
            return self._predictor

    @property
    def has_neighbors(self) -> bool:
        """Whether the run has embeddings of its training images.

        >>> Served("packaged", "cpu").has_neighbors
        False
        """
        if self.run is None or self.task is None or kind_of(self.task) != "single":
            return False
        return self.run.task(self.task).embeddings.figures_file.exists()

    def listed(self) -> dict[str, Any]:
        """The model as GET /v1/models shows it. A model of a run is not loaded for it.

        >>> shown = Served("packaged", "cpu").listed()
        >>> shown["id"], shown["classes"], shown["neighbors"]
        ('packaged', ['normal', 'bacteria', 'virus'], False)
        """
        if self.run is None or self.task is None:
            predictor = self.predictor
            name, digest = (
                (predictor.name.name, predictor.name.digest) if predictor.name else (PACKAGED, None)
            )
            pixels, classes, single = (
                predictor.classifier.runtime.pixels.to_contract(),
                predictor.classes,
                True,
            )
        else:
            card = self.run.task(self.task).card()
            name, digest, pixels, classes = _name_of(card), card.weights_digest, card.pixels, card.classes
            single = kind_of(self.task) == "single"
        return {
            "id": self.id,
            "name": name,
            "digest": digest,
            "task": self.task or "multiclass",
            "classes": list(classes),
            "pixels": _contract(pixels),
            "schema_version": SCHEMA_VERSION,
            "methods": methods() if single else [],
            "neighbors": self.has_neighbors,
            "run": self.run_id,
        }


def _name_of(card: ModelCard) -> str:
    return f"{card.task}/{card.architecture.name}" if card.task else card.architecture.name


def _contract(pixels: PixelContract) -> dict[str, Any]:
    return pixels.model_dump(mode="json")


class Models:
    """The served models by id; `runs`: the runs by id, the name of the folder, with a number where two share one."""

    def __init__(self, runs: Iterable[Run], device: str = "auto") -> None:
        self.runs: dict[str, Run] = {}
        self._served: dict[str, Served] = {}
        for run in runs:
            run_id = _free(run.path.resolve().name, self.runs)
            self.runs[run_id] = run
            for task in run.tasks:
                name = f"{run_id}/{task}"
                self._served[name] = Served(name, device, run_id, run, task)
        self._served[PACKAGED] = Served(PACKAGED, device)

    @property
    def default(self) -> Served:
        """The model that answers where none is named.

        >>> Models([]).default.id
        'packaged'
        """
        return next(iter(self._served.values()))

    def get(self, name: str | None) -> Served:
        """A model by its id; the default for None. NoSuchModel with the nearest id.

        >>> Models([]).get("pakaged")
        Traceback (most recent call last):
        hilum.web.models.NoSuchModel: the model 'pakaged' is not served; did you mean 'packaged'?
        """
        if name is None:
            return self.default
        if name not in self._served:
            raise NoSuchModel(
                f"the model {name[:80]!r} is not served", nearest(name[:80], list(self._served))
            )
        return self._served[name]

    def listed(self) -> list[dict[str, Any]]:
        """All models, the default first. One whose card has gone is left out.

        >>> [model["id"] for model in Models([]).listed()]
        ['packaged']
        """
        shown = []
        for served in self._served.values():
            try:
                shown.append(served.listed())
            except HilumError:
                continue
        return shown


def _free(name: str, taken: dict[str, Run]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def runs_of(paths: Sequence[Path], folder: Path | None) -> list[Run]:
    """The runs at `paths`, and those in a folder, newest name last. RunError for a path that is no run; what is no run
    in the folder is left out, with a line.

    >>> runs_of([Path("gone")], None)
    Traceback (most recent call last):
    hilum.errors.RunError: run folder gone does not exist; make one with: hilum study DATA --out PATH
    """
    runs = [Run(path) for path in paths]
    if folder is None:
        return runs
    if not folder.is_dir():
        raise RunError(f"--runs {folder} is no folder", "name a folder of runs")
    known = {run.path.resolve() for run in runs}
    for place in sorted(path.parent for path in folder.glob("*/run.json")):
        if place.resolve() not in known:
            try:
                runs.append(Run(place))
            except HilumError as error:
                say(f"left out: {error}")
    return runs
