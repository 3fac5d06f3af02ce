"""What is done to cases after a source has read them: the healthy label, patients and classes as the user says."""

import re
from pathlib import Path

from hilum.data.cases import Cases
from hilum.data.labels import HEALTHY, canonical_label, healthy_among
from hilum.data.reading_options import ReadingOptions
from hilum.errors import DataError, nearest


def corrected(cases: Cases, options: ReadingOptions) -> Cases:
    """The cases as the options want them, with an account of how they were read. DataError for a label that does not
    occur, and for a pattern that fits no path.

    >>> import pandas as pd
    >>> row = {"path": "a.png", "patient": "p", "split": "", "digest": "d"}
    >>> table = pd.DataFrame([{**row, "case_id": name, "label": name} for name in ("covid", "other")])
    >>> corrected(Cases(table, "table", Path("cases.csv")), ReadingOptions(healthy="other")).labels
    ('normal', 'covid')
    """
    cases = _with_healthy(cases, options.healthy)
    if options.patient_from is not None:
        cases = _with_patients(cases, options.patient_from)
    if options.classes:
        cases = _of_classes(cases, options.classes)
    return _counted(cases, options)


def _words(cases: Cases) -> dict[str, str]:
    """Each label, and each way in which the data writes it -> the label."""
    written = {word: label for label, words in cases.reading.written.items() for word in words}
    return {label: label for label in cases.table["label"].unique()} | written


def _label_of(cases: Cases, word: str, option: str) -> str:
    """The label that a user's word stands for. DataError with the nearest one."""
    words = _words(cases)
    labels = {canonical_label(name): label for name, label in words.items()} | {
        name.lower(): label for name, label in words.items()
    }
    label = words.get(word) or labels.get(word.lower()) or labels.get(canonical_label(word))
    if label is None:
        known = sorted(words)
        raise DataError(f"{option} {word}: the data has no such label", nearest(word, known))
    return label


def _with_healthy(cases: Cases, healthy: str | None) -> Cases:
    """The healthy label becomes 'normal': the one that the user names, else the only one that means it."""
    written = cases.reading.written or {label: [label] for label in cases.labels}
    if healthy is None:
        word = healthy_among([word for words in written.values() for word in words])
        label = None if word is None else _label_of(cases, word, "the label")
    else:
        label = _label_of(cases, healthy, "--healthy")
        if label != HEALTHY and HEALTHY in set(cases.table["label"]):
            raise DataError(
                f"--healthy {healthy}: the data has the healthy label {written[HEALTHY][0]!r} as well",
                f"leave that one out: name the other labels with --classes, or --exclude {written[HEALTHY][0]!r}",
            )
    if label is None:
        return cases
    table = cases.table.assign(label=cases.table["label"].where(cases.table["label"] != label, HEALTHY))
    renamed = {HEALTHY if name == label else name: words for name, words in written.items()}
    reading = cases.reading.model_copy(
        update={"written": renamed, "healthy": ", ".join(written.get(label, [label]))}
    )
    return Cases(table, cases.source, cases.root, cases.notes, reading)


def _with_patients(cases: Cases, pattern: str) -> Cases:
    """The first group of the pattern where it fits a path relative to the data. DataError where it fits none."""
    root = cases.root if cases.root.is_dir() else cases.root.parent
    matches = [re.search(pattern, _relative(path, root)) for path in cases.table["path"]]
    groups = [match[1] if match else None for match in matches]
    if not any(groups):
        example = _relative(cases.table["path"].iloc[0], root)
        raise DataError(
            f"--patient-from {pattern!r} finds a patient in none of {len(cases)} paths",
            f"a path is for example {example!r}",
        )
    patients = [group or case for group, case in zip(groups, cases.table["case_id"], strict=True)]
    unknown = sum(not group for group in groups)
    words = f"--patient-from ({len(groups) - unknown} images)"
    words += f"; unknown, each image its own ({unknown} images)" if unknown else ""
    notes = tuple(note for note in cases.notes if "counts as its own patient" not in note)
    if unknown:
        notes += (
            f"--patient-from fits {len(groups) - unknown} of {len(groups)} paths: each other image counts as its own "
            "patient.",
        )
    reading = cases.reading.model_copy(update={"patients": words})
    return Cases(cases.table.assign(patient=patients), cases.source, cases.root, notes, reading)


def _relative(path: str, root: Path) -> str:
    place = Path(path)
    return place.relative_to(root).as_posix() if place.is_relative_to(root) else place.as_posix()


def _of_classes(cases: Cases, classes: list[str]) -> Cases:
    labels = {_label_of(cases, word, "--classes") for word in classes}
    keep = cases.table["label"].isin(labels)
    gone = cases.table.loc[~keep, "label"].value_counts()
    reading = cases.reading.model_copy(
        update={"written": {name: words for name, words in cases.reading.written.items() if name in labels}}
    )
    chosen = cases.where(keep)
    if not gone.empty:
        counts = ", ".join(f"{label} ({count})" for label, count in sorted(gone.items()))
        note = f"Left out, because --classes does not name them: {counts}."
        chosen = Cases(chosen.table, cases.source, cases.root, (*cases.notes, note))
    return chosen.read_as(reading)


def _counted(cases: Cases, options: ReadingOptions) -> Cases:
    labels = cases.table["label"].value_counts()
    splits = cases.table.loc[cases.table["split"] != "", "split"].value_counts()
    return cases.read_as(
        cases.reading.model_copy(
            update={
                "labels": {label: int(labels[label]) for label in cases.labels},
                "splits": {name: int(splits[name]) for name in ("train", "val", "test") if name in splits},
                "shaped_by": options.in_words(),
            }
        )
    )
