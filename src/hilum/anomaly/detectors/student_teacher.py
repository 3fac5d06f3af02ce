"""Student and teacher: where a student that was trained on healthy images fails to predict its teacher's features.

Wang et al., "Student-teacher feature pyramid matching for anomaly detection", BMVC 2021; the idea is that of
Bergmann et al., "Uninformed students", CVPR 2020. There the teacher was trained on ImageNet; here it is a
network of `hilum.anomaly.features`, trained on the same healthy images or untrained. Like the residual of an
auto-encoder, the student's error is standardised by its mean and standard deviation on healthy images at each
position.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.anomaly import feature_net as networks
from hilum.anomaly.detector import Detector, Scored
from hilum.anomaly.healthy import HealthyImages
from hilum.anomaly.patches import summary, to_image
from hilum.anomaly.schedule import one_cycle
from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.progress import Advance

SMALLEST: dict[str, Any] = {
    "features": "random",
    "feature_options": {"width": 8},
    "epochs": 2,
    "batch_size": 4,
    "precision": "fp32",
}


class Student(nn.Module):
    """Convolutions with the teacher's strides and channels, but not its residual blocks, so that it can't
    match the teacher on content that healthy images do not show."""

    def __init__(self, dims: tuple[int, ...], strides: tuple[int, ...], width: int) -> None:
        super().__init__()
        stages, heads = [], []
        inside, before = 1, 1
        for dim, stride in zip(dims, strides, strict=True):
            layers: list[nn.Module] = []
            while before < stride:
                layers += [*_layer(inside, width, 2)]
                inside, before = width, 2 * before
            layers += [*_layer(inside, width, 1)]
            inside = width
            stages.append(nn.Sequential(*layers))
            heads.append(nn.Conv2d(width, dim, 1))
        self.stages, self.heads = nn.ModuleList(stages), nn.ModuleList(heads)

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> tuple[Tensor, ...]:
        """Maps as the teacher's.

        >>> [tuple(scale.shape) for scale in Student((32, 64), (4, 8), width=8)(torch.zeros(2, 1, 32, 48))]
        [(2, 32, 8, 12), (2, 64, 4, 6)]
        """
        maps = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            maps.append(head(x))
        return tuple(maps)


def _layer(inside: int, outside: int, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outside),
        nn.ReLU(),
    )


def disagreement(teacher: Tensor, student: Tensor) -> Float[Tensor, "batch rows cols"]:
    """Half the squared distance of the unit vectors at each place = 1 - cosine, 0..2 (equation 2 of Wang).

    >>> disagreement(torch.tensor([3.0, 0.0]).view(1, 2, 1, 1), torch.tensor([0.0, 5.0]).view(1, 2, 1, 1))
    tensor([[[1.]]])
    """
    difference = functional.normalize(teacher, dim=1) - functional.normalize(student, dim=1)
    return difference.square().sum(1) / 2


class StudentTeacher(Detector):
    """`center` and `sd`, "scales rows cols" at the finest scale: the disagreement on healthy images.

    The teacher's channels are standardised over healthy images first (`mean0`, `sd0` ...), or the channel with the
    largest values would dominate.
    """

    center: Tensor
    sd: Tensor

    def __init__(self, pixels: Pixels, teacher: networks.FeatureNet, settings: dict[str, Any]) -> None:
        super().__init__(pixels)
        self.teacher = teacher
        self.pretrained = teacher.pretrained
        self.settings = settings
        self.description = (
            "disagreement of a student trained on healthy images with its teacher; teacher:"
            f" {teacher.description}"
        )
        with torch.no_grad():
            maps = teacher.eval()(torch.zeros(1, pixels.channels, *pixels.size))
        self.dims = tuple(features.shape[1] for features in maps)
        exact = (pixels.size[0] / features.shape[2] for features in maps)
        self.strides = tuple(2 ** max(0, round(float(torch.tensor(value).log2()))) for value in exact)
        self.student = Student(self.dims, self.strides, settings["width"])
        for scale, dim in enumerate(self.dims):
            self.register_buffer(f"mean{scale}", torch.zeros(dim))
            self.register_buffer(f"sd{scale}", torch.ones(dim))
        for name in ("center", "sd"):
            self.register_buffer(name, torch.empty(0, 0, 0))

    def learn(self, images: HealthyImages, seed: int, advance: Advance) -> None:
        """Trains the teacher (if it is one that learns), then the student, then measures healthy images."""
        epochs, size = self.settings["epochs"], self.settings["batch_size"]
        steps = epochs * -(-len(images) // size)
        self.teacher.learn(images, seed, advance)
        self.teacher.eval().requires_grad_(False)
        self._scale_channels(images)
        self.student = Student(self.dims, self.strides, self.settings["width"])
        optimizer = torch.optim.AdamW(self.student.parameters(), lr=self.settings["lr"], weight_decay=1e-4)
        rates = one_cycle(optimizer, self.settings["lr"], steps)
        self.student.train()
        done = 0
        for epoch in range(epochs):
            for x in images.batches(size, seed + epoch):
                with torch.autocast("cpu", torch.bfloat16, enabled=self.settings["precision"] == "bf16"):
                    targets, predictions = self._targets(x), self.student(x)
                loss = torch.stack(
                    [
                        disagreement(a.float(), b.float()).mean()
                        for a, b in zip(targets, predictions, strict=True)
                    ]
                ).sum()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                rates.step()
                done += 1
                advance(done, steps)
        self.eval()
        self._sum_up(images)

    def measure(self, x: Float[Tensor, "batch 1 rows cols"]) -> Scored:
        """The standardised disagreement, averaged over the scales; its largest values give the score."""
        standardised = ((self._disagreements(x) - self.center) / self.sd).mean(1)
        score = summary(standardised.flatten(1), self.settings["top"])
        return Scored(score, to_image(standardised, x.shape[-2:]))

    @torch.no_grad()
    def _targets(self, x: Tensor) -> list[Tensor]:
        return [
            (features - self.get_buffer(f"mean{scale}")[:, None, None])
            / self.get_buffer(f"sd{scale}")[:, None, None]
            for scale, features in enumerate(self.teacher(x))
        ]

    def _disagreements(self, x: Tensor) -> Float[Tensor, "batch scales rows cols"]:
        scales = [disagreement(a, b) for a, b in zip(self._targets(x), self.student(x), strict=True)]
        return torch.stack([to_image(scale, scales[0].shape[-2:]) for scale in scales], dim=1)

    @torch.no_grad()
    def _scale_channels(self, images: HealthyImages) -> None:
        count = 0
        sums = [torch.zeros(2, dim, dtype=torch.float64) for dim in self.dims]
        for x in images.batches(32):
            for scale, features in enumerate(self.teacher(x)):
                values = features.double()
                sums[scale] += torch.stack([values.mean((2, 3)).sum(0), values.square().mean((2, 3)).sum(0)])
            count += len(x)
        for scale, (total, squares) in enumerate(sums):
            mean = total / count
            sd = (squares / count - mean.square()).clamp(min=0).sqrt()
            self.get_buffer(f"mean{scale}").copy_(mean)
            self.get_buffer(f"sd{scale}").copy_(sd.clamp(min=max(1e-3 * float(sd.max()), 1e-6)))

    @torch.no_grad()
    def _sum_up(self, images: HealthyImages) -> None:
        total = squares = torch.zeros(())
        for x in images.batches(32):
            values = self._disagreements(x).double()
            total, squares = total + values.sum(0), squares + values.square().sum(0)
        self.center = (total / len(images)).float()
        sd = (squares / len(images) - self.center.double().square()).clamp(min=0).sqrt().float()
        floor = 0.2 * sd.mean((1, 2), keepdim=True)
        self.sd = torch.maximum(sd, floor).clamp(min=1e-6)


def build(
    pixels: Pixels,
    features: str = "random",
    feature_options: dict[str, Any] | None = None,
    width: int = 64,
    epochs: int = 15,
    batch_size: int = 32,
    lr: float = 2e-3,
    top: float = 0.1,
    precision: str = "bf16",
) -> StudentTeacher:
    """`features`, `feature_options`: the teacher, as in patch_memory; `width`: channels of the student;
    `top`: the share of positions, those with the largest values, whose mean is the score; `precision` of the
    training.

    >>> detector = build(Pixels(size=(64, 64)), feature_options={"width": 8})
    >>> detector.dims, detector.strides
    ((8, 16, 32), (4, 8, 16))
    """
    if width < 1 or epochs < 1 or batch_size < 2:
        raise RecipeError(
            f"student_teacher: width {width}, epochs {epochs}, batch_size {batch_size} are too small",
            "choose 1 or more, and two images per batch",
        )
    if not 0 <= top <= 1:
        raise RecipeError(f"student_teacher: top is {top}", "choose a share between 0 and 1")
    if not lr > 0:
        raise RecipeError(f"student_teacher: lr is {lr}", "choose more than 0")
    if precision not in ("bf16", "fp32"):
        raise RecipeError(f"student_teacher: precision {precision!r} is not known", "choose 'bf16' or 'fp32'")
    settings = {
        "width": width,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "top": top,
        "precision": precision,
    }
    return StudentTeacher(pixels, networks.build(features, pixels, feature_options), settings)
