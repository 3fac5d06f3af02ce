"""print_page: sections into one page that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hilum.builders import plugin_folders
from hilum.report.section import Section

REPORT = Path(__file__).parent


def print_page(title: str, sections: Sequence[Section]) -> str:
    """The page as HTML: each section by its template, style and script inside.

    >>> page = print_page("A study", [Section("gone", "Gone", "absent.html", {"sentence": "No.", "command": "x"})])
    >>> "<title>A study</title>" in page, '<section id="gone">' in page
    (True, True)
    """
    printer = _printer()
    printed = [
        Markup(printer.get_template(section.template).render(section.values, section=section))
        for section in sections
    ]
    return printer.get_template("page.html").render(
        title=title, parts=list(zip(sections, printed, strict=True))
    )


def _printer() -> Environment:
    """Every value is escaped unless it is Markup that hilum itself made; an unknown name is an error.
    Templates lie in the folder of their section, here or in a plug-in."""
    places = [REPORT, REPORT / "templates", *(folder / "report" for folder in plugin_folders())]
    return Environment(
        loader=FileSystemLoader(places),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
