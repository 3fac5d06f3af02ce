"""The command lines that make a part of the run again, as the user would type them."""

import shlex

from hilum.run import Run


def place(run: Run) -> str:
    """The run folder as the user named it with --out, else the path it was opened by.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place(Run.create(folder, RunFacts(argv=["hilum", "study", "phantom", "--out", "runs/mine"]), {}))
    'runs/mine'
    """
    return _option(_argv(run), "--out") or run.path.as_posix()


def whole(run: Run) -> str:
    """The command that made the run, word for word; empty when run.json does not record it.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     whole(Run.create(folder, RunFacts(argv=["hilum", "study", "my images", "--out", "runs/mine"]), {}))
    "hilum study 'my images' --out runs/mine"
    """
    return shlex.join(_argv(run))


def train_task(run: Run, task: str) -> str:
    """The command that adds `task` to this run: what made the run, for this task, with --resume.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(folder, RunFacts(argv=["hilum", "study", "phantom", "--out", "runs/mine"]), {})
    ...     train_task(run, "binary")
    'hilum study phantom --out runs/mine --task binary --resume'
    """
    words = _without(_argv(run), "--task") or ["hilum", "study", _data(run), "--out", run.path.as_posix()]
    words += ["--task", task]
    if _option(words, "--out") is None:
        words += ["--out", run.path.as_posix()]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])


def evaluate(run: Run) -> str:
    """Predictions and figures again, with the weights of the run.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     evaluate(Run.create(folder, RunFacts(argv=["hilum", "study", "phantom", "--out", "runs/mine"]), {}))
    'hilum evaluate runs/mine'
    """
    return shlex.join(["hilum", "evaluate", place(run)])


def stage(run: Run, name: str) -> str:
    """One stage and what it needs, with the settings of the run.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stage(Run.create(folder, RunFacts(argv=["hilum", "study", "phantom", "--out", "runs/mine"]), {}), "embed")
    'hilum embed runs/mine'
    """
    return shlex.join(["hilum", name, place(run)])


def report(run: Run) -> str:
    """The report again.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report(Run.create(folder, RunFacts(argv=["hilum", "study", "phantom", "--out", "runs/mine"]), {}))
    'hilum report runs/mine'
    """
    return shlex.join(["hilum", "report", place(run)])


def serve(run: Run) -> str:
    """The page for single images, with the models and the report of the run.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     serve(Run.create(folder, RunFacts(argv=["hilum", "study", "phantom", "--out", "runs/mine"]), {}))
    'hilum serve runs/mine'
    """
    return shlex.join(["hilum", "serve", place(run)])


def anomaly(run: Run) -> str:
    """Detectors fitted on healthy images, with the choices at hand.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     anomaly(Run.create(folder, RunFacts(argv=["hilum", "study", "phantom", "--out", "runs/mine"]), {}))
    'hilum anomaly runs/mine'
    """
    return shlex.join(["hilum", "anomaly", place(run)])


def explain(run: Run) -> str:
    """Maps, filters and what they are worth again, with the weights at hand.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     explain(Run.create(folder, RunFacts(argv=["hilum", "study", "phantom", "--out", "runs/mine"]), {}))
    'hilum explain runs/mine'
    """
    return shlex.join(["hilum", "explain", place(run)])


def audit(run: Run) -> str:
    """The audit alone, in the terminal.

    >>> from hilum.artifacts.run import DataFacts, RunFacts
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     audit(Run.create(folder, RunFacts(data=DataFacts(given="path/to/chest_xray")), {}))
    'hilum data audit path/to/chest_xray'
    """
    return " ".join([shlex.join(["hilum", "data", "audit", _data(run)]), *run.facts().data.reading.shaped_by])


def _argv(run: Run) -> list[str]:
    """The words of the command line; empty when the run was made from Python or by something else."""
    words = run.facts().argv
    return words if words[:2] in (["hilum", "study"], ["hilum", "train"]) else []


def _data(run: Run) -> str:
    return run.facts().data.place or "DATA"


def _option(words: list[str], name: str) -> str | None:
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


def _without(words: list[str], name: str) -> list[str]:
    """The words without an option and its value."""
    kept, skip = [], False
    for word in words:
        if not skip and word != name and not word.startswith(f"{name}="):
            kept.append(word)
        skip = word == name
    return kept
