"""The parts of an explanation that ask what filters and layers do. Each is kept in the job's finished parts."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hilum.artifacts.base import Figure
from hilum.artifacts.explanations import (
    REGIONS,
    Ablation,
    ConceptRow,
    Concepts,
    ConceptScore,
    FilterCost,
    FilterRegions,
    LayerCost,
    Maximal,
    ProbeRow,
    Probes,
    Synthesis,
)
from hilum.data.decode import read_grey
from hilum.data.sources.phantom import masks as phantom_masks
from hilum.errors import HilumError
from hilum.evaluation.areas import mean_of
from hilum.evaluation.means import mean_over_patients
from hilum.evaluation.shares import share_figure, share_interval
from hilum.explain.config import SynthesisConfig
from hilum.explain.filters.ablation import Effect, ablate
from hilum.explain.filters.concepts import Concept, concept_scores, image_concepts, maps_and_slopes, sides
from hilum.explain.filters.maximal import Maxima, maximal_activations
from hilum.explain.filters.probes import layer_means, probe_layers, probed_layers
from hilum.explain.filters.regions import region_shares
from hilum.explain.filters.synthesis import synthesize, synthesize_clean
from hilum.explain.images import probe_images, sample_images
from hilum.explain.job import Job
from hilum.explain.lung_share import lungs_seen
from hilum.explain.network.receptive_field import field_of
from hilum.progress import advancing

RANKED = 20
"""Filters kept in figures.json, the costliest first."""

REPLICATES = 500
"""Bootstrap replicates of a probe's interval."""

CONCEPT_IMAGES = 60
"""Images whose evidence tells which classes a concept moves."""


# -- strongest activations -----------------------------------------------------------------------------------


def maximal(job: Job, filters: int, images: int, scan: int | None, seed: int) -> Maximal:
    """Where in all images of the task `filters` filters of the layer fire most, `images` for each, at most one
    of a patient. `scan`: how many images are searched, drawn at random; None: all."""
    depends = [job.layer, filters, images, scan, seed, REGIONS]
    make = partial(_maximal, job, filters, images, scan, seed)
    return job.parts.get("maximal", Maximal, depends, make, [job.folder.maximal_file])


def _maximal(job: Job, filters: int, images: int, scan: int | None, seed: int) -> Maximal:
    table = job.predictions
    if scan is not None and scan < len(table):
        table = table.sample(scan, random_state=seed)
    ids = table["case_id"].tolist()
    with advancing(f"{job.task.name}: strongest activations") as advance:
        maxima = maximal_activations(
            job.model,
            job.batches(ids),
            job.layer,
            images=images,
            count=filters,
            groups=table["patient"].tolist(),
            per_group=1,
            progress=advance,
        )
    job.write(job.folder.maximal_file, _arrays(maxima, ids))
    return Maximal(
        layer=job.layer,
        read_at=maxima.layer,
        filters=list(maxima.filters),
        of=len(maxima.peak),
        dead=list(maxima.dead),
        images=maxima.images,
        maps=maxima.maps,
        padded=int(maxima.sees_padding.sum()),
        shown=int((maxima.image >= 0).sum()),
        regions=_regions(job, maxima, table),
    )


def _regions(job: Job, maxima: Maxima, table: pd.DataFrame) -> list[FilterRegions] | None:
    """None where a radiograph is no longer there; the rest of the part needs the prepared images alone."""
    ids, patients = table["case_id"].tolist(), table["patient"].to_numpy(str)

    def lungs(number: int) -> np.ndarray:
        return lungs_seen(job.model.pixels, read_grey(Path(str(job.table.loc[ids[number], "path"]))))

    field = field_of(job.model, maxima.layer, job.model.pixels.size)
    try:
        region, chance = region_shares(maxima, field, lungs)
    except HilumError as error:
        job.fail("Regions of the strongest activations", error)
        return None
    return [
        FilterRegions(
            filter=number,
            share={
                name: share_figure(region[row][shown] == place, patients[maxima.image[row][shown]])
                for place, name in enumerate(REGIONS)
            },
            by_chance=dict(zip(REGIONS, chance[row].tolist(), strict=True)),
        )
        for row, number in enumerate(maxima.filters)
        for shown in [region[row] >= 0]
    ]


def _arrays(maxima: Maxima, case_ids: Sequence[str]) -> dict[str, np.ndarray]:
    """maximal.npz; where fewer images fire a filter, the case_id is empty."""
    return {
        "filters": np.array(maxima.filters),
        "case_id": np.array([*case_ids, ""])[maxima.image],  # image -1: none
        "activation": maxima.activation,
        "unit": maxima.unit,
        "box": maxima.box,
        "sees_padding": maxima.sees_padding,
        "spread": maxima.spread,
        "peak": maxima.peak,
    }


# -- ablation ------------------------------------------------------------------------------------------------


def ablation(job: Job, count: int, seed: int) -> Ablation:
    """What each filter of the layer is worth, on `count` held-out images of every label."""
    return job.parts.get("ablation", Ablation, [job.layer, count, seed], partial(_ablation, job, count, seed))


def _ablation(job: Job, count: int, seed: int) -> Ablation:
    images = sample_images(job.predictions, count, seed, correct=False)
    targets = [job.task.classes.index(name) for name in images["target"]]
    with advancing(f"{job.task.name}: ablation of filters") as advance:
        x = job.batch(images["case_id"].tolist())
        lost = ablate(job.model, x, targets, job.layer, progress=advance)
    people = images["patient"].to_numpy()

    def cost(without: Effect) -> LayerCost:
        changes = without.of_truth - lost.base.of_truth
        by_class = {
            name: mean_over_patients(changes[mine], people[mine], -1, 1)
            for number, name in enumerate(job.task.classes)
            for mine in [np.array(targets) == number]
        }
        return LayerCost(loss=mean_over_patients(without.losses - lost.base.losses, people), classes=by_class)

    rows = [
        FilterCost(filter=int(lost.numbers[place]), **cost(lost.filters[place]).set_fields())
        for place in lost.ranked()[:RANKED].tolist()
    ]
    return Ablation(
        layer=job.layer,
        images=len(images),
        of=len(lost.numbers),
        loss=mean_over_patients(lost.base.losses, people, 0),
        whole=cost(lost.whole),
        helpful=int((lost.costs() > 0).sum()),
        rows=rows,
    )


# -- probes --------------------------------------------------------------------------------------------------


def probes(job: Job, count: int, seed: int) -> Probes:
    """A linear probe per layer, fitted on training images and measured on held-out images of other patients,
    `count` images together."""
    return job.parts.get("probes", Probes, [count, seed], partial(_probes, job, count, seed))


def _probes(job: Job, count: int, seed: int) -> Probes:
    images, fit = probe_images(job.predictions, count, seed)
    names = probed_layers(job.model, job.model.pixels.size)
    with advancing(f"{job.task.name}: probes by layer") as advance:
        features = layer_means(
            job.model,
            job.batches(images["case_id"].tolist()),
            names,
            lambda done, _: advance(done, len(images)),
        )
    targets = [job.task.classes.index(name) for name in images["target"]]
    patients = images["patient"].tolist()
    measured = probe_layers(features, targets, job.task.classes, patients, fit, REPLICATES, seed)
    held = images[~fit]
    return Probes(
        rows=[ProbeRow(layer=probe.layer, width=probe.width, accuracy=probe.accuracy) for probe in measured],
        head=share_figure(held["target"] == held["predicted"], held["patient"]),
        fitted=int(fit.sum()),
        measured=int((~fit).sum()),
    )


# -- concepts ------------------------------------------------------------------------------------------------


def concepts(job: Job, count: int, seed: int) -> Concepts | None:
    """On `count` phantom images: which named concepts the layer knows, and which classes they move; None where
    no concept has enough images."""
    kept = job.parts.get("concepts", Concepts, [job.layer, count, seed], partial(_concepts, job, count, seed))
    return kept if kept.rows else None


def _concepts(job: Job, count: int, seed: int) -> Concepts:
    table = job.predictions
    images = table.sample(min(count, len(table)), random_state=seed)
    ids, patients = images["case_id"].tolist(), images["patient"].tolist()
    measured = [_measured(job, case_id) for case_id in ids]
    known = sides({name: np.array([values[name] for values in measured]) for name in measured[0]})
    sample = sample_images(table, min(count, CONCEPT_IMAGES), seed)
    means, _ = maps_and_slopes(job.model, job.batch(ids), job.layer, 0)
    slopes, whose = {}, {}
    for target, name in enumerate(job.task.classes):
        mine = sample[sample["target"] == name]
        if len(mine):
            slopes[target] = maps_and_slopes(
                job.model, job.batch(mine["case_id"].tolist()), job.layer, target
            )[1]
            whose[target] = mine["patient"].to_numpy()
    tests = len(known) * len(slopes)
    rows = []
    for name, side in known.items():
        scores = concept_scores(name, means, side, patients, slopes, seed=seed)
        rows.append(_concept_row(scores, job.task.classes, side, patients, whose, tests))
    return Concepts(layer=job.layer, images=len(images), rows=rows)


def _concept_row(
    scores: Sequence[Concept],
    classes: Sequence[str],
    side: np.ndarray,
    patients: Sequence[str],
    whose: Mapping[int, np.ndarray],
    tests: int,
) -> ConceptRow:
    """One concept with its intervals over patients. `scores`: of each class; `side`, `patients`: of the images of the
    concept; `whose`: by class, the patients of the images whose evidence was measured; `tests`: how many are made."""
    of_class = {}
    for score in scores:
        low, high = share_interval(score.rises, whose[score.target])
        of_class[classes[score.target]] = ConceptScore(
            value=score.score, low=low, high=high, p=score.p, matters=score.matters(tests)
        )
    first = scores[0]  # what tells the concept's images apart is the same for all classes
    used, people = side >= 0, np.asarray(patients)
    known = np.isfinite(first.hits)
    sides = []
    for kind in (0, 1):
        rows = known & (side[used] == kind)
        low, high = share_interval(first.hits[rows], people[used][rows])
        sides.append(Figure(value=float(first.hits[rows].mean()), low=low, high=high))
    return ConceptRow(
        title=first.name,
        accuracy=mean_of(sides, np.eye(2)),
        chance=first.chance,
        images=first.images,
        classes=of_class,
    )


def _measured(job: Job, case_id: str) -> dict[str, float]:
    """What can be measured on a phantom image whose masks are known."""
    image = read_grey(Path(str(job.table.loc[case_id, "path"])))
    return image_concepts(image, phantom_masks(job.cases.root, case_id))


# -- synthesised inputs --------------------------------------------------------------------------------------


def synthesis(job: Job, start: str, first: Sequence[int], settings: SynthesisConfig, seed: int) -> Synthesis:
    """Images that drive filters of the layer, by the plain ascent from the image `start` and by the careful
    one. `first`: filters that come before others."""
    depends = [job.layer, start, list(first), settings.model_dump(mode="json", exclude={"tasks"}), seed]
    make = partial(_synthesis, job, start, first, settings, seed)
    return job.parts.get("synthesis", Synthesis, depends, make, [job.folder.synthesis_file])


def _synthesis(job: Job, start: str, first: Sequence[int], settings: SynthesisConfig, seed: int) -> Synthesis:
    x, width = job.batch([start])[0], _width(job)
    others = [number for number in spread(width, settings.filters) if number not in first]
    filters = [*first, *others][: settings.filters]
    dtype = torch.bfloat16 if settings.precision == "bf16" else None
    arrays = {"filters": np.array(filters), "start": x[0].cpu().numpy()}
    with advancing(f"{job.task.name}: synthesised inputs") as advance:
        plain = synthesize(
            job.model, job.layer, filters, x, settings.steps, settings.lr, dtype=dtype, progress=advance
        )
    arrays |= {"plain": _first_channel(plain.images), "plain_activation": plain.activation.cpu().numpy()}
    if settings.clean_steps:
        with advancing(f"{job.task.name}: synthesised inputs, careful ascent") as advance:
            clean = synthesize_clean(
                job.model,
                job.layer,
                filters,
                x,
                settings.clean_steps,
                seed=seed,
                dtype=dtype,
                progress=advance,
            )
        arrays |= {"clean": _first_channel(clean.images), "clean_activation": clean.activation.cpu().numpy()}
    job.write(job.folder.synthesis_file, arrays)
    return Synthesis(
        layer=job.layer,
        start=start,
        filters=filters,
        of=width,
        steps=settings.steps,
        lr=settings.lr,
        clean_steps=settings.clean_steps,
    )


def _first_channel(images: torch.Tensor) -> np.ndarray:
    return images[:, 0].cpu().numpy()


def _width(job: Job) -> int:
    """How many filters the layer has."""
    module = job.model.get_submodule(job.layer)
    return int(getattr(module, "out_channels", 0) or getattr(module, "num_features", 0))


def spread(width: int, count: int) -> list[int]:
    """`count` filters evenly over `width`.

    >>> spread(256, 4), spread(3, 8)
    ([0, 64, 128, 192], [0, 1, 2])
    """
    count = min(count, width)
    return [number * width // count for number in range(count)]
