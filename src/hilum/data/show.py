"""The audit for the terminal."""

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from hilum.artifacts.audit import Audit, Count
from hilum.artifacts.base import Figure


def audit_tables(audit: Audit) -> Group:
    """Counts per split and label, shortcuts, and the numbered findings, as something that rich can print."""
    lines = [f"{place}. {escape(sentence)}" for place, sentence in enumerate(audit.findings, 1)]
    return Group(_counts(audit), _shortcuts(audit), *(lines or ["Nothing unusual was found."]))


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
