"""Alternatives: the table of `hilum compare`, where one lies in the run folder (--out RUN/compare)."""

from hilum.report.compared import comparison_section
from hilum.report.sections import Section
from hilum.run import Run


def alternatives(run: Run) -> Section | None:
    """The comparison that was made into this run; None where there is none."""
    if not run.comparison.figures_file.exists():
        return None
    return comparison_section(run.comparison)
