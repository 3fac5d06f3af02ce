"""The contract of a section: a function from a run to a Section, or to None when nothing is to be printed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Section:
    """`anchor` names it in links, `title` heads it, `template` prints it with `values`."""

    anchor: str
    title: str
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
