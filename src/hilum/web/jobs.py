"""Slow work: one job at a time, a bounded number of them, forgotten after a while."""

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from hilum.errors import HilumError
from hilum.threads import compute_alone
from hilum.web.limits import Busy

Status = Literal["queued", "running", "done", "failed"]
Report = Callable[[int, int | None], None]


class Cancelled(Exception):
    """The job is no longer wanted."""


@dataclass
class Job:
    """One job. `version` rises with each change; `total` is None while nobody knows it."""

    id: str
    status: Status = "queued"
    done: int = 0
    total: int | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    version: int = 0
    is_cancelled: bool = False
    made: float = field(default_factory=time.monotonic)
    begun: float | None = None

    def shown(self) -> dict[str, Any]:
        """The job as GET /v1/jobs/{id} gives it.

        >>> Job("7", done=1, total=4).shown()["seconds_left"] is None
        True
        """
        return {
            "status": self.status,
            "done": self.done,
            "total": self.total,
            "seconds_left": self._seconds_left(),
            "result": self.result,
            "error": self.error,
        }

    def _seconds_left(self) -> float | None:
        if self.status != "running" or self.begun is None or not self.total or not self.done:
            return None
        each = (time.monotonic() - self.begun) / self.done
        return round(max(0.0, each * (self.total - self.done)), 1)

    @property
    def is_over(self) -> bool:
        """Whether there is a result or an error.

        >>> Job("7", status="done").is_over
        True
        """
        return self.status in ("done", "failed")


class Jobs:
    """At most `number` jobs that wait, run, or have ended in the last `seconds`.

    >>> jobs = Jobs(2, 60.0)
    >>> job = jobs.submit(lambda report: {"answer": 42})
    >>> while not job.is_over:
    ...     time.sleep(0.01)
    >>> job.result
    {'answer': 42}
    >>> jobs.stop()
    """

    def __init__(self, number: int, seconds: float) -> None:
        self.number, self.seconds = number, seconds
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="jobs", initializer=compute_alone)

    def submit(self, work: Callable[[Report], dict[str, Any]]) -> Job:
        """Queues work, which is given a function to report (done, total) to. Busy when there are too many jobs; those
        that have ended make room first.

        >>> jobs = Jobs(1, 60.0)
        >>> jobs.submit(lambda report: {}).status in ("queued", "running", "done")
        True
        >>> jobs.stop()
        """
        job = Job(secrets.token_urlsafe(12))
        with self._lock:
            self._forget()
            if len(self._jobs) >= self.number:
                ended = [other for other in self._jobs.values() if other.is_over]
                if not ended:
                    raise Busy(
                        f"all {self.number} places for slow explanations are taken; try again later", 5
                    )
                del self._jobs[min(ended, key=lambda other: other.made).id]
            self._jobs[job.id] = job
        self._pool.submit(self._run, job, work)
        return job

    def get(self, name: str) -> Job | None:
        """A job by its id; None when there is none, or no longer.

        >>> Jobs(2, 60.0).get("7") is None
        True
        """
        with self._lock:
            self._forget()
            return self._jobs.get(name)

    def cancel(self, name: str) -> bool:
        """Ends and forgets a job; whether there was one.

        >>> Jobs(2, 60.0).cancel("7")
        False
        """
        with self._lock:
            job = self._jobs.pop(name, None)
        if job is not None:
            job.is_cancelled = True
        return job is not None

    @property
    def active(self) -> int:
        """Jobs that wait or run.

        >>> Jobs(2, 60.0).active
        0
        """
        with self._lock:
            return sum(not job.is_over for job in self._jobs.values())

    def stop(self) -> None:
        """Ends all jobs.

        >>> Jobs(1, 60.0).stop()
        """
        with self._lock:
            for job in self._jobs.values():
                job.is_cancelled = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _forget(self) -> None:
        oldest = time.monotonic() - self.seconds
        for job in [job for job in self._jobs.values() if job.is_over and job.made < oldest]:
            del self._jobs[job.id]

    @staticmethod
    def _run(job: Job, work: Callable[[Report], dict[str, Any]]) -> None:
        def report(done: int, total: int | None) -> None:
            if job.is_cancelled:
                raise Cancelled
            job.done, job.total = done, total if total is None or total >= done else None
            job.version += 1

        try:
            report(0, None)
            job.status, job.begun = "running", time.monotonic()
            job.result = work(report)
            job.status = "done"
        except Cancelled:
            job.error, job.status = "the job was cancelled", "failed"
        except HilumError as error:
            job.error, job.status = str(error), "failed"
        except Exception as error:
            job.error, job.status = (
                f"the explanation failed ({type(error).__name__}); try another method",
                "failed",
            )
        job.version += 1
