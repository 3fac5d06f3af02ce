"""How much would leakage have bought: the leakage that the study has drawn from short trainings."""

import shlex

from hilum.report import commands
from hilum.report.leaked import leakage_section
from hilum.report.sections import Section
from hilum.run import Run


def leakage(run: Run) -> Section | None:
    """The leakage of this run; None where there is none."""
    if not run.leakage.figures_file.exists():
        return None
    given = str(run.facts().get("data", {}).get("given") or "DATA")
    command = commands.whole(run) or shlex.join(["hilum", "compare", given, "--leakage"])
    return leakage_section(run.leakage, run.audit(), command)
