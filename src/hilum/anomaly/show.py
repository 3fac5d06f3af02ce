"""The leaderboard of detectors as plain text for the terminal."""

from hilum.artifacts.anomaly import AnomalyFigures, JointShortcut, Measured, Shortcuts
from hilum.artifacts.base import Figure
from hilum.evaluation.show import columns

PARTS = {"measure": "held-out val patients", "test": "test"}


def leaderboard_text(figures: AnomalyFigures) -> str:
    """Per part a line for each detector, then the shortcuts' figures on the same images."""
    lines = []
    for part, title in PARTS.items():
        rows = {
            row: detector.parts[part] for row, detector in figures.detectors.items() if part in detector.parts
        }
        if rows:
            pairs = figures.matching[part].pairs
            lines += [*columns(_table(title, rows, pairs)), *_shortcuts(figures.shortcuts[part]), ""]
    for row, detector in figures.detectors.items():
        if (known := detector.localization) is not None:
            lines.append(
                f"{row}, maps against known lesions: pixel AUROC {_figure(known.pixel_auroc)},"
                f" AUPRO {_figure(known.aupro)}, pointing game {_figure(known.pointing)}"
            )
    lines += _other_look(figures)
    lines.append(f"best: {figures.best}")
    return "\n".join(lines)


def _table(title: str, rows: dict[str, Measured], pairs: int) -> list[tuple[str, ...]]:
    first = next(iter(rows.values()))
    images = f"{title} (healthy {first.n_healthy}, abnormal {first.n_abnormal})"
    matched = f"matched ({pairs} pairs)"
    head = (images, "AUROC", *first.causes, matched, "false alarms", "sensitivity")
    return [head, *(_line(row, measured) for row, measured in rows.items())]


def _line(row: str, measured: Measured) -> tuple[str, ...]:
    return (
        row,
        _figure(measured.auroc),
        *(_number(cause.auroc.value) for cause in measured.causes.values()),
        _figure(measured.matched) if measured.matched else "none",
        _figure(measured.false_alarms),
        _figure(measured.sensitivity),
    )


def _other_look(figures: AnomalyFigures) -> list[str]:
    """A line for each detector on the same images as they are and in the other look."""
    measured = {row: (each.same_images, each.other_look) for row, each in figures.detectors.items()}
    rows = {row: (plain, look) for row, (plain, look) in measured.items() if plain and look}
    if not rows:
        return []
    first, _ = next(iter(rows.values()))
    images = (
        f"in the look of the other label's devices (healthy {first.n_healthy}, abnormal {first.n_abnormal})"
    )
    head = (images, "AUROC as they are", "AUROC", "false alarms", "sensitivity")
    lines = [
        (
            row,
            _figure(plain.auroc),
            _figure(look.auroc),
            _figure(look.false_alarms),
            _figure(look.sensitivity),
        )
        for row, (plain, look) in rows.items()
    ]
    return [*columns([head, *lines]), ""]


def _shortcuts(shortcuts: Shortcuts) -> list[str]:
    """The best single number and all together, on the same images."""
    if not shortcuts.single:
        return []
    best, joint = shortcuts.single[0], shortcuts.joint
    together = _figure(joint.auroc) if isinstance(joint, JointShortcut) else str(joint)
    return [f"shortcuts on these images: {best.label} {_figure(best.auroc)}; all together {together}"]


def _figure(figure: Figure) -> str:
    """Value, interval and counts, as far as there are.

    >>> _figure(Figure(value=0.5, low=0.1, high=0.9, k=1, n=2))
    '0.500 [0.100, 0.900] 1/2'
    """
    interval = "" if figure.low is None else f"[{figure.low:.3f}, {figure.high:.3f}]"
    return " ".join(part for part in (_number(figure.value), interval, figure.counts) if part)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
