"""The section that stands where a stage has left nothing: why, and the command that makes it."""

from hilum.report import commands
from hilum.report.section import Section
from hilum.report.wording import sentence
from hilum.run import Run


def absent(run: Run, stage: str, anchor: str, title: str) -> Section:
    """A section that says why there are no results of `stage` (it was skipped, it failed, or it has not run)
    and how to make them.

    >>> from hilum.artifacts.run import RunFacts, StageRecord
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(), {"tasks": {}})
    ...     run.record_stage("embed binary", StageRecord(status="skipped", reason="9 images are too few"))
    ...     absent(run, "embed", "embedding", "Embedding space").values["sentence"]
    '9 images are too few.'
    """
    reasons = run.skip_reasons(stage)
    why = " ".join(sentence(reason) for reason in reasons) or "This stage has not run yet."
    how = "This command tries again:" if reasons else "This command makes it:"
    values = {"sentence": why, "how": how, "command": commands.stage(run, stage)}
    return Section(anchor, title, "absent.html", values)
