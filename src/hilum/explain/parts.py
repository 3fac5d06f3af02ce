"""The parts of the explanation stage: each takes the subject and what was found so far, and gives plain
values for figures.json."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hilum.explain import checks, inner, load_method
from hilum.explain.asked import Subject
from hilum.explain.images import choose_images
from hilum.explain.maps import Image, method_map, options_of, probability_map
from hilum.explain.maximal import maximal_activations
from hilum.explain.synthesis import synthesize, synthesize_clean
from hilum.progress import advancing

CAMS = ("grad_cam", "layer_cam")
"""Quick enough for many images: the first of them that the recipe names goes beside the mistakes."""

BATCH = 32
"""Images in one forward pass over the data set."""

Found = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """`choices`: the keys of ExplainConfig that it depends on, besides weights and images."""

    name: str
    title: str
    choices: tuple[str, ...]
    make: Callable[[Subject, Found], Any]


def images(subject: Subject, found: Found) -> list[dict[str, Any]]:
    """The images to explain, with what the model says about them."""
    config = subject.config
    table = choose_images(subject.predictions, subject.task.classes, config.cases_per_class, config.mistakes)
    rows = []
    for _, row in table.iterrows():
        shares = {name: float(row[f"prob_{name}"]) for name in subject.task.classes}
        facts = {
            key: str(row[key]) for key in ("case_id", "patient", "split", "label", "target", "predicted")
        }
        rows.append({**facts, "role": row["role"], "asked": row["asked"], "probabilities": shares})
    return rows


def _images(subject: Subject, found: Found, role: str) -> list[Image]:
    return [subject.image(row["case_id"], row["asked"]) for row in found["images"] if row["role"] == role]


def occlusion(subject: Subject, found: Found) -> dict[str, Any]:
    """Raw occlusion maps of the examples."""
    facts = {}
    for image in _images(subject, found, "example"):
        with advancing(f"{subject.task.name}: occlusion of {image.case_id}") as advance:
            values, known = probability_map(
                subject.folder.attributions,
                subject.model,
                image,
                subject.config.occlusion,
                subject.config.seed,
                subject.force,
                advance,
            )
        facts[image.case_id] = {
            key: known[key] for key in ("mask", "stride", "fill", "precision", "probability", "target")
        } | {"positions": list(values.shape), "lowest": float(values.min()), "highest": float(values.max())}
    return facts


def maps(subject: Subject, found: Found) -> dict[str, Any]:
    """One map per method and example; for the mistakes the quickest method alone."""
    config, done = subject.config, {}
    examples, mistakes = (_images(subject, found, role) for role in ("example", "mistake"))
    quick = next((name for name in CAMS if name in config.methods), None)
    total = len(config.methods) * len(examples) + (len(mistakes) if quick else 0)
    with advancing(f"{subject.task.name}: attributions") as advance:
        made = 0
        for name in config.methods:
            options = options_of(config, name, subject.model.pixels.size)
            module = load_method(name)
            here: dict[str, Any] = {
                "title": module.TITLE,
                "source": module.SOURCE,
                "signed": module.SIGNED,
                "images": {},
            }
            asked = examples + (mistakes if name == quick else [])
            for image in asked:
                try:
                    values, _ = method_map(
                        subject.folder.attributions, subject.model, image, name, options, subject.force
                    )
                except Exception as error:
                    subject.fail(f"{module.TITLE} for {image.case_id}", error)
                    break
                here["images"][image.case_id] = {
                    "lowest": float(values.min()),
                    "highest": float(values.max()),
                }
                made += 1
                advance(made, total)
            if here["images"]:
                done[name] = here
    return done


def maximal(subject: Subject, found: Found) -> dict[str, Any]:
    """Where in all images of the task the filters of the late layer fire most."""
    config = subject.config
    table = subject.predictions
    if config.scan is not None and config.scan < len(table):
        table = table.sample(config.scan, random_state=config.seed)
    ids = table["case_id"].tolist()
    with advancing(f"{subject.task.name}: strongest activations") as advance:
        maxima = maximal_activations(
            subject.model,
            (subject.batch(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)),
            subject.late_layer,
            images=config.images,
            count=config.filters,
            groups=table["patient"].tolist(),
            per_group=1,
            progress=advance,
        )
    names = np.array([*ids, ""])  # image -1: none
    facts = {
        "weights_digest": subject.digest,
        "layer": subject.late_layer,
        "read_at": maxima.layer,
        "filters": list(maxima.filters),
        "of": len(maxima.peak),
        "dead": list(maxima.dead),
        "images": maxima.images,
        "maps": list(maxima.maps),
        "padded": int(maxima.sees_padding.sum()),
        "shown": int((maxima.image >= 0).sum()),
    }
    arrays = {
        "filters": np.array(maxima.filters),
        "case_id": names[maxima.image],
        "activation": maxima.activation,
        "unit": maxima.unit,
        "box": maxima.box,
        "sees_padding": maxima.sees_padding,
        "spread": maxima.spread,
        "peak": maxima.peak,
    }
    subject.folder.attributions.write_arrays(subject.folder.attributions.maximal_file, arrays, facts)
    return facts


def synthesis(subject: Subject, found: Found) -> dict[str, Any] | None:
    """Images that drive filters of the late layer, by the plain and by the careful way."""
    config = subject.config.synthesis
    if not config.filters:
        return None
    layer = subject.late_layer
    start = next(row for row in found["images"])
    x = subject.batch([start["case_id"]])[0]
    width = channels(subject, layer)
    first = (found.get("maximal") or {}).get("filters", [])  # those with pictures, then others
    rest = [number for number in spread(width, config.filters) if number not in first]
    filters = [*first, *rest][: config.filters]
    arrays: dict[str, np.ndarray] = {"filters": np.array(filters), "start": x[0].cpu().numpy()}
    with advancing(f"{subject.task.name}: synthesised inputs") as advance:
        plain = synthesize(subject.model, layer, filters, x, config.steps, config.lr, progress=advance)
    arrays |= {"plain": plain.images[:, 0].cpu().numpy(), "plain_activation": plain.activation.cpu().numpy()}
    if config.clean_steps:
        with advancing(f"{subject.task.name}: synthesised inputs, careful way") as advance:
            clean = synthesize_clean(
                subject.model,
                layer,
                filters,
                x,
                config.clean_steps,
                seed=subject.config.seed,
                progress=advance,
            )
        arrays |= {
            "clean": clean.images[:, 0].cpu().numpy(),
            "clean_activation": clean.activation.cpu().numpy(),
        }
    facts = {
        "weights_digest": subject.digest,
        "layer": layer,
        "start": start["case_id"],
        "filters": filters,
        "of": width,
        "steps": config.steps,
        "lr": config.lr,
        "clean_steps": config.clean_steps,
    }
    subject.folder.attributions.write_arrays(subject.folder.attributions.synthesis_file, arrays, facts)
    return facts


def channels(subject: Subject, layer: str) -> int:
    """How many filters a layer has."""
    module = subject.model.get_submodule(layer)
    return int(getattr(module, "out_channels", 0) or getattr(module, "num_features", 0))


def spread(width: int, count: int) -> list[int]:
    """`count` filters evenly over `width`.

    >>> spread(256, 4), spread(3, 8)
    ([0, 64, 128, 192], [0, 1, 2])
    """
    count = min(count, width)
    return [number * width // count for number in range(count)]


CHECKED = ("faithfulness", "methods", "occlusion", "layer", "seed")

PARTS = (
    Part("images", "the choice of images", ("cases_per_class", "mistakes"), images),
    Part("occlusion", "occlusion maps", ("occlusion", "seed"), occlusion),
    Part("maps", "attribution maps", ("methods", "occlusion", "layer"), maps),
    Part("faithfulness", "the worth of the maps", CHECKED, checks.faithfulness),
    Part("truth", "the comparison with drawn lesions", CHECKED, checks.truth),
    Part("lungs", "the share inside the lungs", CHECKED, checks.lungs),
    Part("maximal", "strongest activations", ("layer", "filters", "images", "scan", "seed"), maximal),
    Part("ablation", "the worth of filters", ("layers", "layer", "seed"), inner.ablation),
    Part("probes", "probes by layer", ("layers", "seed"), inner.probes),
    Part("concepts", "concepts", ("layers", "layer", "seed"), inner.concepts),
    Part("synthesis", "synthesised inputs", ("synthesis", "layer", "filters", "scan", "seed"), synthesis),
)
"""In order; `images` comes first, the others may read what was found before them."""
