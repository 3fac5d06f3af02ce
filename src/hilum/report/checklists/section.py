"""Reporting checklists: the items of TRIPOD+AI and CLAIM that this report answers, with links, and the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from hilum.data.tasks import TASKS
from hilum.report.checklists.items import ITEMS, TASK, Item
from hilum.report.section import Section

ABSENT = ("absent.html", "missing.html")
"""The templates of a section that only says how to make it: it answers nothing."""


@dataclass(frozen=True)
class Row:
    """One item as it is printed; `links`: anchor and title of the sections that answer it."""

    guideline: str
    name: str
    topic: str
    links: list[tuple[str, str]]
    remark: str


def make(sections: Sequence[Section]) -> Section:
    """The last section, made from those that are on the page.

    >>> make([Section("overview", "Overview", "overview/template.html")]).values["lead"]
    'This report answers 0 of 40 items of TRIPOD+AI and 0 of 36 items of CLAIM.'
    """
    titles = {section.anchor: section.title for section in sections if section.template not in ABSENT}
    rows = [_row(item, titles) for item in ITEMS]
    answered = [row for row in rows if row.links]
    return Section(
        "checklists",
        "Reporting checklists",
        "checklists/template.html",
        {
            "lead": f"This report answers {_share(answered, 'TRIPOD+AI')} and {_share(answered, 'CLAIM')}.",
            "answered": answered,
            "open": [row for row in rows if not row.links],
        },
    )


def _anchors(item: Item) -> list[str]:
    return [anchor for place in item.places for anchor in (TASKS if place == TASK else (place,))]


def _row(item: Item, titles: dict[str, str]) -> Row:
    links = [(anchor, titles[anchor]) for anchor in _anchors(item) if anchor in titles]
    remark = item.remark
    if not links and item.places:
        remark = "its section is not part of this run"
    return Row(item.guideline, f"{item.guideline} {item.number}", item.topic, links, remark)


def _share(rows: Sequence[Row], guideline: str) -> str:
    total = sum(item.guideline == guideline for item in ITEMS)
    return f"{sum(row.guideline == guideline for row in rows)} of {total} items of {guideline}"
