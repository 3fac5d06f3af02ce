"""The audit: what is unusual about a set of images, before anything is trained on it.

`audit` gives an `hilum.artifacts.audit.Audit`, which has every key explained.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hilum.artifacts.audit import (
    Across,
    Audit,
    Count,
    Counts,
    DuplicateGroup,
    DuplicatePair,
    ExactDuplicates,
    NearDuplicates,
    PatientAcross,
    PatientsAcross,
    Quantiles,
    ShortcutImages,
    SizeCount,
    Sizes,
    UnreadableFile,
)
from hilum.data.cases import SPLITS, Cases
from hilum.data.duplicates import CRITERION, near_pairs
from hilum.data.facts import Facts, gather
from hilum.data.findings import findings
from hilum.data.shortcuts import joint, questions, single

_LISTED = 500  # so many groups, pairs or patients are written out; the numbers count all


def audit(
    cases: Cases,
    split_columns: dict[str, pd.Series] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Audits the cases. Unreadable images are listed and left out of the figures.

    `split_columns`: by task, the split used (case_id -> train, val, test or unused), so that leakage in it is
    found too. `progress` is called with (done, total) while images are measured.

    >>> import cv2
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from hilum.data.sources import open_source
    >>> with TemporaryDirectory() as folder:
    ...     for label in ("normal", "virus"):
    ...         Path(folder, label).mkdir()
    ...         _ = cv2.imwrite(f"{folder}/{label}/a.png", np.zeros((8, 8), np.uint8))
    ...     result = audit(open_source(folder))
    >>> result.n_cases, result.exact_duplicates.n_across_labels
    (2, 1)
    >>> result.findings[0]
    '1 of 1 group of identical images lies across labels: one of the labels is wrong.'
    """
    facts = gather(cases, progress)
    readable = facts.table["readable"].to_numpy()
    table = cases.table.copy()
    splits = _splits(table, split_columns or {})
    images = _Readable(
        table[readable].reset_index(drop=True),
        Facts(facts.table[readable].reset_index(drop=True), facts.thumbnails[readable]),
        {name: column[readable].reset_index(drop=True) for name, column in splits.items()},
    )
    result = Audit(
        schema_version=Audit.SCHEMA,
        cases_digest=cases.digest,
        n_cases=len(table),
        n_patients=int(table["patient"].nunique()),
        labels=list(cases.labels),
        counts=_counts(table, splits["declared"]),
        counts_used={task: _counts(table, splits[task]) for task in splits if task != "declared"},
        unreadable=_unreadable(table.assign(reason=facts.table["reason"])[~readable]),
        exact_duplicates=_exact(images),
        near_duplicates=_near(images),
        patients_across_splits={name: _patients_across(table, column) for name, column in splits.items()},
        sizes=_sizes(images.facts.table),
        modes=_modes(images.facts.table),
        aspect_by_label={
            label: _quantiles(images.facts.table["aspect"][images.table["label"] == label])
            for label in cases.labels
        },
        **_shortcuts(images),
        findings=[],
    )
    return result.model_copy(update={"findings": findings(result)})


@dataclass(frozen=True)
class _Readable:
    """The readable images: their rows of the cases table, their facts and their splits, all in one order."""

    table: pd.DataFrame
    facts: Facts
    splits: dict[str, pd.Series]

    def across(self, rows: np.ndarray | pd.Index | list[int]) -> Across:
        """Whether these images differ in split (in any of the splits), label, patient."""
        chosen = list(rows)
        split = any(len(set(column.iloc[chosen]) - {""}) > 1 for column in self.splits.values())
        label, patient = (len(set(self.table[name].iloc[chosen])) > 1 for name in ("label", "patient"))
        return Across(across_splits=split, across_labels=label, across_patients=patient)


def _splits(table: pd.DataFrame, used: dict[str, pd.Series]) -> dict[str, pd.Series]:
    """The split that the source declares and those used, over the rows of the table; '' outside all parts."""
    splits = {"declared": table["split"]}
    for task, column in used.items():
        splits[task] = column.reindex(table["case_id"]).fillna("").set_axis(table.index)
    return {name: column.where(column.isin(SPLITS), "") for name, column in splits.items()}


def _counts(table: pd.DataFrame, split: pd.Series) -> Counts:
    counts: Counts = {}
    for name in (*SPLITS, ""):
        inside = table[split == name]
        if len(inside):
            counts[name] = {
                str(label): Count(images=len(rows), patients=int(rows["patient"].nunique()))
                for label, rows in inside.groupby("label")
            }
    return counts


def _unreadable(rows: pd.DataFrame) -> list[UnreadableFile]:
    return [
        UnreadableFile(case_id=str(row.case_id), path=str(row.path), reason=str(row.reason))
        for row in rows.itertuples()
    ]


def _exact(images: _Readable) -> ExactDuplicates:
    groups = [
        DuplicateGroup(
            case_ids=images.table["case_id"].iloc[rows].tolist(), **images.across(rows).model_dump()
        )
        for rows in images.facts.table.groupby("pixel_digest").indices.values()
        if len(rows) > 1
    ]
    return ExactDuplicates(
        n_groups=len(groups),
        n_images=sum(len(group.case_ids) for group in groups),
        **_across_counts(groups),
        groups=sorted(groups, key=_worst_first)[:_LISTED],
    )


def _near(images: _Readable) -> NearDuplicates:
    facts = images.facts.table
    rows = facts.drop_duplicates("pixel_digest").index.to_numpy()
    near = near_pairs(facts["phash"].iloc[rows].tolist(), images.facts.thumbnails[rows])
    pairs = [
        DuplicatePair(
            case_ids=images.table["case_id"].iloc[rows[pair]].tolist(),
            correlation=float(correlation),
            **images.across(rows[pair]).model_dump(),
        )
        for pair, correlation in zip(near.pairs, near.correlation, strict=True)
    ]
    return NearDuplicates(
        criterion=CRITERION,
        candidates=near.candidates,
        checked=near.checked,
        n_pairs=len(pairs),
        **_across_counts(pairs),
        pairs=sorted(pairs, key=_worst_first)[:_LISTED],
    )


def _across_counts(groups: Sequence[Across]) -> dict[str, int]:
    return {
        "n_across_splits": sum(group.across_splits for group in groups),
        "n_across_labels": sum(group.across_labels for group in groups),
        "n_across_patients": sum(group.across_patients for group in groups),
    }


def _worst_first(group: Across) -> tuple[bool, ...]:
    return not group.across_splits, not group.across_labels, not group.across_patients


def _patients_across(table: pd.DataFrame, split: pd.Series) -> PatientsAcross:
    inside = table.assign(split=split)[split != ""]
    rows_across = inside.groupby("patient").filter(lambda rows: len(set(rows["split"])) > 1)
    examples = [
        PatientAcross(
            patient=str(patient),
            images={str(part): int(n) for part, n in rows["split"].value_counts().sort_index().items()},
        )
        for patient, rows in rows_across.groupby("patient")
    ]
    return PatientsAcross(n_patients=len(examples), n_images=len(rows_across), examples=examples[:_LISTED])


def _sizes(facts: pd.DataFrame) -> Sizes:
    commonest = facts.groupby(["width", "height"]).size().sort_values(ascending=False, kind="stable")
    return Sizes(
        width=_quantiles(facts["width"]),
        height=_quantiles(facts["height"]),
        bytes=_quantiles(facts["bytes"]),
        n_sizes=len(commonest),
        commonest=[
            SizeCount(width=int(width), height=int(height), images=int(images))
            for (width, height), images in commonest.head(5).items()  # type: ignore[misc]
        ],
    )


def _modes(facts: pd.DataFrame) -> dict[str, int]:
    words = facts["mode"] + ", " + facts["bits"].astype(int).astype(str) + " bit"
    return {str(mode): int(images) for mode, images in words.value_counts().items()}


def _quantiles(values: pd.Series) -> Quantiles | None:
    if values.empty:
        return None
    low, p5, median, p95, high = np.percentile(values, (0, 5, 50, 95, 100)).tolist()
    return Quantiles(min=low, p5=p5, median=median, p95=p95, max=high)


def _shortcuts(images: _Readable) -> dict[str, Any]:
    """On images that are test in no split at all: the test set is measured once, at the end."""
    kept = np.ones(len(images.table), bool)
    for column in images.splits.values():
        kept &= (column != "test").to_numpy()
    table = images.table[kept].reset_index(drop=True)
    facts = images.facts.table[kept].reset_index(drop=True)
    possible, not_computed = questions(table["label"])
    shortcuts, together = [], {}
    for question in possible:
        shortcuts += single(question, facts, table["patient"])
        result = joint(question, facts, table["patient"])
        if isinstance(result, str):
            not_computed.append(result)
        else:
            together[question.task] = result
    splits = sorted(set(table["split"]) - {""}, key=SPLITS.index)
    return {
        "shortcuts_on": ShortcutImages(
            splits=splits, n_images=len(table), n_patients=int(table["patient"].nunique())
        ),
        "shortcuts": shortcuts,
        "joint": together,
        "not_computed": not_computed,
    }
