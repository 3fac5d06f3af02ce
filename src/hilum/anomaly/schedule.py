"""The learning rate of the networks that detectors train."""

import torch


def one_cycle(optimizer: torch.optim.Optimizer, lr: float, steps: int) -> torch.optim.lr_scheduler.OneCycleLR:
    """Up to `lr` in a tenth of the steps, two at least, then down along half a cosine (Smith & Topin 2019).

    torch divides by the length of each phase, so one or two steps get the rates of three.

    >>> weights = [torch.nn.Parameter(torch.zeros(1))]
    >>> rates = one_cycle(torch.optim.SGD(weights), lr=1.0, steps=1)
    >>> rates.total_steps
    3
    """
    total = max(steps, 3)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=total, pct_start=max(0.1, 2 / total)
    )
