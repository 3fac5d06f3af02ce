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
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hilum.data.sources import phantom
from hilum.explain import explain
from hilum.explain.cam import last_layer
from hilum.explain.faithfulness import BASELINES, Way, ways
from hilum.explain.truth import planted_images, shortcut_table, smoothed, truth_table
from hilum.files import write_json
from hilum.progress import advancing
from hilum.recipe import StudyRecipe, load_recipe
from hilum.run import Run
from hilum.study import Wish, study

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
"""The finer CAM is drawn where a position stands for 4 rows."""


def recipe(epochs: int, seed: int) -> StudyRecipe:
    """The preset `quick`, binary task alone."""
    changes = [
        f"binary.training.epochs={epochs}",
        f"binary.training.seed={seed}",
        f"binary.split.seed={seed}",
    ]
    whole = load_recipe("quick", changes)
    return whole.model_copy(
        update={"tasks": {"binary": whole.tasks["binary"]}, "embedding": None, "replicates": 200}
    )


def trained(out: Path, name: str, settings: phantom.PhantomSettings, config: StudyRecipe) -> Run:
    """The finished study on a phantom set, made when it is not there."""
    data = phantom.write(out / name, settings)
    return study(Wish(str(data), config, out / f"run-{name}", resume=True, report=False))


def asked(names: Sequence[str], sd: float) -> dict[str, Way]:
    """The methods, CAMs in a finer layer too, blurred maps beside raw ones, and the baselines."""
    options: dict[str, dict[str, Any]] = {
        "smooth_grad": {"samples": 8},
        "integrated_gradients": {"baseline": "blur", "steps": 8, "batch": 8},
        "occlusion": {"mask": 24, "stride": 8, "fill": "blur", "output": "evidence"},
        "rise": {"masks": 200, "fill": "blur", "output": "evidence"},
    }
    found = ways({name: options.get(name, {}) for name in names})
    for name in ("grad_cam", "layer_cam"):
        if name in names:
            found[f"{name}, finer"] = partial(finer, name)
    for name in [name for name in found if name not in ("occlusion", "rise")]:  # those are smooth already
        found[f"{name}, blurred"] = smoothed(found[name], sd)
    return {**found, **BASELINES}


def finer(name: str, model: nn.Module, x: Tensor, target: int) -> Tensor:
    """A CAM in the last layer with a position for every `STRIDE` rows."""
    return explain(name, model, x, target, {"layer": last_layer(model.eval(), x, STRIDE)})


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
            runs[name] = trained(out, name, settings, recipe(epochs, seed))
    honest, fooled = (runs[name].task("binary").load_model() for name in ("honest", "marked"))
    methods = asked(names, sd)
    with advancing("lesions") as advance:
        held_out = planted_images(runs["honest"], honest, "test", images, seed)
        lesions = truth_table(honest, held_out, methods, seed=seed, progress=advance)
    with advancing("reverse test") as advance:
        marked = planted_images(runs["marked"], fooled, "test", images, seed)
        reverse = shortcut_table(honest, fooled, marked, methods, seed=seed, progress=advance)
    auroc = {name: run.task("binary").metrics()["test"]["auroc"] for name, run in runs.items()}
    found = {"seed": seed, "patients": patients, "epochs": epochs, "sd": sd, "auroc": auroc}
    found |= {"lesions": lesions, "reverse": reverse}
    write_json(out / "truth.json", found)
    return found


def show(found: dict[str, Any]) -> None:
    """Both tables as text."""
    lesions, reverse = found["lesions"], found["reverse"]
    for name, value in found["auroc"].items():
        print(f"test AUROC of the network trained on {name} images: {value['value']:.3f}")
    print(
        f"\n{lesions['images']} abnormal test images, one per patient, that the honest network calls abnormal "
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
    print(f"best: {lesions['best']}; goal of {lesions['goal']} reached: {lesions['reached']}")
    print(f"\nreverse test on {reverse['images']} marked images; caught: {reverse['rule']}")
    print(f"{'method':32} {'fooled, peak on disc':>21} {'honest':>9} {'energy':>7} {'honest':>7}")
    for name, row in reverse["methods"].items():
        one, other = (row[who]["pointing"] for who in ("fooled", "honest"))
        energy = [row[who]["energy"]["value"] for who in ("fooled", "honest")]
        print(
            f"{name:32} {one['k']:>17}/{one['n']:<3} {other['k']:>5}/{other['n']:<3} {energy[0]:7.3f} "
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
