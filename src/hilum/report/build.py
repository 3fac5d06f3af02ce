"""build_report: the sections in their order, printed into one page that needs nothing else."""

from collections.abc import Callable
from pathlib import Path

from hilum.files import write_text
from hilum.report.build_page import print_page
from hilum.report.explanations.section import make as explanations
from hilum.report.sections import Section
from hilum.report.sections.alternatives import alternatives
from hilum.report.sections.anomaly import anomaly
from hilum.report.sections.checklists import checklists
from hilum.report.sections.data import data
from hilum.report.sections.head import head
from hilum.report.sections.leakage import leakage
from hilum.report.sections.minute import minute
from hilum.report.sections.missing import missing
from hilum.report.sections.reliability import reliability
from hilum.report.sections.repeat import repeat
from hilum.report.sections.space import space
from hilum.report.sections.task import binary, multiclass
from hilum.run import Run

SECTIONS: tuple[Callable[[Run], Section | None], ...] = (
    head,
    minute,
    data,
    binary,
    multiclass,
    reliability,
    space,
    anomaly,
    explanations,
    missing,
    alternatives,
    leakage,
    repeat,
)
"""In the order of the page. A section that has nothing to say returns None and leaves no trace."""


def build_report(run: Run) -> Path:
    """Writes report/index.html of the run and gives its path back.

    Reads the run folder, and the radiographs where they still lie; needs neither GPU nor torch. The same
    run gives the same bytes: times and dates come from run.json.
    """
    sections = [section for make in SECTIONS if (section := make(run)) is not None]
    sections.append(checklists(sections))
    title = f"{run.facts().get('name') or run.path.name}: hilum report"
    write_text(run.report_file, print_page(title, sections))
    return run.report_file
