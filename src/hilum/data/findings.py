"""Findings: an audit as plain sentences, worst first; for the terminal and the report."""

from hilum.artifacts.audit import AcrossCounts, Audit
from hilum.artifacts.base import Figure

_FEW = 100  # with fewer images a split decides nothing: 95 % intervals of an accuracy are wider than 0.1
_STRONG = 0.7  # an AUROC from which a shortcut is worth a sentence


def findings(audit: Audit) -> list[str]:
    """Plain sentences about an audit, worst first."""
    return [
        *_about_unreadable(audit),
        *_about_leakage(audit),
        *_about_duplicates(audit),
        *_about_strong_shortcuts(audit),
        *_about_splits(audit),
        *_about_sizes(audit),
        *_about_harmless_duplicates(audit),
        *_about_weak_shortcuts(audit),
        *(f"Not computed: {sentence}." for sentence in audit.not_computed),
    ]


def _about_unreadable(audit: Audit) -> list[str]:
    bad = audit.unreadable
    if not bad:
        return []
    names = ", ".join(f"{file.case_id} ({file.reason})" for file in bad[:3])
    more = f" and {len(bad) - 3:,} more" if len(bad) > 3 else ""
    return [f"{len(bad):,} of {_many(audit.n_cases, 'file')} can't be read: {names}{more}."]


def _about_leakage(audit: Audit) -> list[str]:
    sentences = []
    for name, across in audit.patients_across_splits.items():
        if across.n_patients:
            who = f"{_many(across.n_patients, 'patient')} with {_many(across.n_images, 'image')}"
            verb = "is" if across.n_patients == 1 else "are"
            where = "the declared split" if name == "declared" else f"the split used for {name}"
            sentences.append(
                f"{who} {verb} in more than one part of {where}: a model can recognise them, "
                "so figures from this split are too high."
            )
    return sentences


def _about_duplicates(audit: Audit) -> list[str]:
    exact, near = audit.exact_duplicates, audit.near_duplicates
    groups = f"{_many(exact.n_groups, 'group')} of identical images"
    pairs = f"{_many(near.n_pairs, 'pair')} of near-identical images"
    return [*_harmful(exact, groups), *_harmful(near, pairs)]


def _harmful(duplicates: AcrossCounts, whole: str) -> list[str]:
    harms = (
        (duplicates.n_across_splits, "across splits: the same image is in training and in evaluation"),
        (duplicates.n_across_labels, "across labels: one of the labels is wrong"),
        (duplicates.n_across_patients, "across patients: the patient identifiers are unreliable"),
    )
    return [f"{n:,} of {whole} {'lies' if n == 1 else 'lie'} {harm}." for n, harm in harms if n]


def _about_strong_shortcuts(audit: Audit) -> list[str]:
    sentences = []
    for task, together in sorted(audit.joint.items(), key=lambda item: -_area(item[1].auroc)):
        single = audit.shortcuts_of(task)
        if _area(together.auroc) >= _STRONG:
            names = ", ".join(shortcut.short_label for shortcut in single[:3])
            more = "" if len(single) <= 3 else " and similar numbers"
            sentences.append(
                f"A classifier that sees only {names}{more}, and no lung, separates {together.positive} from "
                f"{together.negative} with AUROC {_in_words(together.auroc)}: "
                "a model may have learnt no more than that."
            )
        if single and _area(single[0].auroc) >= _STRONG:
            best = single[0]
            sentences.append(
                f"{best.short_label.capitalize()} alone reaches AUROC {_in_words(best.auroc)} for {task}; "
                f"it is higher in {best.higher_in}."
            )
    return sentences


def _about_weak_shortcuts(audit: Audit) -> list[str]:
    return [
        f"All {len(together.features)} numbers about file and picture together, without the lungs, separate "
        f"{together.positive} from {together.negative} with AUROC {_in_words(together.auroc)} only."
        for together in audit.joint.values()
        if _area(together.auroc) < _STRONG
    ]


def _about_splits(audit: Audit) -> list[str]:
    sentences = []
    for split in ("val", "test"):
        counts = audit.counts.get(split)
        if counts is None:
            continue
        images = sum(count.images for count in counts.values())
        absent = [label for label in audit.labels if label not in counts]
        if images < _FEW or absent:
            none = f" and no {' or '.join(absent)}" if absent else ""
            sentences.append(
                f"The declared {split} split holds {_many(images, 'image')}{none}: too few to measure by."
            )
    return sentences


def _about_sizes(audit: Audit) -> list[str]:
    sizes = audit.sizes
    if sizes.n_sizes != 1 or sizes.commonest[0].images < 2:
        return []
    width, height = sizes.commonest[0].width, sizes.commonest[0].height
    return [
        f"All images are {width} x {height} pixels: they were probably resized before, so the original "
        "aspect ratios are unknown."
    ]


def _about_harmless_duplicates(audit: Audit) -> list[str]:
    exact, near = audit.exact_duplicates, audit.near_duplicates
    sentences = []
    if exact.n_groups:
        counts = (
            ("split", exact.n_across_splits),
            ("label", exact.n_across_labels),
            ("patient", exact.n_across_patients),
        )
        inside = ", ".join(f"one {name}" for name, n in counts if not n)
        whole = f"{_many(exact.n_groups, 'group')} of identical images ({_many(exact.n_images, 'image')})"
        sentences.append(
            f"{whole}{', within ' + inside if inside else ''}: these images count more than once."
        )
    if near.n_pairs:
        sentences.append(f"{_many(near.n_pairs, 'pair')} of images show the same image in two versions.")
    if near.checked < near.candidates:
        sentences.append(
            f"Of {_many(near.candidates, 'possible near duplicate')} only the closest {near.checked:,} "
            "were checked."
        )
    return sentences


def _area(auroc: Figure) -> float:
    """An AUROC of the audit always exists."""
    return auroc.value if auroc.value is not None else 0.5


def _in_words(auroc: Figure) -> str:
    if auroc.low is None:
        return f"{auroc.value:.2f}"
    return f"{auroc.value:.2f} (95 % interval {auroc.low:.2f} to {auroc.high:.2f})"


def _many(number: int, noun: str) -> str:
    """
    >>> _many(1, "image"), _many(5232, "image")
    ('1 image', '5,232 images')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
