"""Missing labels, missing classes, training for corrupted images: drawings and the words beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from hilum.data.robustness import CORRUPTIONS
from hilum.report.figures import FAINT, in_style, look, new_figure, svg
from hilum.report.severities import pair
from hilum.report.wording import count, listing, number, of, percent, plural, split_name

WAYS = {
    "scratch": ("from random weights", "#0072B2", "o", "-"),
    "pretrained": ("after SimSiam without labels", "#D55E00", "s", "--"),
    "knn": ("kNN on SimSiam’s vectors", "#009E73", "^", ":"),
}
"""Name for readers, colour (Okabe and Ito), marker and line of each way to use few labels."""


# -- labels ------------------------------------------------------------------------------------------------


def labels_values(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The figure, its sentence and its table, from labels.json."""
    return {
        "drawing": learning_curve(facts),
        "lead": _labels_lead(facts),
        "caption": (
            f"{plural(facts['images'], split_name(facts['split']) + ' image')} of"
            f" {plural(facts['patients'], 'patient')}; mean over"
            f" {plural(facts['choices']['seeds'], 'drawing')} of the labelled patients, with 95 % intervals"
            f" from {facts['replicates']} bootstrap samples over the measured patients. A small network at"
            f" {facts['choices']['pixels']['size'][0]} px, the same number of steps for every point. Dotted:"
            " what naming the commonest class earns."
        ),
        "ways": [title for title, *_ in WAYS.values()],
        "rows": [
            _labels_row(entries) for entries in zip(*(facts["curve"][way] for way in WAYS), strict=True)
        ],
    }


@in_style
def learning_curve(facts: Mapping[str, Any]) -> Markup:
    """Accuracy in percent against labelled patients on a logarithmic axis, with a band for each way."""
    figure = new_figure(5.6, 3.3)
    axes = figure.subplots()
    axes.axhline(100 * facts["guessing"], color=FAINT, linewidth=0.9, linestyle=":")
    for way, (title, colour, marker, line) in WAYS.items():
        entries = facts["curve"][way]
        x = [entry["patients"] for entry in entries]
        y, low, high = (
            [100 * entry["accuracy"].get(key, entry["accuracy"]["value"]) for entry in entries]
            for key in ("value", "low", "high")
        )
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(x, y, line, color=colour, marker=marker, markersize=5, label=title)
    axes.set_xscale("log")
    axes.set_xticks(x, [count(value) for value in x])
    axes.minorticks_off()
    axes.set(
        xlabel="labelled patients", ylabel="accuracy, %", title="Accuracy by number of labelled patients"
    )
    axes.legend(loc="lower right")
    return svg(figure, "missing-labels", f"Learning curve. {_labels_lead(facts)}")


def _labels_lead(facts: Mapping[str, Any]) -> str:
    """From the fewest labels to all, and whether the pre-training helped with the fewest."""
    scratch, pretrained = facts["curve"]["scratch"], facts["curve"]["pretrained"]
    few, whole, helped = scratch[0], scratch[-1], pretrained[0]
    gain = helped.get("gain") or {}
    verdict = "makes no measurable difference to that"
    if gain.get("low") is not None and gain["low"] > 0:
        verdict = "raises that"
    if gain.get("high") is not None and gain["high"] < 0:
        verdict = "lowers that"
    return (
        f"With the labels of {plural(few['patients'], 'patient')} ({percent(few['fraction'], 0)}) the network"
        f" names {percent(few['accuracy']['value'])} of the images correctly, with those of"
        f" {count(whole['patients'])} it names {percent(whole['accuracy']['value'])}; learning from all"
        f" images without labels first {verdict}"
        f" ({percent(helped['accuracy']['value'])} with {plural(few['patients'], 'patient')})."
    )


def _labels_row(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = entries[0]
    return {
        "share": percent(first["fraction"], 0),
        "patients": count(first["patients"]),
        "images": count(first["images"]),
        "cells": [
            {
                "value": percent(entry["accuracy"]["value"]),
                "interval": _interval(entry["accuracy"]),
                "seeds": f"{percent(min(entry['seeds']))} to {percent(max(entry['seeds']))}",
            }
            for entry in entries
        ],
    }


def _interval(entry: Mapping[str, Any]) -> str:
    if entry.get("low") is None:
        return ""
    return f"{100 * entry['low']:.1f} to {percent(entry['high'])}"


# -- training for corrupted images -----------------------------------------------------------------------------


def training_values(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A panel with its sentence per corruption, the lead and the table, from training.json."""
    choices = facts["choices"]
    return {
        "lead": _training_lead(facts),
        "panels": [
            (
                pair(
                    _severities(facts, name), CORRUPTIONS[name].title, facts["guessing"], f"training-{name}"
                ),
                _training_sentence(facts, name),
            )
            for name in facts["corruptions"]
        ],
        "caption": (
            f"{plural(facts['images'], split_name(facts['split']) + ' image')} of"
            f" {plural(facts['patients'], 'patient')}. Blue with circles: a small network at"
            f" {choices['size'][0]} px trained on images as they are; green, dashed, with triangles: the same"
            f" with {percent(choices['share'], 0)} of its training images corrupted, in any of these ways. Mean"
            f" over {plural(choices['seeds'], 'training')} of {count(choices['steps'])} steps; bands: 95 %"
            f" intervals from {facts['replicates']} bootstrap samples over patients. Dotted: what naming the"
            " commonest class earns."
        ),
        "rows": [_training_row("as it is", facts["plain"])]
        + [
            _training_row(f"{severity}: {CORRUPTIONS[name].strength(severity)}", point)
            for name in facts["corruptions"]
            for severity, point in _severities(facts, name)[1:]
        ],
    }


def _severities(facts: Mapping[str, Any], name: str) -> list[tuple[int, dict[str, Any]]]:
    points = sorted((int(severity), point) for severity, point in facts["corruptions"][name].items())
    return [(0, facts["plain"]), *points]


def _training_lead(facts: Mapping[str, Any]) -> str:
    ends = {name: _severities(facts, name)[-1][1]["gain"] for name in facts["corruptions"]}
    helped = sum((gain.get("low") or 0) > 0 for gain in ends.values())
    cost = facts["plain"]
    return (
        f"Corrupted images in training raise the accuracy measurably for {helped} of"
        f" {plural(len(ends), 'kind')} of corrupted images at the highest severity; images as they are go from"
        f" {percent(cost['whole']['accuracy']['value'])} to {percent(cost['corrupted']['accuracy']['value'])}"
        f" ({_points(cost['gain'])})."
    )


def _training_sentence(facts: Mapping[str, Any], name: str) -> str:
    severity, point = _severities(facts, name)[-1]
    whole, corrupted = point["whole"], point["corrupted"]
    return (
        f"With {CORRUPTIONS[name].strength(severity)}: {percent(whole['accuracy']['value'])} without"
        f" training for it, {percent(corrupted['accuracy']['value'])} with ({_points(point['gain'])});"
        f" calibration error {percent(whole['ece'])} and {percent(corrupted['ece'])}."
    )


def _points(gain: Mapping[str, Any]) -> str:
    """A paired difference in points, with its interval."""
    said = f"{100 * gain['value']:+.1f} points"
    if gain.get("low") is not None:
        said += f", {100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}"
    return said.replace("-", "−")


def _training_row(name: str, point: Mapping[str, Any]) -> dict[str, str]:
    whole, corrupted = point["whole"], point["corrupted"]
    return {
        "name": name,
        "whole": percent(whole["accuracy"]["value"]),
        "whole_interval": _interval(whole["accuracy"]),
        "whole_error": percent(whole["ece"]),
        "corrupted": percent(corrupted["accuracy"]["value"]),
        "corrupted_interval": _interval(corrupted["accuracy"]),
        "corrupted_error": percent(corrupted["ece"]),
        "gain": _points(point["gain"]),
    }


# -- classes -----------------------------------------------------------------------------------------------


def classes_values(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The figure, its sentences and its rows, from classes.json."""
    return {
        "drawing": confidence_histogram(facts),
        "without": facts["without"],
        "lead": _classes_lead(facts),
        "anomaly": _beside(facts),
        "caption": (
            f"{count(sum(facts['images'].values()))} {split_name(facts['split'])} images of"
            f" {plural(facts['patients'], 'patient')}; a small network trained on"
            f" {count(facts['trained_on'])} images of {listing(facts['classes'])}. Intervals:"
            f" 95 %, {facts['replicates']} bootstrap samples over patients."
        ),
        "rows": [
            (name, percent(entry["value"]), of(entry), _interval(entry))
            for name, entry in facts["answers"].items()
        ],
    }


@in_style
def confidence_histogram(facts: Mapping[str, Any]) -> Markup:
    """How sure the network is, a row per label, the unknown one last; shares of the label's images."""
    names = [*facts["classes"], facts["without"]]
    figure = new_figure(5.6, 0.7 + 0.9 * len(names))
    rows = figure.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    edges = np.linspace(1 / len(facts["classes"]), 1, 21)
    for axes, name in zip(rows, names, strict=True):
        shares = np.histogram(facts["confidence"][name], edges)[0] / max(1, len(facts["confidence"][name]))
        colour = look(name, names).colour
        hatch = "///" if name == facts["without"] else None
        axes.bar(edges[:-1], 100 * shares, np.diff(edges), align="edge", color=colour, alpha=0.8, hatch=hatch)
        axes.set_ylabel("images, %")
        said = f"{name}, never seen" if name == facts["without"] else name
        axes.text(0.4, 0.9, said, transform=axes.transAxes, va="top", ha="center")
    rows[0].set_title("Highest probability")
    rows[-1].set_xlabel("highest probability that the network states")
    medians = ", ".join(f"{name} {np.median(facts['confidence'][name]):.2f}" for name in names)
    return svg(figure, "missing-classes", f"How sure the network is, by label. Medians: {medians}")


def _classes_lead(facts: Mapping[str, Any]) -> str:
    without, answers = facts["without"], facts["answers"]
    commonest = max(answers, key=lambda name: answers[name]["k"])
    entry, area = answers[commonest], facts["unknown_by_confidence"]
    told = "" if area.get("low") is None else f" ({number(area['low'])} to {number(area['high'])})"
    return (
        f"A network that never saw {without} calls {percent(entry['value'])} ({of(entry)}) of the {without}"
        f" images {commonest}. By its own doubt alone it tells them from the known ones with AUROC"
        f" {number(area['value'])}{told}; 0.5 is guessing."
    )


def _beside(facts: Mapping[str, Any]) -> str:
    found = facts.get("anomaly")
    if not found:
        return ""
    by_score, by_doubt = found["by_score"], found["by_confidence"]
    healthy, abnormal = found["by_score_against_healthy"], found["by_score_against_abnormal"]
    said = (
        f"On {plural(found['images'], 'image')} that no detector learnt from, the anomaly score of"
        f" {found['detector'].replace('_', ' ')} reaches {number(by_score['value'])} and doubt"
        f" {number(by_doubt['value'])}."
    )
    if healthy.get("value") is None or abnormal.get("value") is None:
        return said
    return (
        f"{said} The score tells {facts['without']} from healthy images with"
        f" {number(healthy['value'])}, from the other abnormal ones with {number(abnormal['value'])}."
    )
