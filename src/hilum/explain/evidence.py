"""What is explained: the evidence of a network for one class, as one number per image.

Softmax gives the same probabilities when a number is added to all logits, so a logit alone means nothing: a
network with one output neuron z has the logits (0, z), and the gradient of class 0 would be zero. Evidence is
therefore the logit of the class minus the mean of the other logits. With two classes this is the log-odds
log(p / (1 - p)), and the two classes have opposite evidence. Shrikumar et al. (ICML 2017, section 3.6)
normalise contributions to softmax layers in the same way, up to a factor.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import DataError, ModelError, RecipeError, nearest
from hilum.explain.network.frozen import frozen_copy, takes_no_image
from hilum.models import ChestModel

GivenImages = Tensor
"""Images of a caller, "batch channels rows cols": `class_evidence` says in a sentence what does not fit."""


def evidence(logits: Float[Tensor, "batch classes"], target: int) -> Float[Tensor, " batch"]:
    """The logit of class `target` minus the mean of the others; a single logit is its own evidence.

    >>> evidence(torch.tensor([[0.0, 3.0]]), 0), evidence(torch.tensor([[1.0, 2.0, 6.0]]), 2)
    (tensor([-3.]), tensor([4.5000]))
    """
    classes = logits.shape[1]
    if classes == 1:
        return logits[:, 0]
    return (logits[:, target] * classes - logits.sum(1)) / (classes - 1)


def probability(logits: Float[Tensor, "batch classes"], target: int) -> Float[Tensor, " batch"]:
    """The probability of class `target`: softmax, or the sigmoid of a single logit.

    >>> probability(torch.tensor([[0.0, 0.0]]), 1)
    tensor([0.5000])
    """
    return logits[:, 0].sigmoid() if logits.shape[1] == 1 else logits.softmax(1)[:, target]


def scored(logits: Tensor, target: int, output: str) -> Tensor:
    """One number "batch" per row of logits: see `occlusion_map`. RecipeError for an unknown output.

    >>> scored(torch.tensor([[0.0, 3.0]]), 1, "logit"), scored(torch.tensor([[0.0, 0.0]]), 1, "probability")
    (tensor([3.]), tensor([0.5000]))
    """
    if output not in ("probability", "logit", "evidence"):
        raise RecipeError(
            f"output {output!r} is not known", nearest(output, ["probability", "logit", "evidence"])
        )
    if output == "probability":
        return probability(logits, target)
    return logits[:, target] if output == "logit" else evidence(logits, target)


@dataclass(frozen=True)
class ClassEvidence:
    """A model, images and a class, checked. `model` is a frozen copy in eval mode without in-place layers.

    Both are float32, whatever the types given. Calling it gives the evidence "batch" for images like `x`.
    """

    model: nn.Module
    x: Tensor
    target: int

    def __call__(self, x: Tensor) -> Tensor:
        """The evidence for the class, "batch", float32."""
        return evidence(self.model(x), self.target)

    def probability(self, x: Tensor) -> Tensor:
        """The probability of the class, "batch", float32.

        >>> x = torch.zeros(3, 2, 1, 1)
        >>> ClassEvidence(nn.Flatten(), x, 1).probability(x)
        tensor([0.5000, 0.5000, 0.5000])
        """
        return probability(self.model(x), self.target)


def class_evidence(model: nn.Module, x: Tensor, target: int) -> ClassEvidence:
    """What an attribution method works on: checks the images and the class, and copies the model.

    DataError for images that are not "batch channels rows cols", not finite, or of another size than
    `model.pixels`; ModelError for a class that the model does not have.

    >>> score = class_evidence(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.zeros(3, 1, 2, 2), 1)
    >>> score(score.x).shape
    torch.Size([3])
    """
    if x.dim() != 4 or len(x) == 0 or not x.is_floating_point():
        raise DataError(
            f"images of shape {tuple(x.shape)} and type {x.dtype} can't be explained",
            "give floats, batch x channels x rows x cols",
        )
    if isinstance(model, ChestModel):
        wanted = (model.pixels.channels, *model.pixels.size)
        if tuple(x.shape[1:]) != wanted:
            raise DataError(
                f"an image of {_size(x.shape[1:])} does not fit the model, which takes {_size(wanted)}",
                "prepare it with model.pixels.apply()",
            )
    if not x.isfinite().all():
        raise DataError("an image holds NaN or infinity", "prepare it with model.pixels.apply()")
    x = x.detach().float()
    frozen = frozen_copy(model).float()
    for module in frozen.modules():
        if getattr(module, "inplace", False) is True:
            setattr(module, "inplace", False)  # noqa: B010 (torch's types allow modules and tensors only)
    check_class(frozen, x, target)
    return ClassEvidence(frozen, x, target)


@torch.no_grad()
def check_class(model: nn.Module, x: Tensor, target: int) -> None:
    """ModelError when the model does not return one row of logits per image, or has no class `target`.

    >>> check_class(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.zeros(1, 1, 2, 2), 1)
    """
    try:
        logits = model(x[:1])
    except TypeError as error:
        raise takes_no_image(error) from None
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"the model can't take an image of {_size(x.shape[1:])} ({reason})", "give a size that fits"
        ) from None
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        raise ModelError("the model does not return logits, batch x classes", "give a classifier")
    if isinstance(target, bool) or not isinstance(target, int) or not 0 <= target < logits.shape[1]:
        raise ModelError(
            f"the model has no class {target}", f"it has {logits.shape[1]}: 0 to {logits.shape[1] - 1}"
        )


def at_least(least: float, **options: float) -> None:
    """RecipeError when an option of a method is below `least` or no number.

    >>> at_least(1, steps=4, batch=2)
    """
    for name, value in options.items():
        if not isinstance(value, (int, float)) or not least <= value < float("inf"):
            raise RecipeError(f"option {name} = {value!r} is not possible", f"use {least:g} or more")


def gradient(score: ClassEvidence, x: Tensor) -> Tensor:
    """The gradient of the evidence with respect to images, of the same shape.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> net[1].weight.data = torch.tensor([[2.0, -1.0]])
    >>> score = class_evidence(net, torch.zeros(1, 1, 1, 2), 0)
    >>> gradient(score, score.x).tolist()
    [[[[2.0, -1.0]]]]
    """
    with torch.enable_grad():
        x = x.detach().clone().requires_grad_(True)
        value = score(x).sum()
        (derivative,) = torch.autograd.grad(value, x) if value.requires_grad else (torch.zeros_like(x),)
    return derivative


def _size(shape: tuple[int, ...] | torch.Size) -> str:
    """(1, 96, 96) -> "1 x 96 x 96"."""
    return " x ".join(map(str, shape))
