"""Group distributionally robust optimisation: the worst groups count most (Sagawa et al., ICLR 2020).

A group is a label together with an acquisition group (hilum.data.acquisition): normal images acquired like the
abnormal ones are a small group, which hardly affects the mean loss. Algorithm 1 of the paper: after
each batch, the weight of each group g in it is multiplied by exp(step * loss of g), and the weights are
divided by their sum; the batch's loss is the sum of weight times mean loss over its groups.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hilum.errors import RecipeError


class GroupWeights(nn.Module):
    """The weight of each group, float32 "groups", sum 1. It lies in the checkpoints of a training, so that a
    resumed one goes on with it; exported models hold none."""

    def __init__(self, group: Int[np.ndarray, " cases"], step: float) -> None:
        super().__init__()
        self.step = step
        count = int(group.max()) + 1
        self.register_buffer("group", torch.from_numpy(group.astype(np.int64)), persistent=False)
        self.register_buffer("weights", torch.full((count,), 1.0 / count))
        self.group: Tensor
        self.weights: Tensor

    @classmethod
    def of(cls, targets: np.ndarray, acquisition: np.ndarray | None, step: float) -> "GroupWeights":
        """Groups by target and acquisition group of the training images, both "cases"; RecipeError without
        acquisition groups.

        >>> GroupWeights.of(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), 0.1).weights.tolist()
        [0.25, 0.25, 0.25, 0.25]
        """
        if acquisition is None:
            raise RecipeError("training.group_dro needs acquisition groups", "set it to 0")
        pairs = np.stack([targets, acquisition], axis=1)
        return cls(np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1), step)

    def forward(self, losses: Float[Tensor, " batch"], position: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
        """The weighted loss of a batch; `position`: of each image in the training set. Moves the weights.

        >>> weigh = GroupWeights(np.array([0, 1]), step=0.1)
        >>> float(weigh(torch.tensor([1.0, 3.0]), torch.tensor([0, 1]))) > 2  # the mean would be 2
        True
        """
        group = self.group[position]
        count = torch.zeros_like(self.weights).index_add(0, group, torch.ones_like(losses))
        total = torch.zeros_like(self.weights).index_add(0, group, losses)
        mean = total / count.clamp(min=1)
        with torch.no_grad():
            moved = self.weights * torch.exp(self.step * mean)
            self.weights.copy_(moved / moved.sum())
        return (self.weights * mean).sum()
