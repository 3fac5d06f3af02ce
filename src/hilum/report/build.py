"""build_report: the sections in their order, printed into one page that needs nothing else."""

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hilum.files import write_text
from hilum.report.sections import Section
from hilum.report.sections.anomaly import anomaly
from hilum.report.sections.checklists import checklists
from hilum.report.sections.data import data
from hilum.report.sections.explain import explain
from hilum.report.sections.head import head
from hilum.report.sections.minute import minute
from hilum.report.sections.missing import missing
from hilum.report.sections.repeat import repeat
from hilum.report.sections.space import space
from hilum.report.sections.task import binary, etiology
from hilum.report.sections.trust import trust
from hilum.run import Run

SECTIONS: tuple[Callable[[Run], Section | None], ...] = (
    head,
    minute,
    data,
    binary,
    etiology,
    trust,
    space,
    anomaly,
    explain,
    missing,
    repeat,
)
"""In the order of the page. A section that has nothing to say returns None and leaves no trace."""

TEMPLATES = Path(__file__).parent / "templates"


def build_report(run: Run) -> Path:
    """Writes report/index.html of the run and gives its path back.

    Reads the run folder, and the radiographs where they still lie; needs neither GPU nor torch. The same
    run gives the same bytes: times and dates come from run.json.
    """
    printer = _printer()
    sections = [section for make in SECTIONS if (section := make(run)) is not None]
    sections.append(checklists(sections))
    printed = [Markup(printer.get_template(one.template).render(one.values, section=one)) for one in sections]
    page = printer.get_template("page.html").render(
        title=f"{run.facts().get('name') or run.path.name}: hilum report",
        parts=list(zip(sections, printed, strict=True)),
    )
    write_text(run.report_file, page)
    return run.report_file


def _printer() -> Environment:
    """Every value is escaped unless it is Markup that hilum itself made; an unknown name is an error."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
