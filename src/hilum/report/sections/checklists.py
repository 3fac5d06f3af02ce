"""Checklists: the items of TRIPOD+AI and CLAIM that this page answers, with links, and those that it does
not."""

from collections.abc import Sequence
from typing import Any

from hilum.data.tasks import TASKS
from hilum.report.checklist import ITEMS, TASK, Item
from hilum.report.sections import Section

UNMADE = "missing.html"
"""The template of a section that only says how to make it: it answers nothing."""


def checklists(sections: Sequence[Section]) -> Section:
    """The last section, made from those that are on the page."""
    made = {one.anchor: one.title for one in sections if one.template != UNMADE}
    answered, open_ = [], []
    for item in ITEMS:
        links = [(anchor, made[anchor]) for anchor in _anchors(item) if anchor in made]
        (answered if links else open_).append(_row(item, links))
    return Section(
        "checklists",
        "Checklists",
        "checklists.html",
        {
            "lead": f"This page answers {_count(answered, 'TRIPOD+AI')} and {_count(answered, 'CLAIM')}.",
            "answered": answered,
            "open": open_,
        },
    )


def _anchors(item: Item) -> list[str]:
    return [anchor for place in item.places for anchor in (TASKS if place == TASK else (place,))]


def _row(item: Item, links: list[tuple[str, str]]) -> dict[str, Any]:
    remark = item.remark
    if not links and item.places:
        remark = "its section is not part of this run"
    name = f"{item.guideline} {item.number}"
    return {"guideline": item.guideline, "name": name, "topic": item.topic, "links": links, "remark": remark}


def _count(rows: Sequence[dict[str, Any]], guideline: str) -> str:
    total = sum(item.guideline == guideline for item in ITEMS)
    return f"{sum(row['guideline'] == guideline for row in rows)} of {total} rows of {guideline}"
