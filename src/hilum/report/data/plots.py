"""The bars of the shortcuts."""

from markupsafe import Markup

from hilum.artifacts.audit import Audit
from hilum.artifacts.base import Figure
from hilum.report.figures import Bar, auroc_bars


def shortcut_bars(audit: Audit, task: str) -> Markup:
    """AUROC of each shortcut of one task, with its interval; all numbers together first."""
    joint = audit.joint[task]
    together = _bar(f"all {len(joint.features)} together", joint.auroc, strong=True)
    single = [_bar(shortcut.short_label, shortcut.auroc) for shortcut in audit.shortcuts_of(task)]
    return auroc_bars([together, *single], f"{joint.positive} against {joint.negative}", f"shortcuts-{task}")


def _bar(name: str, auroc: Figure, strong: bool = False) -> Bar:
    return Bar(name, auroc.value or 0.5, auroc.low, auroc.high, strong=strong)
