"""Distillation: a student learns the soft outputs of several trained models (Hinton, Vinyals & Dean, 2015).

    loss = (1 - alpha) * loss of the labels + alpha * T^2 * KL(softmax(teachers / T), softmax(student / T))

where `teachers` are the mean logits of all teachers on the same augmented image as the student. One
network then predicts nearly as the ensemble does, at the cost of one.

A student of two classes may also learn from teachers of several abnormal classes: the probability
of being abnormal is the sum over the kinds, so their logit is log(sum(exp(logits of the kinds))).
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from hilum.artifacts.card import ModelFacts
from hilum.data.cases import HEALTHY
from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.models import ChestModel, load_model


def load_teachers(
    places: Sequence[str], classes: Sequence[str], pixels: Pixels, facts: ModelFacts
) -> list[ChestModel]:
    """The teachers, frozen and in eval mode, in the order of `places` (folders that `load_model` reads). `card`: what
    the student's model.json will say of its data and split. RecipeError for a teacher with other classes or another
    pixel contract, or one that was trained on another split or other data: it might know the student's validation
    images."""
    teachers = []
    for place in places:
        teacher = load_model(place)
        if teacher.classes != tuple(classes) and not _finer(teacher.classes, classes):
            raise RecipeError(
                f"teacher {place} has the classes {', '.join(teacher.classes)}, not {', '.join(classes)}",
                "name a run's folder of the same task",
            )
        if _contract(teacher.pixels) != _contract(pixels):
            raise RecipeError(
                f"teacher {place} has the pixel contract {_contract(teacher.pixels)}, the student {_contract(pixels)}",
                "use the same pixels in both recipes",
            )
        for theirs, ours, what in zip(_seen(teacher.card), _seen(facts), ("data", "split"), strict=True):
            if theirs != ours:
                raise RecipeError(
                    f"teacher {place} was trained on another {what}, so it may know the validation images",
                    "train it on the same images and split",
                )
        teachers.append(teacher)
    return teachers


def _seen(facts: ModelFacts | None) -> tuple[str | None, tuple[Any, ...] | None]:
    """What names the images of a training, and how they were split."""
    if facts is None:
        return None, None
    data, split = facts.data, facts.split
    return data and data.digest, split and (split.scheme, split.seed, split.fold, split.folds)


def _finer(theirs: Sequence[str], ours: Sequence[str]) -> bool:
    """Whether `theirs` are normal and several abnormal classes, and `ours` normal and abnormal."""
    return len(ours) == 2 and len(theirs) > 2 and theirs[0] == ours[0] == HEALTHY


def _contract(pixels: Pixels) -> tuple[Any, ...]:
    """What of a pixel contract affects the input; images standardised one by one need no mean and sd."""
    own = pixels.standardize == "image"
    return (
        pixels.size,
        pixels.fit,
        pixels.standardize,
        None if own else pixels.mean,
        None if own else pixels.sd,
    )


@torch.no_grad()
def mean_logits(
    teachers: Sequence[ChestModel], x: Float[Tensor, "batch 1 rows cols"], classes: int
) -> Float[Tensor, "batch classes"]:
    """The mean of the teachers' logits for a student of so many classes.

    >>> from hilum.models import build
    >>> teacher = build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64))).eval()
    >>> mean_logits([teacher, teacher], torch.zeros(1, 1, 64, 64), 2).shape
    torch.Size([1, 2])
    """
    outputs = [teacher.to(x.device)(x).float() for teacher in teachers]
    folded = [logits if logits.shape[1] == classes else abnormal_together(logits) for logits in outputs]
    return torch.stack(folded).mean(0)


def abnormal_together(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch 2"]:
    """Logits of normal (the first class) and abnormal (any of the others).

    >>> abnormal_together(torch.tensor([[0.0, 0.0, 0.0]])).softmax(1).round(decimals=3).tolist()
    [[0.333..., 0.666...]]
    """
    return torch.stack([logits[:, 0], logits[:, 1:].logsumexp(1)], dim=1)


def soft_loss(
    student: Float[Tensor, "batch classes"], teacher: Float[Tensor, "batch classes"], temperature: float
) -> Float[Tensor, ""]:
    """T^2 times the Kullback-Leibler divergence from the teacher's softened output; 0 where both agree.

    >>> float(soft_loss(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 3.0]]), 2.0))  # a shift has no effect
    0.0
    """
    wanted = functional.log_softmax(teacher / temperature, 1)
    given = functional.log_softmax(student / temperature, 1)
    return temperature**2 * functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
