"""What `hilum predict` says of pictures without a chest, with the packaged models: a table for docs/no_chest.md.

    python benchmarks/no_chest.py --data chest_xray                 # 100 pictures of each of 24 kinds
    python benchmarks/no_chest.py --data chest_xray --fit           # fits the intake check of the package anew
    python benchmarks/no_chest.py --data chest_xray --intake-only   # without the networks: a minute

`--data` holds the public paediatric set. Its held-out radiographs are those of the packaged models: by patient, 15 %,
seed 0. The pictures are drawn, or made from these radiographs, with a seed; they are given as files, so that colour is
seen. A picture counts as answered when it gets a class; else it is refused, flagged (by intake or guards), or abstained
from for another reason. The last rows are phantoms, which should be flagged, and the held-out
radiographs, which should not: in the look of the other label's devices, as they are, and with p-values among the other
half of the patients.
"""

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

import hilum
from hilum.data.cases import Cases
from hilum.data.counterfactual.sets import in_other_look
from hilum.data.decode import read_grey
from hilum.data.images import Pixels
from hilum.data.sources.phantom import PhantomSettings, phantom_image
from hilum.data.split import split_cases
from hilum.inference.intake import FILE, Intake
from hilum.inference.intake_features import PIXELS
from hilum.inference.intake_fit import intake_for
from hilum.inference.prediction import Prediction
from hilum.inference.refusal import check_picture, in_colour, least_side
from hilum.serving.predictor import WEIGHTS, packaged
from no_chest_pictures import KINDS, pictures

SIZE = (128, 128)
"""Of the packaged models."""


def outcome(prediction: Prediction) -> str:
    """answered, refused, flagged, or abstained."""
    if prediction.error is not None:
        return "refused"
    if prediction.prediction is not None:
        return "answered"
    is_flagged = prediction.ood is not None and prediction.ood.flagged
    return "flagged" if is_flagged or "in colour" in str(prediction.reason) else "abstained"


def by_intake(paths: list[Path], intake: Intake) -> Counter[str]:
    """The same without the networks: what the intake alone does."""
    counts: Counter[str] = Counter()
    for path in paths:
        grey = read_grey(path)
        try:
            check_picture(grey, least_side(SIZE, intake.side))
        except hilum.HilumError:
            counts["refused"] += 1
            continue
        flagged = in_colour(path) or intake.judge(PIXELS.prepare(grey)[None])[0][0] <= intake.rate
        counts["flagged" if flagged else "answered"] += 1
    return counts


def line(name: str, counts: Counter[str]) -> str:
    """A row of the table."""
    n = sum(counts.values())
    shares = [counts[kind] for kind in ("refused", "flagged", "abstained", "answered")]
    share = 100 * (counts["refused"] + counts["flagged"]) / n
    return f"| {name.replace('_', ' ')} | {n} | {' | '.join(map(str, shares))} | {share:.1f} % |"


def halves(intake: Intake, cases: Cases, val: np.ndarray) -> tuple[int, int]:
    """Held-out radiographs that the intake flags by the scores of the other half of the patients; and all."""
    images = np.stack([PIXELS.prepare(read_grey(path)) for path in cases.table["path"][val]])
    names, number = np.unique(cases.table["patient"][val].to_numpy(str), return_inverse=True)
    half = np.random.default_rng(0).permutation(len(names))[number] % 2 == 0
    flagged = sum(
        int((intake.calibrated(images[side]).judge(images[~side])[0] <= intake.rate).sum())
        for side in (half, ~half)
    )
    return flagged, len(images)


def phantoms(count: int) -> np.ndarray:
    """Drawn chests, of a kind that the models have not seen: uint8 "images rows cols"."""
    settings = PhantomSettings()
    labels = ("normal", "bacteria", "virus")
    return np.stack([phantom_image(settings, labels[number % 3], number, 0).image for number in range(count)])


def in_the_other_look(cases: Cases, split: pd.Series, count: int, seed: int) -> np.ndarray:
    """Held-out radiographs in the look of the other label's devices (docs/shift.md), uint8 "images 224 224"."""
    part = cases.table["case_id"].map(split)
    rows = cases.table[part == "val"].sample(count, random_state=seed).reset_index(drop=True)
    pixels = Pixels(size=(224, 224), trim=False)
    return in_other_look(cases, rows, cases.table[part == "train"], pixels, seed, "images in the other look")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--intake-only", action="store_true")
    parser.add_argument(
        "--kinds", nargs="*", default=list(KINDS), help="default: all; none for radiographs alone"
    )
    options = parser.parse_args()
    cases = hilum.open_source(options.data)
    split = split_cases(cases, "patient", seed=0, val_fraction=0.15).of
    if options.fit:
        for task in ("binary", "multiclass"):
            intake_for(cases, split, 300).save(WEIGHTS / task / FILE)
    intake = Intake.load(WEIGHTS / "multiclass" / FILE)
    val = (split.reindex(cases.table["case_id"]) == "val").to_numpy()
    paths = [Path(path) for path in cases.table["path"][val]]
    radiographs = np.stack([read_grey(path) for path in paths])

    def counted(some: list[Path]) -> Counter[str]:
        if options.intake_only:
            return by_intake(some, intake)
        return Counter(map(outcome, packaged("cpu").stream(some)))

    print(
        "| kind | n | refused | flagged | abstained | answered | refused or flagged |\n|---|--:|--:|--:|--:|--:|--:|"
    )
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds:
            files = [Path(folder) / f"{kind}-{number}.png" for number in range(options.count)]
            made = pictures(kind, radiographs, options.count, options.seed)
            for file, picture in zip(files, made, strict=True):
                cv2.imwrite(str(file), picture, [cv2.IMWRITE_PNG_COMPRESSION, 0])
            print(line(kind, counted(files)), flush=True)
        looks = in_the_other_look(cases, split, 2 * options.count, options.seed)
        for kind, made in (("phantoms", phantoms(options.count)), ("radiographs, other look", looks)):
            files = [Path(folder) / f"{kind}-{number}.png" for number in range(len(made))]
            for file, picture in zip(files, made, strict=True):
                cv2.imwrite(str(file), picture)
            print(line(kind, counted(files)), flush=True)
    print(line("held-out radiographs", counted(paths)))
    flagged, n = halves(intake, cases, val)
    print(f"\nIntake alone, p-values among the other half of the patients: {flagged} of {n} flagged.")


if __name__ == "__main__":
    main()
