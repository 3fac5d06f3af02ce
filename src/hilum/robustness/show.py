"""What `hilum robustness` has measured, as plain text for the terminal."""

from hilum.artifacts.robustness import CorruptionTraining, LabelEfficiency, Robustness, UnseenClass
from hilum.evaluation.show import columns
from hilum.evaluation.text import figure_text
from hilum.folders import TaskFolder
from hilum.run import Run


def robustness_text(run: Run, stage: str) -> str:
    """The figures that `stage` (robustness, label_efficiency, unseen_class or corruption_training) has left, a
    line per corruption and severity, per fraction, or per class."""
    lines: list[str] = []
    for name in run.tasks:
        lines += _lines(run.task(name), stage)
    return "\n".join(lines).rstrip()


def _lines(folder: TaskFolder, stage: str) -> list[str]:
    if stage == "robustness" and folder.robustness_file.exists():
        return [f"{folder.name}: corruptions", *_corruptions(folder.robustness()), ""]
    if stage == "label_efficiency" and folder.label_efficiency_file.exists():
        return [f"{folder.name}: label efficiency", *_labels(folder.label_efficiency()), ""]
    if stage == "unseen_class" and folder.unseen_class_file.exists():
        return [f"{folder.name}: unseen class", *_unseen(folder.unseen_class()), ""]
    if stage == "corruption_training" and folder.corruption_training_file.exists():
        return [f"{folder.name}: corruption training", *_training(folder.corruption_training()), ""]
    return []


def _corruptions(robustness: Robustness) -> list[str]:
    rows: list[tuple[str, ...]] = [("corruption", "severity", "accuracy", "AUROC", "calibration error")]
    points = [("none", 0, robustness.clean)]
    for name, severities in robustness.corruptions.items():
        points += [(name, severity, point) for severity, point in sorted(severities.items())]
    for name, severity, point in points:
        figures = (figure_text(figure) for figure in (point.accuracy, point.auroc, point.ece))
        rows.append((name, str(severity), *figures))
    size = f"{robustness.images} images of {robustness.patients} patients in {robustness.split}"
    return [size, *columns(rows)]


def _labels(result: LabelEfficiency) -> list[str]:
    rows: list[tuple[str, ...]] = [("patients", "images", *result.curve)]
    for points in zip(*result.curve.values(), strict=True):
        accuracies = (figure_text(point.accuracy) for point in points)
        rows.append((str(points[0].patients), str(points[0].images), *accuracies))
    return columns(rows)


def _training(result: CorruptionTraining) -> list[str]:
    rows: list[tuple[str, ...]] = [("corruption", "severity", "clean images", "some corrupted", "gain")]
    points = [("none", 0, result.clean)]
    for name, severities in result.corruptions.items():
        points += [(name, severity, point) for severity, point in sorted(severities.items())]
    for name, severity, point in points:
        figures = (point.clean.accuracy, point.corrupted.accuracy, point.gain)
        rows.append((name, str(severity), *(figure_text(figure) for figure in figures)))
    return columns(rows)


def _unseen(result: UnseenClass) -> list[str]:
    lines = [f"accuracy on the known classes: {figure_text(result.accuracy_known)}"]
    for name, share in result.predicted.items():
        lines.append(f"{result.unseen} predicted as {name}: {figure_text(share)}")
    lines.append(f"AUROC of {result.unseen} by low confidence: {figure_text(result.auroc_by_confidence)}")
    if result.anomaly:
        score = figure_text(result.anomaly.by_score)
        lines.append(f"the same by {result.anomaly.detector}: {score} ({result.anomaly.images} images)")
    return lines
