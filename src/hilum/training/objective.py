"""What a training minimises, and how its logits become probabilities: one class per image, or several findings."""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from hilum.training.config import Training


@runtime_checkable
class Objective(Protocol):
    """The link function, the loss and what counts as a hit. `target`: as the set of images has it."""

    def loss(self, logits: Tensor, target: Tensor, training: Training, weights: Tensor | None) -> Tensor:
        """The loss of each case, "batch"; its mean is minimised."""
        ...

    def validation_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a whole split, without smoothing or weights."""
        ...

    def divergence(self, logits: Tensor, others: Tensor) -> Tensor:
        """How far the answers to two views of each case are apart, "batch"."""
        ...

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """The share of correct predictions, 0 to 1."""
        ...

    def probabilities(self, logits: Tensor) -> np.ndarray:
        """float64 "cases classes"."""
        ...


@dataclass(frozen=True)
class OneClass:
    """Softmax and cross-entropy; the target is the index of a class, int64 "batch"."""

    def loss(self, logits: Tensor, target: Tensor, training: Training, weights: Tensor | None) -> Tensor:
        """See `loss_per_case`.

        >>> logits, target = torch.tensor([[0.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1])
        >>> [round(value, 3) for value in OneClass().loss(logits, target, Training(epochs=1), None).tolist()]
        [0.693, 0.127]
        """
        return loss_per_case(logits, target, training, weights)

    def validation_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean cross-entropy in nats.

        >>> round(float(OneClass().validation_loss(torch.zeros(1, 2), torch.tensor([1]))), 4)  # ln 2
        0.6931
        """
        return functional.cross_entropy(logits, target)

    def divergence(self, logits: Tensor, others: Tensor) -> Tensor:
        """See `jensen_shannon`.

        >>> OneClass().divergence(torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 3.0]])).tolist()  # equal answers
        [0.0]
        """
        return jensen_shannon(logits.log_softmax(1), others.log_softmax(1))

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """Accuracy of the most probable class.

        >>> float(OneClass().hits(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])))
        0.5
        """
        return (logits.argmax(1) == target).float().mean()

    def probabilities(self, logits: Tensor) -> np.ndarray:
        """Softmax.

        >>> OneClass().probabilities(torch.zeros(1, 2)).tolist()
        [[0.5, 0.5]]
        """
        return logits.double().softmax(1).cpu().numpy()


@dataclass(frozen=True)
class ManyFindings:
    """A sigmoid per finding and binary cross-entropy over what is stated; the target is 1 present, 0 absent, NaN not
    stated, float32 "batch findings"."""

    def loss(self, logits: Tensor, target: Tensor, training: Training, weights: Tensor | None) -> Tensor:
        """See `masked_loss_per_case`; there are no class weights.

        >>> target = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
        >>> losses = ManyFindings().loss(torch.zeros(2, 2), target, Training(epochs=1), None)
        >>> [round(value, 4) for value in losses.tolist()]
        [0.4621, 0.9242]
        """
        return masked_loss_per_case(logits, target, training.label_smoothing)

    def validation_loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Mean binary cross-entropy of what is stated, in nats.

        >>> target = torch.tensor([[1.0, float("nan")]])
        >>> round(float(ManyFindings().validation_loss(torch.zeros(1, 2), target)), 4)  # ln 2
        0.6931
        """
        return masked_loss_per_case(logits, target).mean()

    def divergence(self, logits: Tensor, others: Tensor) -> Tensor:
        """The mean of `jensen_shannon` over the findings, stated or not.

        >>> ManyFindings().divergence(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.0]])).tolist()
        [0.0]
        """
        sides = (torch.stack([values, -values]) for values in (logits, others))
        return jensen_shannon(*(functional.logsigmoid(both) for both in sides), dim=0).mean(1)

    def hits(self, logits: Tensor, target: Tensor) -> Tensor:
        """Share of what is stated that lies on its side of probability 0.5; NaN where nothing is stated.

        >>> target = torch.tensor([[1.0, float("nan"), 0.0]])
        >>> float(ManyFindings().hits(torch.tensor([[2.0, 2.0, 2.0]]), target))
        0.5
        """
        known = ~target.isnan()
        return ((logits > 0) == (target > 0.5))[known].float().mean()

    def probabilities(self, logits: Tensor) -> np.ndarray:
        """Sigmoid of each logit.

        >>> ManyFindings().probabilities(torch.tensor([[0.0, 1000.0]])).tolist()
        [[0.5, 1.0]]
        """
        return logits.double().sigmoid().cpu().numpy()


def loss_per_case(
    logits: Float[Tensor, "batch classes"],
    target: Int[Tensor, " batch"],
    training: Training,
    weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, " batch"]:
    """Cross-entropy, or binary cross-entropy of the logit difference (two classes); the same number for two
    classes, kept apart because the seed report names it.

    Class weights multiply each case's loss.

    >>> t = Training(epochs=1)
    >>> round(float(loss_per_case(torch.zeros(1, 2), torch.tensor([1]), t)[0]), 4)  # ln 2
    0.6931
    """
    smoothing = training.label_smoothing
    if training.loss == "binary_cross_entropy":
        z = logits[:, 1] - logits[:, 0]
        smoothed = target.float() * (1 - smoothing) + smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(z, smoothed, reduction="none")
    else:
        losses = functional.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
    return losses if weights is None else losses * weights[target]


def jensen_shannon(
    logs: Float[Tensor, "*shape"], others: Float[Tensor, "*shape"], dim: int = 1
) -> Float[Tensor, "*rest"]:
    """Jensen-Shannon divergence, in nats (0 to ln 2), of two distributions given by their logarithms along `dim`; as a
    loss between views of an image: Hendrycks et al., "AugMix" (2020).

    >>> sure, unsure = torch.tensor([[1.0, 1e-9]]).log(), torch.tensor([[0.5, 0.5]]).log()
    >>> round(float(jensen_shannon(sure, unsure)), 4), round(float(jensen_shannon(sure, sure.flip(1))), 4)
    (0.2158, 0.6931)
    """
    middle = torch.stack([logs, others]).logsumexp(0) - math.log(2)
    return 0.5 * (logs.exp() * (logs - middle) + others.exp() * (others - middle)).sum(dim)


def masked_loss_per_case(
    logits: Float[Tensor, "batch findings"], target: Float[Tensor, "batch findings"], smoothing: float = 0.0
) -> Float[Tensor, " batch"]:
    """Binary cross-entropy of what is stated, summed over the findings of a case and scaled so that the mean over the
    batch is the mean over all that is stated in it; what is not stated (NaN) adds nothing and gets no gradient.

    >>> target = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    >>> losses = masked_loss_per_case(torch.zeros(2, 2), target)
    >>> [round(float(value), 4) for value in (*losses, losses.mean())]  # ln 2 = 0.6931
    [0.4621, 0.9242, 0.6931]
    """
    known = ~target.isnan()
    sides = torch.where(known, target, torch.zeros_like(target)) * (1 - smoothing) + smoothing / 2
    losses = functional.binary_cross_entropy_with_logits(logits, sides, reduction="none")
    stated = known.sum().clamp(min=1)
    return torch.where(known, losses, torch.zeros_like(losses)).sum(1) * len(logits) / stated
