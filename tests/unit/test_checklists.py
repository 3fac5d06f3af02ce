"""The checklists: every link has its anchor on the page, and no item is lost."""

import re

from hilum.report.checklist import ITEMS
from hilum.report.sections import Section
from hilum.report.sections.checklists import checklists
from hilum.run import Run


def test_every_link_on_the_page_has_its_anchor(small_run: Run) -> None:
    page = small_run.report_file.read_text(encoding="utf-8")
    links, ids = (set(re.findall(pattern, page)) for pattern in (r'<a href="#([^"]+)"', r'\bid="([^"]+)"'))
    assert {"data", "robustness", "repeat", "binary", "checklists"} <= links
    assert links <= ids
    assert page.index('<section id="checklists">') > page.index('<section id="repeat">')


def test_every_place_in_the_table_is_a_section_of_a_whole_study(small_run: Run) -> None:
    page = small_run.report_file.read_text(encoding="utf-8")
    anchors = set(re.findall(r'<section id="([^"]+)"', page)) | {"task"}
    for item in ITEMS:
        assert set(item.places) <= anchors, item


def test_each_item_stands_once_and_says_why_where_it_is_not_answered() -> None:
    names = [(item.guideline, item.number) for item in ITEMS]
    assert len(set(names)) == len(names)
    numbers = {name: set() for name, _ in names}
    for guideline, number in names:
        ends = [int(re.match(r"\d+", part)[0]) for part in number.split("-") if part[0].isdigit()]  # type: ignore[index]
        numbers[guideline] |= set(range(ends[0], ends[-1] + 1))
    assert numbers == {"TRIPOD+AI": set(range(1, 28)), "CLAIM": set(range(1, 43))}
    assert all(item.places or item.remark for item in ITEMS)


def test_a_section_that_is_not_made_answers_nothing() -> None:
    made = [Section("data", "The data", "data.html"), Section("missing", "When", "missing.html")]
    said = checklists(made).values
    answered = {row["name"]: row["links"] for row in said["answered"]}
    assert answered["CLAIM 13"] == [("data", "The data")]
    left = {row["name"]: row["remark"] for row in said["open"]}
    assert left["CLAIM 30"] == "its section is not part of this run"
    assert left["CLAIM 42"] == "for the authors to write"
    assert len(answered) + len(left) == len(ITEMS)
