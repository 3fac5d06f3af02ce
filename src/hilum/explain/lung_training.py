"""Makes the weights of the lung field: python -m hilum.explain.lung_training OUT [--seed 0] [--steps 700]

Phantom images, varied in shape and exposure each time they are used. Deterministic by seed on one
machine and one thread; another processor may round otherwise.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from hilum.artifacts.base import Figure
from hilum.artifacts.card import LungCard, OverlapFacts
from hilum.data.sources.phantom import LABELS, PhantomSettings, draw
from hilum.evaluation.means import mean_over_patients
from hilum.files import digest, replacing, write_json
from hilum.lungs.net import LungNet
from hilum.lungs.outline import SIDE
from hilum.lungs.segment import field_of, standardised
from hilum.progress import advancing

Generator = np.random.Generator

IMAGES = 600
HELD = 150
BATCH = 16
SIZE = (112, 128)
"""Of the phantom images; the network reads 64 x 64 of a piece."""


def phantom_set(seed: int, count: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`count` radiographs of as many patients and their lungs, uint8 and bool "images rows cols".

    >>> radiographs, lungs = phantom_set(0, 2)
    >>> radiographs.shape == lungs.shape, lungs.dtype.name
    (True, 'bool')
    """
    settings = PhantomSettings(size=SIZE)
    made = []
    with advancing("making phantoms") as advance:
        for number in range(first, first + count):
            radiograph = draw(
                np.random.default_rng([seed, number]), LABELS[number % len(LABELS)], settings=settings
            )
            made.append((radiograph.image, radiograph.lung))
            advance(len(made), count)
    return np.stack([image for image, _ in made]), np.stack([lung for _, lung in made])


def varied(rng: Generator, image: np.ndarray, lung: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Another radiograph of the same chest, both 64 x 64: turned, stretched, cut, with bright things on it,
    exposed, equalised, blurred and grained otherwise.

    >>> radiograph, mask = varied(np.random.default_rng(0), np.zeros((96, 80), np.uint8), np.ones((96, 80), bool))
    >>> radiograph.shape, radiograph.dtype.name, mask.shape
    ((64, 64), 'uint8', (64, 64))
    """
    rows, cols = image.shape
    angle = np.deg2rad(rng.normal(0, 6))
    frame_fraction = rng.uniform(0.75, 1.4)
    stretch = np.exp(rng.normal(0, 0.17))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1, rng.normal(0, 0.05)], [0, 1]])
    change = (
        turn
        @ shear
        @ np.diag([SIDE / cols * frame_fraction * stretch, SIDE / rows * frame_fraction / stretch])
    )
    middle = np.array([SIDE / 2, SIDE / 2]) + rng.normal(0, 4.0, 2)
    onto = np.column_stack([change, middle - change @ np.array([cols / 2, rows / 2])])
    edge = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    radiograph = cv2.warpAffine(image, onto, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=edge).astype(
        np.float32
    )
    mask = cv2.warpAffine(lung.astype(np.float32), onto, (SIDE, SIDE), flags=cv2.INTER_LINEAR) > 0.5

    x = radiograph / 255
    x = np.clip(x, 0, 1) ** np.exp(rng.normal(0, 0.4))
    slope = rng.normal(0, 0.25, 2)
    line = np.linspace(-0.5, 0.5, SIDE, dtype=np.float32)
    x = x + slope[0] * line[:, None] + slope[1] * line[None]
    x = x + rng.uniform(0, 0.3) * cv2.resize(
        rng.standard_normal((4, 4)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC
    )
    if rng.random() < 0.45:  # one side hazy, as with effusion or a turned patient
        half = cv2.GaussianBlur((mask & (line[None] * rng.choice([-1, 1]) > 0)).astype(np.float32), (0, 0), 2)
        x = x + rng.uniform(0, 0.45) * half
    for _ in range(rng.poisson(0.8)):  # labels, clips, tubes, a shoulder blade
        top, left = rng.integers(0, SIDE, 2)
        size = rng.integers(2, 14, 2)
        shade = rng.uniform(0.1, 0.6)
        x[top : top + size[0], left : left + size[1]] += shade
    if rng.random() < 0.4:
        level = np.clip(255 * x, 0, 255).astype(np.uint8)
        x = cv2.createCLAHE(rng.uniform(1, 4), (4, 4)).apply(level).astype(np.float32) / 255
    x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.2, 1.4))
    x = x + rng.normal(0, rng.uniform(0, 0.05), x.shape)
    x = np.clip(rng.uniform(0.6, 1.3) * (x - 0.5) + 0.5 + rng.normal(0, 0.08), 0, 1)
    return np.rint(255 * x).astype(np.uint8), mask


def train(images: np.ndarray, lungs: np.ndarray, seed: int, steps: int) -> LungNet:
    """A network fitted to varied images, in eval mode. `images`, `lungs`: as `phantom_set` gives them; `steps`: of
    16 images each. Loss: cross-entropy plus 1 - Dice (Milletari et al., 3DV 2016)."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    net = LungNet().train()
    optimiser = torch.optim.AdamW(net.parameters(), 1e-2, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    with advancing("training the lung field") as advance:
        for step in range(steps):
            made = [
                varied(rng, *_mirrored(rng, images[i], lungs[i]))
                for i in rng.integers(len(images), size=BATCH)
            ]
            x = standardised(np.stack([image for image, _ in made]))
            wanted = torch.from_numpy(np.stack([mask for _, mask in made]))[:, None].float()
            loss = _loss(net(x), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            advance(step + 1, steps)
    return net.eval()


def _mirrored(rng: Generator, image: np.ndarray, lung: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (image[:, ::-1].copy(), lung[:, ::-1].copy()) if rng.random() < 0.3 else (image, lung)


def _loss(odds: Tensor, wanted: Tensor) -> Tensor:
    p = odds.sigmoid()
    both, sizes = (p * wanted).sum((1, 2, 3)), (p + wanted).sum((1, 2, 3))
    dice = 1 - ((2 * both + 1) / (sizes + 1)).mean()
    return torch.nn.functional.binary_cross_entropy_with_logits(odds, wanted) + dice


def overlaps(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of each image, "images"; 1 where both are empty.

    >>> overlaps(np.array([[[True, True]]]), np.array([[[True, False]]])).tolist()
    [0.5]
    """
    both, either = (predicted & truth).sum((1, 2)), (predicted | truth).sum((1, 2))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def _rounded(figure: Figure) -> Figure:
    numbers = {name: round(value, 4) for name, value in figure.set_fields().items()}
    return Figure(**numbers)


def main() -> None:
    """Writes weights.safetensors (float16) and, last, card.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=700)
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    net = train(*phantom_set(options.seed, IMAGES), options.seed, options.steps)
    net.half().float()  # what is measured is what is stored
    data = save_tensors(
        {
            name: tensor.half().contiguous()
            for name, tensor in net.state_dict().items()
            if tensor.is_floating_point()
        }
    )
    with replacing(options.out / "weights.safetensors") as temporary:
        temporary.write_bytes(data)
    images, truth = phantom_set(options.seed, HELD, IMAGES)
    values = overlaps(np.stack([field_of(net, image) for image in images]), truth)
    card = LungCard(
        about="lung field of a frontal chest image, 64 x 64",
        command=f"python -m hilum.explain.lung_training OUT --seed {options.seed} --steps {options.steps}",
        trained_on=f"{IMAGES} phantom images (hilum.data.sources.phantom), none of a person",
        weights_digest=digest(data),
        parameters=sum(weight.numel() for weight in net.parameters()),
        iou=OverlapFacts(
            images=f"{HELD} phantom images of other patients",
            mean=_rounded(mean_over_patients(values, np.arange(HELD), 0, 1)),
            lowest_tenth=round(float(np.quantile(values, 0.1)), 4),
        ),
    )
    write_json(options.out / "card.json", card.model_dump(mode="json"))
    print(json.dumps({"seconds": round(time.perf_counter() - start), "iou": float(values.mean())}))


if __name__ == "__main__":
    main()
