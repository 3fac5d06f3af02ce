"""The leakage as a section: of a study's report, and of the page of `hilum compare --leakage`."""

from pathlib import Path

from hilum.artifacts.audit import Audit
from hilum.artifacts.base import Figure
from hilum.artifacts.leakage import Leakage, Official, Way
from hilum.files import write_text
from hilum.folders import LeakageFolder
from hilum.report import commands
from hilum.report.absent import absent
from hilum.report.build_page import print_page
from hilum.report.section import Section
from hilum.report.stated import interval_text, points_text, stated, value_text
from hilum.report.wording import LEVEL, SPACE, count, number, plural
from hilum.run import Run

ANCHOR, TITLE = "leakage", "Leakage"

ALPHA = 0.05
"""The p-value from which chance explains a difference."""


def make(run: Run) -> Section | None:
    """The leakage of this run; the reason and the command where there is none.

    >>> from hilum.artifacts.run import RunFacts, StageRecord
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     run = Run.create(place, RunFacts(), {"tasks": {}})
    ...     run.record_stage("leakage", StageRecord(status="skipped", reason="no patient has two images"))
    ...     make(run).values["sentence"]
    'No patient has two images.'
    """
    if not run.leakage.figures_file.exists():
        return absent(run, "leakage", ANCHOR, TITLE)
    audit = run.audit()
    return leakage_section(run.leakage.figures(), audit, commands.stage(run, "leakage"))


def build_leakage_page(path: Path, command: str) -> Path:
    """Writes index.html beside figures.json in `path`, a page of its own, and gives its path back; needs no torch."""
    folder = LeakageFolder(path)
    section = leakage_section(folder.figures(), None, command)
    write_text(folder.page_file, print_page(TITLE, [section]))
    return folder.page_file


def leakage_section(leakage: Leakage, audit: Audit | None, command: str) -> Section:
    """The three ways to score one recipe, their differences, and the audit's duplicates and shortcuts."""
    return Section(
        ANCHOR,
        TITLE,
        "leakage/template.html",
        {
            "lead": lead(leakage.difference.accuracy, leakage.difference.accuracy_test.p),
            "rows": _rows(leakage),
            "shared": _shared(leakage),
            "audit": _audit(audit, leakage.task) if audit else [],
            "recipe": _recipe(leakage),
            "level": LEVEL,
            "command": command,
        },
    )


def lead(gap: Figure, p: float) -> str:
    """What leakage changes, and whether the test by patient shows it.

    >>> lead(Figure(value=0.1, low=0.05, high=0.15), 0.001).replace(SPACE, " ")
    'With images of one patient on both sides of the split, the same network on the same images differs by +10.0
    points (95 % CI +5.0 to +15.0) of accuracy.'
    """
    text = (
        "With images of one patient on both sides of the split, the same network on the same images differs by"
        f" {points_text(gap)} of accuracy."
    )
    if p >= ALPHA:
        text += (
            f" Chance explains that (p = {number(p, 2)}, permutation by patient): this short training of a small"
            " network shows no effect, which does not"
            " prove that a larger one has none."
        )
    return text


def _rows(leakage: Leakage) -> list[dict[str, str]]:
    """A row per way to score."""
    rows = [
        _row("Split by patient", "no patient is on both sides", leakage.patient, "reference"),
        _row(
            "Split by image",
            "images of one patient are on both sides",
            leakage.image,
            points_text(leakage.difference.accuracy),
        ),
    ]
    return [*rows, _official_row(leakage.official)] if leakage.official else rows


def _row(name: str, about: str, way: Way, difference: str) -> dict[str, str]:
    return {
        "name": name,
        "about": f"{about}; trained on {plural(way.trained_on, 'image')}",
        "images": _images(way),
        "accuracy": f"{value_text(way.accuracy)} ({way.accuracy.counts})",
        "accuracy_interval": interval_text(way.accuracy),
        "auroc": value_text(way.auroc, ""),
        "auroc_interval": interval_text(way.auroc, ""),
        "difference": difference,
    }


def _official_row(official: Official) -> dict[str, str]:
    gap = official.difference
    turned = Figure(
        value=-(gap.value or 0.0),
        low=None if gap.high is None else -gap.high,
        high=None if gap.low is None else -gap.low,
    )
    return {
        "name": "Declared test part",
        "about": "the networks of the first row, on images that the source sets apart",
        "images": _images(official),
        "accuracy": value_text(official.accuracy),
        "accuracy_interval": interval_text(official.accuracy),
        "auroc": "",
        "auroc_interval": "",
        "difference": points_text(turned),
    }


def _images(measured: Way | Official) -> str:
    return f"{plural(measured.n_cases, 'image')} of {plural(measured.n_patients, 'patient')}"


def _shared(leakage: Leakage) -> str:
    """How many images could leak, and the accuracy on these."""
    shared = leakage.shared
    if not shared.n_images:
        return "With the split by image, no held-out image had an image of its patient in training."
    by_image, by_patient = shared.by_image, shared.by_patient
    return (
        f"With the split by image, {count(shared.n_images)} of {plural(shared.n_held, 'held-out image')} had another"
        f" image of their patient in training. Accuracy on these: {stated(by_image)} with the split by image,"
        f" {stated(by_patient)} with the split by patient."
    )


def _audit(audit: Audit, task: str) -> list[tuple[str, str]]:
    """What else can make a figure too good: copies, patients on both sides, shortcuts."""
    copies, near = audit.exact_duplicates, audit.near_duplicates
    rows = [
        (
            "Byte-identical images",
            f"{plural(copies.n_groups, 'group')} ({plural(copies.n_images, 'image')}),"
            f" {count(copies.n_across_splits)} of them across the declared parts",
        ),
        (
            "Nearly identical images",
            f"{plural(near.n_pairs, 'pair')}, {count(near.n_across_splits)} across the declared parts",
        ),
    ]
    declared = audit.patients_across_declared
    if declared:
        rows.append(("Patients in more than one declared part", count(declared.n_patients)))
    joint = audit.joint.get(task)
    if joint:
        rows.append(
            (
                f"All shortcuts together, {joint.positive} vs {joint.negative}",
                f"AUROC {stated(joint.auroc, '')}"
                " without the lungs; a split by patient does not guard against these",
            )
        )
    return rows


def _recipe(leakage: Leakage) -> str:
    """What was trained."""
    rows, columns = leakage.size
    return (
        f"Task {leakage.task}; network {leakage.model}, {rows}{SPACE}×{SPACE}{columns} pixels,"
        f" {plural(leakage.epochs, 'epoch')}, {plural(leakage.folds, 'fold')} per way,"
        f" {plural(len(leakage.seeds), 'seed')}; epoch and threshold chosen on other images of the training part"
    )
