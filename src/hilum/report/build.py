"""build_report: the sections in their order, printed into one page that needs nothing else."""

from collections.abc import Callable
from pathlib import Path

from hilum.builders import load_file, plugin_folders
from hilum.errors import RecipeError
from hilum.files import write_text
from hilum.report.anomaly import section as anomaly
from hilum.report.build_page import print_page
from hilum.report.checklists import section as checklists
from hilum.report.comparison import section as comparison
from hilum.report.counterfactual import section as counterfactual
from hilum.report.data import section as data
from hilum.report.embedding import section as embedding
from hilum.report.explanations import section as explanations
from hilum.report.findings import section as findings
from hilum.report.leakage import section as leakage
from hilum.report.overview import section as overview
from hilum.report.performance.section import make_binary, make_multiclass
from hilum.report.reliability import section as reliability
from hilum.report.reproducibility import section as reproducibility
from hilum.report.robustness import section as robustness
from hilum.report.section import Section
from hilum.report.seed_report import section as seed_report
from hilum.report.summary import section as summary
from hilum.run import Run

Maker = Callable[[Run], Section | None]

SECTIONS: tuple[Maker, ...] = (
    overview.make,
    summary.make,
    data.make,
    make_binary,
    make_multiclass,
    findings.make,
    counterfactual.make,
    reliability.make,
    embedding.make,
    anomaly.make,
    explanations.make,
    robustness.make,
    comparison.make,
    leakage.make,
    seed_report.make,
)
"""In the order of the page. A section that has nothing to print returns None and leaves no trace. Sections of
plug-ins, "Reproducibility" and "Reporting checklists" follow."""


def build_report(run: Run) -> Path:
    """Writes report/index.html of the run and gives its path back.

    Reads the run folder, and the radiographs where they still lie; needs neither GPU nor torch. The same
    run gives the same bytes: times and dates come from run.json.

    >>> from hilum.artifacts.run import RunFacts
    >>> import tempfile
    >>> import pandas as pd
    >>> from hilum.data.cases import Cases
    >>> image = {"case_id": "a", "path": "a.png", "label": "normal", "patient": "p", "split": "", "digest": "0"}
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(name="mine"), {"tasks": {}})
    ...     Cases.checked(pd.DataFrame([image]), "table", Path()).write(run.cases_file)
    ...     "<title>mine: hilum report</title>" in build_report(run).read_text()
    True
    """
    makers = (*SECTIONS, *plugin_sections(), reproducibility.make)
    sections = [section for make in makers if (section := make(run)) is not None]
    sections.append(checklists.make(sections))
    write_text(run.report_file, print_page(f"{run.name}: hilum report", sections))
    return run.report_file


def plugin_sections() -> list[Maker]:
    """`make` of FOLDER/report/<name>/section.py of each folder that $HILUM_PLUGINS names, in the order of folders
    and names. RecipeError for a section.py without `make`.

    >>> import tempfile
    >>> from unittest.mock import patch
    >>> with tempfile.TemporaryDirectory() as place, patch.dict("os.environ", HILUM_PLUGINS=place):
    ...     write_text(Path(place) / "report" / "mine" / "section.py", "def make(run): return None")
    ...     len(plugin_sections())
    1
    """
    makers = []
    for folder in plugin_folders():
        for path in sorted(folder.glob("report/*/section.py")):
            make = getattr(load_file(path, f"hilum_plugin_report_{path.parent.name}"), "make", None)
            if make is None:
                raise RecipeError(f"{path} has no make()", "see hilum/report/section.py")
            makers.append(make)
    return makers
