"""How data was read, and its audit, for the terminal."""

import json
from collections.abc import Mapping

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from hilum.artifacts.audit import Audit, Count
from hilum.artifacts.base import Figure
from hilum.artifacts.run import Reading
from hilum.data.cases import HEALTHY, Cases
from hilum.progress import console, say


def audit_tables(audit: Audit) -> Group:
    """Counts per split and label, shortcuts, and the numbered findings, as something that rich can print."""
    lines = [f"{place}. {escape(sentence)}" for place, sentence in enumerate(audit.findings, 1)]
    return Group(_counts(audit), _shortcuts(audit), *(lines or ["Nothing unusual was found."]))


def unreadable_of(audit: Audit, cases: Cases) -> list[str]:
    """A sentence for each file that can't be read, with the path that its owner gave it: for standard error, since
    the names of DICOM files may be those of patients.

    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from hilum.artifacts.audit import UnreadableFile
    >>> audit = Audit.model_construct(unreadable=[UnreadableFile(case_id="a", path="link", reason="truncated")])
    >>> unreadable_of(audit, Cases(pd.DataFrame({"case_id": ["a"], "path": ["set/a.png"]}), "folder", Path("set")))
    ["set/a.png can't be read (truncated)"]
    """
    path = cases.by_original_paths().table.set_index("case_id")["path"]
    return [f"{path[file.case_id]} can't be read ({file.reason})" for file in audit.unreadable]


def _counts(audit: Audit) -> Table:
    table = Table(title="Images (patients)", title_justify="left")
    table.add_column("split")
    for label in audit.labels:
        table.add_column(escape(label), justify="right")
    for split, by_label in audit.counts.items():
        counts = [by_label.get(label, Count(images=0, patients=0)) for label in audit.labels]
        cells = [f"{count.images:,} ({count.patients:,})" for count in counts]
        table.add_row(split or "not declared", *cells)
    return table


def _shortcuts(audit: Audit) -> Table:
    title = f"Shortcuts: AUROC without the lungs, {audit.shortcuts_on.n_images:,} images"
    table = Table(title=title, title_justify="left")
    for name in ("task", "number"):
        table.add_column(name)
    for name in ("AUROC", "95 %"):
        table.add_column(name, justify="right")
    table.add_column("higher in")
    for task, together in audit.joint.items():
        table.add_row(task, "[bold]all together[/bold]", *_cells(together.auroc), "")
        for shortcut in audit.shortcuts_of(task):
            table.add_row("", shortcut.label, *_cells(shortcut.auroc), escape(shortcut.higher_in))
    return table


def _cells(auroc: Figure) -> tuple[str, str]:
    interval = "" if auroc.low is None else f"{auroc.low:.2f} to {auroc.high:.2f}"
    return f"{auroc.value:.2f}", interval


# -- how data was read ---------------------------------------------------------------------------------------

WIDE = 10_000
"""Columns where the output goes to a file or another program: no cell is wrapped there."""


def say_reading(cases: Cases) -> None:
    """Prints on standard error, before any work, how the data was understood.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> say_reading(Cases(pd.DataFrame({"label": ["normal"], "patient": ["p"]}), "folder", Path("data")))
    """
    say(f"{len(cases)} radiographs from {cases.root} ({cases.source}), labels: {', '.join(cases.labels)}")
    if console.is_terminal:
        console.print(reading_table(cases))
    else:
        say(_plain(reading_table(cases)))


def reading_text(cases: Cases) -> str:
    """The table of `say_reading` as text, as wide as the terminal.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> table = pd.DataFrame({"label": ["normal"], "patient": ["p"]})
    >>> print(reading_text(Cases(table, "folder", Path("data"))).splitlines()[0])
    How the data is read
    """
    out = Console()
    if not out.is_terminal:
        return _plain(reading_table(cases))
    with out.capture() as captured:
        out.print(reading_table(cases))
    return captured.get().rstrip()


def _plain(table: Table) -> str:
    wide = Console(width=WIDE, color_system=None)
    with wide.capture() as captured:
        wide.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def reading_json(cases: Cases) -> str:
    """The same as JSON: source, root, numbers, the fields of `Reading`, and notes.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> table = pd.DataFrame({"label": ["normal"], "patient": ["p"]})
    >>> json.loads(reading_json(Cases(table, "folder", Path("data"))))["n_patients"]
    1
    """
    facts = {
        "source": cases.source,
        "root": str(cases.root),
        "n_cases": len(cases),
        "n_patients": int(cases.table["patient"].nunique()),
        **cases.reading.model_dump(mode="json"),
        "notes": list(cases.notes),
    }
    return json.dumps(facts, indent=2, ensure_ascii=False)


def reading_table(cases: Cases) -> Table:
    """A row each for reader, layout, splits, classes, healthy label, patients and options, then the notes.

    >>> import pandas as pd
    >>> from pathlib import Path
    >>> reading_table(Cases(pd.DataFrame({"label": ["a"], "patient": ["p"]}), "folder", Path("data"))).row_count
    5
    """
    counts = {label: int((cases.table["label"] == label).sum()) for label in cases.labels}
    rows = reading_rows(cases.source, cases.reading, counts, int(cases.table["patient"].nunique()))
    table = Table(title="How the data is read", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, text in rows.items():
        table.add_row(name, escape(text))
    for place, note in enumerate(cases.notes):
        table.add_row("" if place else "notes", escape(note))
    return table


def reading_rows(
    source: str, reading: Reading, labels: Mapping[str, int], patients: int | None
) -> dict[str, str]:
    """What the table says, by its first column; rows without words are left out. `labels`: the number of images.

    >>> reading_rows("folder", Reading(layout="class / image"), {"normal": 2, "flu": 1}, 3)["classes"]
    'normal: 2, flu: 1'
    """
    counted = "" if patients is None else f"{patients:,}"
    rows = {
        "reader": source,
        "layout": reading.layout,
        "splits": _counted(reading.splits) or "none declared",
        "classes": _classes(labels, reading),
        "healthy": _healthy(labels, reading),
        "patients": "; ".join(filter(None, [counted, reading.patients])),
        "options": " ".join(reading.shaped_by),
    }
    return {name: words for name, words in rows.items() if words}


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in numbers.items())


def _classes(labels: Mapping[str, int], reading: Reading) -> str:
    written = {
        label: f" (written {', '.join(words)})"
        for label, words in reading.written.items()
        if words != [label]
    }
    return ", ".join(f"{label}: {count:,}{written.get(label, '')}" for label, count in labels.items())


def _healthy(labels: Mapping[str, int], reading: Reading) -> str:
    if HEALTHY not in labels:
        return "none known; --healthy NAME names one"
    return reading.healthy or HEALTHY
