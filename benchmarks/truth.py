"""Explanations against a known truth: two phantom sets, two networks, every method.

    python benchmarks/truth.py OUT
    python benchmarks/truth.py OUT --methods grad_cam layer_cam --images 40                    a quick look
    python benchmarks/truth.py OUT --honest runs/phantom-quick --seed 1       one training less; another seed,
                                             so that the marked images show children whom that run never saw

Draws OUT/honest and OUT/marked (the same images, but abnormal ones carry a bright disc), trains the network of the
preset `quick` on each with the project's own study, and prints two tables: every method against the lesions
of held-out images, and the reverse test, whether it unmasks the network that reads the disc. Both tables go to
OUT/truth.json. What is there already is not drawn or trained again.

Aims: the best method's pointing game at least 0.95; the fooled network unmasked.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from hilum.data.sources import phantom
from hilum.errors import DataError, HilumError
from hilum.explain.attribution import explain
from hilum.explain.faithfulness.explainers import BASELINES, Explainer, explainers
from hilum.explain.faithfulness.lesions import lesion_figures
from hilum.explain.faithfulness.phantoms import (
    TOLERANCE,
    PhantomLesions,
    abnormal_class,
    maps_of,
    phantom_lesions,
    truth_table,
)
from hilum.explain.network.layers import last_layer
from hilum.files import write_json
from hilum.models import ChestModel
from hilum.progress import advancing
from hilum.run import Run
from hilum.runner import study

METHODS = (
    "grad_cam",
    "layer_cam",
    "saliency",
    "smooth_grad",
    "integrated_gradients",
    "occlusion",
    "rise",
)
STRIDE = 4
"""The finer CAM is computed where a position stands for 4 rows."""

CAUGHT = 0.5
"""A method unmasks a network when its peak lies on the planted marker in at least this share of the images."""

GOAL = 0.95
"""Aim for the pointing game of the best method on held-out images of an honest network."""


def changes(epochs: int, seed: int) -> list[str]:
    """What differs from the preset `quick`; the networks alone are needed."""
    return [
        f"binary.training.epochs={epochs}",
        f"binary.training.seed={seed}",
        f"binary.split.seed={seed}",
        "replicates=200",
    ]


def trained(out: Path, name: str, settings: phantom.PhantomSettings, changes: list[str]) -> Run:
    """A trained and evaluated network of a phantom set, made when it is not there."""
    data, run = phantom.write(out / name, settings), out / f"run-{name}"
    return study(
        data, "quick", run, tasks=["binary"], changes=changes, resume=True, only=["evaluate"], report=False
    )


def all_methods(names: Sequence[str], sd: float) -> dict[str, Explainer]:
    """The methods, CAMs in a finer layer too, blurred maps beside raw ones, and the baselines."""
    options: dict[str, dict[str, Any]] = {
        "smooth_grad": {"samples": 8},
        "integrated_gradients": {"baseline": "blur", "steps": 8, "batch": 8},
        "occlusion": {"mask": 24, "stride": 8, "fill": "blur", "output": "evidence"},
        "rise": {"masks": 200, "fill": "blur", "output": "evidence"},
    }
    found = explainers({name: options.get(name, {}) for name in names})
    for name in ("grad_cam", "layer_cam"):
        if name in names:
            found[f"{name}, finer"] = partial(finer, name)
    for name in [name for name in found if name not in ("occlusion", "rise")]:  # those are smooth already
        found[f"{name}, blurred"] = smoothed(found[name], sd)
    return {**found, **BASELINES}


def finer(name: str, model: nn.Module, x: Tensor, target: int) -> Tensor:
    """A CAM in the last layer with a position for every `STRIDE` rows."""
    return explain(name, model, x, target, {"layer": last_layer(model.eval(), x, STRIDE)})


def smoothed(explainer: Explainer, sd: float) -> Explainer:
    """An explainer whose maps are blurred by a Gaussian of `sd` px, border repeated: the strongest pixel of a
    ragged map is a matter of chance, a region is not."""
    return partial(_smoothed, explainer, sd)


def _smoothed(explainer: Explainer, sd: float, model: nn.Module, x: Tensor, target: int) -> Tensor:
    heat = explainer(model, x, target)
    values = gaussian_filter(heat.cpu().double().numpy(), (0, sd, sd), mode="nearest")
    return torch.from_numpy(values).to(heat)


def shortcut_table(
    honest: ChestModel,
    fooled: ChestModel,
    images: PhantomLesions,
    methods: Mapping[str, Explainer],
    replicates: int = 1000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The reverse test: two networks on the same images with the planted marker, explained by every method.

    `honest` was trained without the marker, `fooled` with it in every abnormal image. Both have the same pixel
    contract up to mean and sd; `images` as `fooled` reads them. A method passes when its peak lies on the
    marker (within the tolerance) in at least `CAUGHT` of the images for the fooled network and in fewer for
    the honest one. DataError when no image carries the marker.
    """
    shown = np.asarray(images.masks["shortcut"].any((1, 2)))
    if not shown.any():
        raise DataError("no image carries the planted marker", "make the phantom with shortcut='marker'")
    marked = images.where(shown)
    mask = marked.masks["shortcut"]
    tolerance = round(TOLERANCE * min(mask.shape[1:]))
    raw = marked.x * fooled.pixels.sd + fooled.pixels.mean  # both standardise by fixed numbers
    inputs = {
        "fooled": (fooled, marked.x),
        "honest": (honest, (raw - honest.pixels.mean) / honest.pixels.sd),
    }
    table: dict[str, Any] = {}
    failures: list[str] = []
    for place, (name, explainer) in enumerate(methods.items()):
        try:
            row: dict[str, Any] = {}
            for who, (model, x) in inputs.items():
                heat = maps_of(model, x, abnormal_class(model), explainer)
                figures = lesion_figures(heat, mask, marked.patients, tolerance, replicates, seed)
                row[who] = {
                    "pointing": figures["pointing_near"].model_dump(),
                    "energy": figures["energy"].model_dump(),
                }
            shares = [row[who]["pointing"]["value"] for who in ("fooled", "honest")]
            row["passes"] = bool(shares[0] >= CAUGHT > shares[1])
            table[name] = row
        except HilumError as error:
            failures.append(f"{name}: {error}")
        if progress:
            progress(place + 1, len(methods))
    return {
        "images": len(marked),
        "rule": f"the peak lies within {tolerance} px of the marker in at least {CAUGHT:.0%} of the images of "
        "the network trained with it, and in fewer of the network trained without it",
        "marker_area": float(mask.mean()),
        "methods": table,
        "unmasked_by": [name for name, row in table.items() if row["passes"]],
        "failures": failures,
    }


def lesions_of(run: Run, model: ChestModel, images: int | None, seed: int) -> PhantomLesions:
    """Abnormal test images of a run."""
    return phantom_lesions(run.cases(), run.split("binary"), model, "test", images, seed)


def truth_study(
    out: Path,
    seed: int = 0,
    patients: int = 640,
    epochs: int = 10,
    names: Sequence[str] = METHODS,
    images: int | None = None,
    sd: float = 4.0,
    known: Path | None = None,
) -> dict[str, Any]:
    """Draws, trains and scores; gives both tables. `known`: a finished run on phantoms for the honest one."""
    runs = {"honest": Run(known)} if known else {}
    for name, shortcut in (("honest", None), ("marked", "marker")):
        if name not in runs:
            settings = phantom.PhantomSettings(patients=patients, seed=seed, shortcut=shortcut)
            runs[name] = trained(out, name, settings, changes(epochs, seed))
    honest, fooled = (runs[name].task("binary").load_model() for name in ("honest", "marked"))
    methods = all_methods(names, sd)
    with advancing("lesions") as advance:
        held_out = lesions_of(runs["honest"], honest, images, seed)
        lesions = truth_table(honest, held_out, methods, seed=seed, progress=advance)
    with advancing("reverse test") as advance:
        marked = lesions_of(runs["marked"], fooled, images, seed)
        reverse = shortcut_table(honest, fooled, marked, methods, seed=seed, progress=advance)
    auroc = {name: run.task("binary").metrics()["test"].auroc for name, run in runs.items()}
    found = {"seed": seed, "patients": patients, "epochs": epochs, "sd": sd, "auroc": auroc}
    found |= {"lesions": lesions.model_dump(mode="json"), "reverse": reverse}
    write_json(out / "truth.json", found)
    return found


def show(found: dict[str, Any]) -> None:
    """Both tables as text."""
    lesions, reverse = found["lesions"], found["reverse"]
    for name, value in found["auroc"].items():
        print(f"test AUROC of the network trained on {name} images: {value['value']:.3f}")
    print(
        f"\n{lesions['images']} abnormal test images, one per patient, that the honest network classifies as abnormal "
        f"({lesions['missed']} missed); lesions fill {lesions['lesion_area']:.1%} of an image; "
        f"tolerance {lesions['tolerance']} px"
    )
    print(f"{'method':32} {'pointing':>20} {'within tol.':>12} {'energy':>7} {'IoU':>6}")
    for row in sorted(lesions["rows"], key=lambda row: -row["pointing"]["value"]):
        hit, near = row["pointing"], row["pointing_near"]
        shown = f"{hit['k']}/{hit['n']} ({hit['low']:.2f}-{hit['high']:.2f})"
        print(
            f"{row['name']:32} {shown:>20} {near['k']:>8}/{near['n']:<3} {row['energy']['value']:7.2f} "
            f"{row['iou']['value']:6.2f}"
        )
    chances = [lesions["rows"][0][key]["chance"] for key in ("pointing", "pointing_near", "energy", "iou")]
    print(f"{'(by chance)':32} {chances[0]:20.2f} {chances[1]:12.2f} {chances[2]:7.2f} {chances[3]:6.2f}")
    top = max(row["pointing"]["value"] for row in lesions["rows"])
    print(f"best: {lesions['best']}; goal of {GOAL} reached: {top >= GOAL}")
    print(f"\nreverse test on {reverse['images']} marked images; caught: {reverse['rule']}")
    print(f"{'method':32} {'fooled, peak on disc':>21} {'honest':>9} {'energy':>7} {'honest':>7}")
    for name, row in reverse["methods"].items():
        fooled, honest = (row[who]["pointing"] for who in ("fooled", "honest"))
        energy = [row[who]["energy"]["value"] for who in ("fooled", "honest")]
        print(
            f"{name:32} {fooled['k']:>17}/{fooled['n']:<3} {honest['k']:>5}/{honest['n']:<3} {energy[0]:7.3f} "
            f"{energy[1]:7.3f}{'  caught' if row['passes'] else ''}"
        )
    print(f"(the disc is {reverse['marker_area']:.2%} of the image)")
    for sentence in {*lesions["failures"], *reverse["failures"]}:
        print(f"failed: {sentence}")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patients", type=int, default=640)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=None, help="at most so many abnormal test images")
    parser.add_argument("--sd", type=float, default=4.0, help="blur in pixels of 'blurred'")
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--honest", type=Path, default=None, help="a finished run on phantoms")
    given = parser.parse_args()
    numbers = (given.seed, given.patients, given.epochs, given.methods, given.images, given.sd)
    show(truth_study(given.out, *numbers, known=given.honest))


if __name__ == "__main__":
    main()
