"""The first words of the summary: validation and test, or plain and counterfactual images, that differ."""

from pathlib import Path

import pytest

from hilum.artifacts.audit import Audit
from hilum.artifacts.base import Figure
from hilum.artifacts.counterfactual import Counterfactual, CounterfactualPoint
from hilum.artifacts.metrics import Metrics
from hilum.report import wording
from hilum.report.summary import section as summary
from hilum.run import Run

from .test_report import made_run


def first_words(run: Run) -> str:
    """The first entry of the section Summary, as a reader sees it."""
    section = summary.make(run)
    assert section is not None
    return section.values["sentences"][0].replace(wording.SPACE, " ")


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "tested"
    return made_run(folder, parts=("train", "val", "test"), audited=True)


def with_figures(run: Run, task: str, figures: dict[str, dict[str, tuple[float, float, float]]]) -> Run:
    """The run with other figures: split -> figure -> value and interval."""
    file = run.task(task).metrics_file
    metrics = Metrics.load(file)
    for split, changes in figures.items():
        block = metrics.splits[split]
        for name, (value, low, high) in changes.items():
            figure = Figure(value=value, low=low, high=high)
            if name in block.classes:
                block.per_class[name] = {**block.per_class[name], "sensitivity": figure}
            else:
                setattr(block, name, figure)
    metrics.save(file)
    return run


WIDE = (0.9, 0.3, 1.0)
SAME: dict[str, tuple[float, float, float]] = dict.fromkeys(
    ("accuracy", "auroc", "sensitivity", "specificity", "normal", "bacteria", "virus"), WIDE
)


def of_two_classes(figures: dict[str, tuple[float, float, float]]) -> dict[str, tuple[float, float, float]]:
    return {name: figure for name, figure in figures.items() if name not in ("normal", "bacteria", "virus")}


def test_the_summary_begins_with_the_difference_its_class_and_the_shortcuts(tested: Run) -> None:
    val = of_two_classes(SAME) | {"accuracy": (0.977, 0.965, 0.987), "specificity": (0.98, 0.955, 0.995)}
    test = of_two_classes(SAME) | {"accuracy": (0.853, 0.82, 0.88), "specificity": (0.63, 0.56, 0.69)}
    run = with_figures(tested, "binary", {"val": val, "test": test})
    run = with_figures(run, "multiclass", {"val": SAME, "test": SAME})
    first = Audit.load(run.audit_file).shortcuts_of("binary")[0]
    words = first_words(run)
    assert words.startswith(
        "Normal vs pneumonia: validation and test differ by more than their 95 % intervals. Accuracy is 12.4"
        " points lower on test than on validation (85.3 % and 97.7 %). Specificity is 35.0 points lower on test"
        " than on validation (63.0 % and 98.0 %). Likeliest shortcuts, which separate the labels without the"
        f" lungs: {first.short_label} (AUROC {first.auroc.value:.2f})"
    )


def test_of_three_classes_the_one_that_changed_most_is_named(tested: Run) -> None:
    test = SAME | {"virus": (0.5, 0.4, 0.6), "bacteria": (0.6, 0.5, 0.65)}
    val = SAME | {"virus": (0.9, 0.8, 0.95), "bacteria": (0.9, 0.8, 0.95)}
    run = with_figures(tested, "multiclass", {"val": val, "test": test})
    run = with_figures(run, "binary", {"val": of_two_classes(SAME), "test": of_two_classes(SAME)})
    words = first_words(run)
    assert "intervals. Sensitivity for virus is 40.0 points lower on test than on validation" in words
    assert "bacteria" not in words.split("Likeliest")[0].replace("Bacterial", "")


def test_a_better_test_needs_no_shortcut(tested: Run) -> None:
    val, test = SAME | {"auroc": (0.8, 0.75, 0.85)}, SAME | {"auroc": (0.95, 0.9, 0.99)}
    run = with_figures(tested, "multiclass", {"val": val, "test": test})
    run = with_figures(run, "binary", {"val": of_two_classes(SAME), "test": of_two_classes(SAME)})
    words = first_words(run)
    assert words.endswith("AUROC is 0.150 higher on test than on validation (0.950 and 0.800).")


def test_overlapping_intervals_are_no_difference(tested: Run) -> None:
    run = with_figures(tested, "multiclass", {"val": SAME, "test": SAME})
    run = with_figures(run, "binary", {"val": of_two_classes(SAME), "test": of_two_classes(SAME)})
    assert first_words(run).startswith("Normal vs pneumonia: Accuracy 90.0 % (95 % CI 30.0 to 100.0)")


def counterfactual(run: Run, specificity: tuple[float, float, float], task: str = "binary") -> None:
    """counterfactual.json of a task: only the specificity differs in the other look."""
    wide = Figure(value=WIDE[0], low=WIDE[1], high=WIDE[2])
    fields = [name for name, field in CounterfactualPoint.model_fields.items() if field.is_required()]
    plain = CounterfactualPoint(
        **{**dict.fromkeys(fields, wide), "specificity": Figure(value=0.98, low=0.95, high=1.0)}
    )
    value, low, high = specificity
    other = plain.model_copy(update={"specificity": Figure(value=value, low=low, high=high)})
    Counterfactual(
        **{"split": "val", "images": 24, "of_images": 24, "patients": 12, "replicates": 40, "seed": 0},
        **{"classes": list(run.task(task).card().classes), "fixed": 0.9, "threshold": 0.4, "squeezed": False},
        **{"weights_digest": run.task(task).card().weights_digest, "parts": {}, "cases": []},
        plain=plain,
        all_parts=other,
    ).save(run.task(task).counterfactual_file)


def test_without_a_test_part_the_counterfactual_takes_its_place(tmp_path: Path) -> None:
    run = made_run(tmp_path / "untested", tasks=("binary",))
    counterfactual(run, (0.5, 0.4, 0.6))
    assert first_words(run) == (
        "Normal vs pneumonia: held-out images as they are and in the look of the other label’s devices differ by more"
        " than their 95 % intervals. Specificity is 48.0 points lower in that look than without it (50.0 % and"
        " 98.0 %)."
    )
    counterfactual(run, (0.97, 0.94, 1.0))
    assert first_words(run).startswith("Normal vs pneumonia: Accuracy")


def test_swapped_devices_of_three_classes_name_the_shortcuts_between_normal_and_abnormal(
    tmp_path: Path,
) -> None:
    run = made_run(tmp_path / "run", parts=("train", "val"), audited=True)
    counterfactual(run, (0.5, 0.4, 0.6), "multiclass")
    audit = Audit.load(run.audit_file)
    named, other = audit.shortcuts_of("binary")[0], audit.shortcuts_of("multiclass")[0]
    words = first_words(run)
    assert words.startswith("Bacterial vs viral: held-out images as they are and in the look")
    assert f"without the lungs: {named.short_label} (AUROC {named.auroc.value:.2f})" in words
    assert named.auroc.value != other.auroc.value
