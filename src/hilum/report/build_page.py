"""print_page: sections into one page that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hilum.report.section import Section

REPORT = Path(__file__).parent


def print_page(title: str, sections: Sequence[Section]) -> str:
    """The page as HTML: each section by its template, style and script inside."""
    printer = _printer()
    printed = [Markup(printer.get_template(one.template).render(one.values, section=one)) for one in sections]
    return printer.get_template("page.html").render(
        title=title, parts=list(zip(sections, printed, strict=True))
    )


def _printer() -> Environment:
    """Every value is escaped unless it is Markup that hilum itself made; an unknown name is an error."""
    return Environment(
        loader=FileSystemLoader([REPORT, REPORT / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
