"""The bars of the shortcuts."""

from markupsafe import Markup

from hilum.artifacts.audit import Audit
from hilum.artifacts.base import Figure
from hilum.report.figures import Bar, auroc_bars


def shortcut_bars(audit: Audit, task: str) -> Markup:
    """AUROC of each shortcut of one task, with its interval; all numbers together first.

    >>> from hilum.artifacts.audit import JointShortcut
    >>> joint = JointShortcut.model_construct(features=["width", "contrast"], positive="pneumonia", negative="normal",
    ...     auroc=Figure(value=0.8, low=0.7, high=0.9))
    >>> print(shortcut_bars(Audit.model_construct(joint={"binary": joint}, shortcuts=[]), "binary").split('"')[5])
    AUROC of shortcuts, pneumonia against normal: all 2 together 0.80
    """
    joint = audit.joint[task]
    together = _bar(f"all {len(joint.features)} together", joint.auroc, strong=True)
    single = [_bar(shortcut.short_label, shortcut.auroc) for shortcut in audit.shortcuts_of(task)]
    return auroc_bars([together, *single], f"{joint.positive} against {joint.negative}", f"shortcuts-{task}")


def _bar(name: str, auroc: Figure, strong: bool = False) -> Bar:
    return Bar(name, auroc.value or 0.5, auroc.low, auroc.high, strong=strong)
