"""The engine "ray": Ray Data, with actors that hold the model, on this machine or on a cluster.

Ray gives the chunks to the actors, starts an actor again when its process or its machine is lost, and does its chunk
again. Rows come back to the main process, which alone writes parts. Chunks go to Ray in groups, so that the list of
images is never in memory as a whole.
"""

import logging
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from typing import Any

import numpy as np

from hilum.errors import HilumError, RunError
from hilum.progress import Advance
from hilum.scale.score_worker import Chunk, Scorer, Settings
from hilum.workers import alone, connected

GROUP = 2048
"""Chunks that Ray Data gets at a time."""

RESTARTS = 20
"""So often an actor is started again, and a chunk given to another, before the work is given up."""


class RayScorer:
    """What an actor holds. A HilumError comes back as its sentence: other machines need not have its class."""

    def __init__(self, settings: Settings) -> None:
        alone()
        self.scorer = Scorer(settings)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """{"number", "rows", "error"} of a batch of pickled chunks."""
        answers: dict[str, list[Any]] = {"number": [], "rows": [], "error": []}
        for data in batch["chunk"]:
            chunk: Chunk = pickle.loads(data)
            rows, error = b"", ""
            try:
                rows = self.scorer.score(chunk, lambda done: None)
            except HilumError as raised:
                error = str(raised)
            for name, value in (("number", chunk.number), ("rows", rows), ("error", error)):
                answers[name].append(value)
        return {**answers, "number": np.array(answers["number"])}


@dataclass
class RayEngine:
    """Actors on Ray; fields as in `hilum.scale.score_local.LocalEngine`. `workers`: None for one per CPU of the
    cluster, or per GPU where the device is a GPU."""

    settings: Settings
    workers: int | None
    total: int
    done: int
    advance: Advance

    def run(self, chunks: Iterator[Chunk]) -> Iterator[tuple[int, bytes]]:
        """(number, rows) of each chunk as it is finished, each exactly once, in any order. HilumError as an actor
        raises it; RunError when actors end again and again.

        >>> list(RayEngine(Settings(None, "cpu", None, None), 2, 0, 0, lambda done, total: None).run(iter([])))
        []
        """
        while group := list(islice(chunks, GROUP)):
            ray = _connected(self.workers)
            waiting = {chunk.number: len(chunk.refs) for chunk in group}
            try:
                for number, rows in self._rows(ray, group):
                    if images := waiting.pop(number, 0):  # Ray may give the rows of a lost actor twice
                        self.done += images
                        self.advance(self.done, self.total)
                        yield number, rows
            except ray.exceptions.RayError as error:
                raise RunError(
                    f"Ray gave up ({str(error).splitlines()[0]}); finished parts are kept",
                    "see Ray's log, then the same command goes on",
                ) from None
            if waiting:
                raise RunError(f"Ray lost {len(waiting)} chunks; finished parts are kept", "run it again")

    def _rows(self, ray: Any, group: list[Chunk]) -> Iterator[tuple[int, bytes]]:
        on_gpu = self.settings.device.startswith("cuda")
        actors = self.workers or max(1, int(ray.cluster_resources().get("GPU" if on_gpu else "CPU", 1)))
        data = ray.data.from_items(
            [{"chunk": pickle.dumps(chunk)} for chunk in group], override_num_blocks=len(group)
        )
        scored = data.map_batches(
            RayScorer,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=min(actors, len(group))),
            fn_constructor_args=(self.settings,),
            num_cpus=1,
            num_gpus=1 if on_gpu else 0,
            ray_remote_args_fn=lambda: {"max_restarts": RESTARTS, "max_task_retries": RESTARTS},
        )
        for batch in scored.iter_batches(batch_size=None, prefetch_batches=0):
            for number, rows, error in zip(batch["number"], batch["rows"], batch["error"], strict=True):
                if error:
                    raise HilumError(str(error))
                yield int(number), bytes(rows)


def _connected(workers: int | None) -> Any:
    """The package ray, connected as in `hilum.workers.connected`, with a Ray Data that keeps silent."""
    ray = connected(workers)
    import_module("ray.data")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what it says becomes one sentence
    return ray
