"""The LightningModule: a step of training, a pass of validation, optimiser and schedule of the recipe."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hilum.errors import TrainingError
from hilum.models import ChestModel
from hilum.training.config import Optimizer, Training
from hilum.training.counterfactual import Counterfactuals
from hilum.training.distill import mean_logits, soft_loss
from hilum.training.loader import Batch
from hilum.training.objective import Objective, OneClass
from hilum.training.processes import current

MOMENTUM = 0.9
"""Of SGD."""

Scorer = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""(probabilities "cases classes", positions "cases") -> metric name -> value. It is handed in by the caller,
so that training and `hilum evaluate` use one and the same function without training importing it."""


class Classifier(pl.LightningModule):
    """Trains a ChestModel. Validation figures are logged as val_<metric>, among them val_loss."""

    def __init__(
        self,
        model: ChestModel,
        training: Training,
        steps: int,
        weights: Tensor | None,
        score: Scorer,
        teachers: Sequence[ChestModel] = (),
        counterfactuals: Counterfactuals | None = None,
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.teachers = tuple(teachers)  # a tuple, so that checkpoints and averages leave them out
        self.counterfactuals = counterfactuals
        self.objective = objective or OneClass()
        self.settings = training
        self.steps = steps  # optimiser steps of the whole training, for the cosine
        self.score = score
        self.register_buffer("class_weights", weights, persistent=False)
        self.class_weights: Tensor | None
        self._train: list[tuple[Tensor, Tensor]] = []
        self._val: list[tuple[Tensor, Tensor, Tensor]] = []
        self._plateau: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self.train_ids: list[str] = []

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> Float[Tensor, "batch classes"]:
        """Logits.

        >>> from hilum.data.images import Pixels
        >>> from hilum.models import build
        >>> model = build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64)), {"blocks": [[4]], "dense": [4]})
        >>> module = Classifier(model, Training(epochs=1), steps=1, weights=None, score=lambda shares, positions: {})
        >>> module(torch.zeros(3, 1, 64, 64)).shape
        torch.Size([3, 2])
        """
        return self.model(x)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Dropout, too, must not depend on earlier epochs (see loader.py). Lightning does not call
        on_train_epoch_start in the first epoch after a resume, therefore here."""
        if batch_idx == 0:
            torch.manual_seed(self.settings.seed * 1_000_003 + self.current_epoch + (current().rank << 32))
            self._train.clear()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch; TrainingError with the cases when it is not a number."""
        x, target, position = batch
        views = x.shape[1]
        x, target = _one_by_one(x), torch.cat([target] * views)
        logits = self.model(_channels_last(x)).float()
        losses = self.objective.loss(logits, target, self.settings, self.class_weights)
        loss = losses.mean()
        config = self.settings.distill
        if config is not None:
            soft = mean_logits(self.teachers, _channels_last(x), logits.shape[1])
            loss = (1 - config.alpha) * loss + config.alpha * soft_loss(logits, soft, config.temperature)
        self._train.append((loss.detach(), self.objective.hits(logits, target)))
        if views > 1:
            loss = loss + self.settings.consistency * self.objective.divergence(*logits.chunk(2)).mean()
        if not torch.isfinite(loss):
            first = [self.train_ids[i] for i in position[:3].tolist()]
            raise TrainingError(
                f"the loss is {loss.item()} in epoch {self.current_epoch + 1}, batch {batch_idx + 1} "
                f"(cases {', '.join(first)} ...)",
                "lower training.optimizer.lr, or set training.precision: fp32",
            )
        return loss

    def train_figures(self) -> dict[str, float]:
        """Mean loss, without the divergence of views, and accuracy over the epoch's batches, as the network was while
        it was trained on them.

        >>> from hilum.data.images import Pixels
        >>> from hilum.models import build
        >>> model = build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64)), {"blocks": [[4]], "dense": [4]})
        >>> module = Classifier(model, Training(epochs=1), steps=1, weights=None, score=lambda shares, positions: {})
        >>> model = model.eval()  # two equal images get equal answers: one of two unequal labels is met
        >>> loss = module.training_step((torch.zeros(2, 1, 64, 64), torch.tensor([0, 1]), torch.tensor([0, 1])), 0)
        >>> module.train_figures()["train_accuracy"]
        0.5
        """
        losses, hits = (torch.stack(values).float().cpu() for values in zip(*self._train, strict=True))
        both = torch.stack([losses.mean(), hits.nanmean()])
        loss, accuracy = torch.stack(current().gathered(both)).nanmean(0).tolist()
        return {"train_loss": loss, "train_accuracy": accuracy}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collects; the figures come from all cases at once in on_validation_epoch_end."""
        x, target, position = batch
        self._val.append((self.model(_channels_last(x)).float(), target, position))

    def on_validation_epoch_end(self) -> None:
        """One call of the scorer over the whole split."""
        logits, target, position = self._validated()
        self._val.clear()
        if self.trainer.sanity_checking:
            return
        loss = self.objective.validation_loss(logits, target)
        if self._plateau is not None:
            self._plateau.step(float(loss))
        probabilities = self.objective.probabilities(logits)
        figures = {"loss": float(loss), **self.score(probabilities, position.cpu().numpy())}
        if self.counterfactuals is not None:
            figures |= self.counterfactuals.figures(self.model, self.device)
        for name, value in figures.items():
            self.log(f"val_{name}", value)

    def _validated(self) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, targets and positions of the whole split, from all processes, in the order of the split."""
        logits, target, position = (torch.cat(parts) for parts in zip(*self._val, strict=True))
        processes = current()
        if processes.alone:
            return logits, target, position
        parts = processes.gathered((logits.cpu(), target.cpu(), position.cpu()))
        logits, target, position = (torch.cat(values).to(self.device) for values in zip(*parts, strict=True))
        order = position.argsort()
        return logits[order], target[order], position[order]

    def configure_optimizers(self) -> Any:
        """Optimiser and schedule as the recipe names them.

        >>> from hilum.data.images import Pixels
        >>> from hilum.models import build
        >>> model = build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64)), {"blocks": [[4]], "dense": [4]})
        >>> training = Training(epochs=1, optimizer=Optimizer(name="sgd", lr=0.1))
        >>> module = Classifier(model, training, steps=1, weights=None, score=lambda shares, positions: {})
        >>> type(module.configure_optimizers()).__name__
        'SGD'
        """
        optimizer = make_optimizer(self.model, self.settings.optimizer)
        config = self.settings.schedule
        if config.name == "plateau":
            self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimizer, factor=config.factor, patience=config.patience
            )
            self._plateau.load_state_dict(self._plateau_state or self._plateau.state_dict())
        if config.name == "warmup_cosine":
            rate = torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: warmup_cosine(step, config.warmup_steps, self.steps)
            )
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The plateau schedule is ours: Lightning steps its own after the checkpoint of the epoch is written,
        so that a resumed training would miss a step.

        >>> from hilum.data.images import Pixels
        >>> from hilum.models import build
        >>> model = build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64)), {"blocks": [[4]], "dense": [4]})
        >>> module = Classifier(model, Training(epochs=1), steps=1, weights=None, score=lambda shares, positions: {})
        >>> checkpoint = {}
        >>> module.on_save_checkpoint(checkpoint)
        >>> checkpoint  # the schedule is constant
        {'plateau': None}
        """
        checkpoint["plateau"] = None if self._plateau is None else self._plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Kept until the optimiser exists.

        >>> from hilum.data.images import Pixels
        >>> from hilum.models import build
        >>> model = build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64)), {"blocks": [[4]], "dense": [4]})
        >>> module = Classifier(model, Training(epochs=1), steps=1, weights=None, score=lambda shares, positions: {})
        >>> module.on_load_checkpoint({"plateau": None})
        """
        self._plateau_state = checkpoint["plateau"]


def _one_by_one(x: Float[Tensor, "batch views rows cols"]) -> Float[Tensor, "images 1 rows cols"]:
    """All first views, then all second ones."""
    return x.transpose(0, 1).flatten(0, 1)[:, None]


def _channels_last(x: Tensor) -> Tensor:
    """NHWC in memory: the convolutions of CPUs and of tensor cores are faster so."""
    return x.contiguous(memory_format=torch.channels_last)


def make_optimizer(model: nn.Module, config: Optimizer) -> torch.optim.Optimizer:
    """Weight decay is not applied to biases and normalisation: they have one dimension and set a scale.

    >>> groups = make_optimizer(nn.Linear(2, 2), Optimizer(weight_decay=0.1)).param_groups
    >>> [group["weight_decay"] for group in groups]
    [0.1, 0.0]
    """
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=MOMENTUM, nesterov=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.name]
    return kind(groups, lr=config.lr)


def warmup_cosine(step: int, warmup: int, steps: int) -> float:
    """Share of the base rate at an optimiser step: linear rise, then half a cosine to zero.

    >>> [round(warmup_cosine(step, 2, 6), 3) for step in range(7)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
