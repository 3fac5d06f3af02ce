"""How much would leakage have bought: the ledger that the study has drawn from short trainings."""

import shlex

from hilum.report import commands
from hilum.report.leaked import ledger_section
from hilum.report.sections import Section
from hilum.run import Run


def ledger(run: Run) -> Section | None:
    """The ledger of this run; None where there is none."""
    if not run.ledger.figures_file.exists():
        return None
    given = str(run.facts().get("data", {}).get("given") or "DATA")
    command = commands.whole(run) or shlex.join(["hilum", "compare", given, "--ledger"])
    return ledger_section(run.ledger, run.audit(), command)
