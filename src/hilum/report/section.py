"""The contract of a section: a folder of hilum.report with section.py, template.html and, where it draws,
plots.py.

section.py has `make(run)`, which gives a Section, or None when there is nothing to print. It reads artifacts
only: no torch, no method. `hilum.report.build` has the order of the sections.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """`anchor` names it in links, `title` heads it, `template` (a path below hilum/report, for example
    "embedding/template.html") prints it with `values`."""

    anchor: str
    title: str
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
