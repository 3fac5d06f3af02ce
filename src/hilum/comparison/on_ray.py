"""The trainings of a comparison on a Ray cluster, each with one CPU, and one GPU where the cluster has any.

A task writes into the folder of its training, so DATA and the folder of the comparison are seen by all machines under
the same paths. A task that is lost with its process or its machine costs its training alone.
"""

import pickle
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from hilum.comparison.local import SECONDS
from hilum.comparison.train import Job, Look, Training, attempt, finished
from hilum.errors import RunError
from hilum.progress import console
from hilum.workers import alone, connected


def attempt_remotely(data: bytes) -> str | None:
    """`hilum.comparison.train.attempt` of a pickled training, in a process of its own.

    >>> attempt_remotely(b"no training")
    Traceback (most recent call last):
    _pickle.UnpicklingError: ...
    """
    training: Training = pickle.loads(data)
    alone()
    console.quiet = True
    return attempt(training)


@dataclass
class RayEngine:
    """Tasks on Ray. `workers`: how many at once; None for one per CPU of the cluster, or per GPU where it has any."""

    workers: int | None

    def run(self, jobs: Iterable[Job], look: Look) -> Iterator[tuple[int, str | None]]:
        """As `hilum.comparison.local.LocalEngine.run`. HilumError where ray is not installed, RunError when the cluster
        is gone.

        >>> list(RayEngine(2).run([], lambda trainings: None))
        []
        """
        jobs = iter(jobs)
        job = next(jobs, None)
        if job is None:
            return
        ray = connected(self.workers)
        try:
            yield from self._run(ray, [job], jobs, look)
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise RunError(
                f"Ray gave up ({str(error).splitlines()[0]}); finished trainings are kept",
                "see Ray's log, then the same command goes on",
            ) from None

    def _run(
        self, ray: Any, waiting: list[Job], jobs: Iterator[Job], look: Look
    ) -> Iterator[tuple[int, str | None]]:
        resources = ray.cluster_resources()
        on_gpu = resources.get("GPU", 0) >= 1
        most = self.workers or max(1, int(resources.get("GPU" if on_gpu else "CPU", 1)))
        task = ray.remote(num_cpus=1, num_gpus=int(on_gpu), max_retries=0)(attempt_remotely)
        running: dict[Any, Job] = {}
        try:
            while True:
                while len(running) < most and (job := waiting.pop() if waiting else next(jobs, None)):
                    running[task.remote(pickle.dumps(job[1]))] = job
                if not running:
                    return
                for answer in ray.wait([*running], timeout=SECONDS)[0]:
                    number, training = running.pop(answer)
                    yield number, _failure(ray, answer, training)
                look([training for _, training in running.values()])
        finally:
            for answer in running:
                ray.cancel(answer, force=True)


def _failure(ray: Any, answer: Any, training: Training) -> str | None:
    """Why a task failed that has ended; None where it did not."""
    try:
        failure = ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        return f"it could not start on a machine of the cluster ({str(error).strip().splitlines()[-1]})"
    except ray.exceptions.RayError as error:
        return f"Ray lost its process ({str(error).splitlines()[0]}); the same command trains it again"
    if failure is None and finished(training) is None:
        return f"{training.folder} is not seen by all machines of the cluster; choose another --out"
    return failure
