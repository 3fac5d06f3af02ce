"""Do concept directions unmask a planted marker? Two networks on phantom images, one trained where every abnormal
image carries a marker and no healthy one, one trained without. Both are asked on the same new images: abnormal
children of whom half carry the marker. Prints every concept's scores beside its classifier's accuracy.

    python benchmarks/concepts.py [--seed 0]
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hilum.data.cases import HEALTHY
from hilum.data.images import Pixels
from hilum.data.sources.phantom import PhantomSettings, phantom_image, plan
from hilum.explain.filters.concepts import concept_scores, image_concepts, maps_and_slopes, sides
from hilum.models import ChestModel, build

CLASSES = ("normal", "pneumonia")
SIZE = (96, 96)
PIXELS = Pixels(size=SIZE)


def drawn(
    settings: PhantomSettings, split: str
) -> tuple[Tensor, np.ndarray, list[str], list[dict[str, float]]]:
    """Prepared images, class numbers, patients and measured concepts of one split."""
    images, targets, patients, concepts = [], [], [], []
    for row in plan(settings).to_dict("records"):
        if row["split"] != split:
            continue
        one = phantom_image(settings, str(row["label"]), int(row["person"]), int(row["image"]))
        masks = {
            name: getattr(one, name) for name in ("lesion", "lung", "heart", "ribs", "marker", "shortcut")
        }
        images.append(PIXELS.apply(one.image))
        targets.append(int(row["label"] != HEALTHY))
        patients.append(str(row["patient"]))
        concepts.append(image_concepts(one.image, masks))
    return torch.stack(images), np.array(targets), patients, concepts


def trained(x: Tensor, targets: np.ndarray, seed: int, epochs: int = 10) -> ChestModel:
    """A small residual network after a plain training."""
    torch.manual_seed(seed)
    model = build("resnet", CLASSES, PIXELS, {"width": 16, "embedding": 64})
    truth = torch.from_numpy(targets)
    batches = epochs * (len(x) // 16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=batches)
    for _ in range(epochs):
        for rows in torch.randperm(len(x))[: len(x) // 16 * 16].split(16):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), truth[rows]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def main() -> None:
    """Prints one table per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    seed = parser.parse_args().seed
    torch.set_num_threads(1)
    asked, truth, patients, concepts = drawn(PhantomSettings(500, SIZE, seed + 1, "marker", 0.5), "test")
    abnormal = truth == 1
    columns = {name: np.array([one[name] for one in concepts]) for name in concepts[0]}
    known = sides({name: np.where(abnormal, values, np.nan) for name, values in columns.items()})
    healthy = drawn(PhantomSettings(500, SIZE, seed + 2), "test")
    for title, shortcut in (
        ("trained without a marker", None),
        ("every abnormal image has a marker", "marker"),
    ):
        x, targets, _, _ = drawn(PhantomSettings(400, SIZE, seed, shortcut), "train")
        model = trained(x, targets, seed)
        with torch.no_grad():
            answers = torch.cat([model(part).argmax(1) for part in asked.split(32)]).numpy()
            clean = torch.cat([model(part).argmax(1) for part in healthy[0].split(32)]).numpy()
        marked = columns["marker"] == 1
        print(f"\n{title}: {len(x)} images; abnormal, marked {answers[abnormal & marked].mean():.2f}, abnormal"
              f" without {answers[abnormal & ~marked].mean():.2f}, healthy {answers[~abnormal].mean():.2f};"
              f" on images without markers {(clean == healthy[1]).mean():.2f} right")  # fmt: skip
        for layer in (None, "features.8", "features.6"):
            means, slopes = maps_and_slopes(model, asked, layer, 1)
            print(f"layer {layer or 'features'}")
            for name, side in known.items():
                [one] = concept_scores(name, means, side, patients, {1: slopes[abnormal]}, seed=seed)
                print(
                    f"  {name:24s} score {one.score:.2f} (shuffled {one.random.mean():.2f}), p {one.p:.1e},"
                    f" slope {one.slope:+.2f}, alignment {one.alignment:+.2f} (at most {one.noise:.2f}),"
                    f" accuracy {one.accuracy:.2f} ({one.chance:.2f}), images {one.images}, matters"
                    f" {one.matters(len(known))}"
                )


if __name__ == "__main__":
    main()
