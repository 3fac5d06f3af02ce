"""What a training leaves on disk while it runs: checkpoints, the history, the weights of the best epoch."""

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from safetensors.torch import save_file

from hilum.errors import RecipeError, nearest
from hilum.files import replacing, write_table
from hilum.folders import TaskFolder
from hilum.progress import bar, say
from hilum.training.module import Classifier

SMALLER_IS_BETTER = ("val_loss", "val_brier", "val_log_loss")


class AtomicCheckpoints(TorchCheckpointIO):
    """A checkpoint is written beside its name and renamed: kill -9 leaves the one of the epoch before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """torch.save, all or nothing.

        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     AtomicCheckpoints().save_checkpoint({"epoch": 3}, f"{folder}/last.ckpt")
        ...     torch.load(f"{folder}/last.ckpt", weights_only=True)
        {'epoch': 3}
        """
        with replacing(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


class Keeper(Callback):
    """Keeps the history and the weights of the best epoch, and shows both in the terminal.

    The best weights go to a file at once: a reference to live weights would go on training. On equal
    figures the earlier epoch stays.
    """

    def __init__(
        self, folder: TaskFolder, monitor: str, name: str, epochs: int, batches: int, batch_size: int
    ) -> None:
        self.folder = folder
        self.monitor = monitor
        self.sign = -1.0 if monitor in SMALLER_IS_BETTER else 1.0
        self.name = name
        self.epochs = epochs
        self.batches = batches
        self.batch_size = batch_size
        self.rows: list[dict[str, float]] = []
        self.best_epoch = 0
        self.best_value = float("nan")
        self._weights: dict[str, torch.Tensor] = {}
        self._started = 0.0
        self._bar = bar("figures")
        self._bar_task = self._bar.add_task(name, total=epochs * batches, figures="")

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs to know of the epochs before.

        >>> folder = TaskFolder(Path("runs/small/binary"))
        >>> Keeper(folder, "val_auroc", "binary", epochs=5, batches=10, batch_size=32).state_dict()
        {'rows': [], 'best_epoch': 0, 'best_value': nan}
        """
        return {"rows": self.rows, "best_epoch": self.best_epoch, "best_value": self.best_value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of state_dict.

        >>> folder = TaskFolder(Path("runs/small/binary"))
        >>> keeper = Keeper(folder, "val_auroc", "binary", epochs=5, batches=10, batch_size=32)
        >>> keeper.load_state_dict({"rows": [], "best_epoch": 2, "best_value": 0.9})
        >>> keeper.state_dict()
        {'rows': [], 'best_epoch': 2, 'best_value': 0.9}
        """
        self.rows = list(state["rows"])
        self.best_epoch = state["best_epoch"]
        self.best_value = state["best_value"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The bar starts where an interrupted training stopped."""
        if self.rows and trainer.is_global_zero:
            say(f"{self.name}: continues after epoch {len(self.rows)} of {self.epochs}")
        self._bar.update(self._bar_task, completed=len(self.rows) * self.batches)
        if trainer.is_global_zero:
            self._bar.start()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Starts the epoch's clock."""
        if batch_idx == 0:
            self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Loss and speed in the bar."""
        speed = (batch_idx + 1) * self.batch_size / (time.perf_counter() - self._started)
        figures = f"epoch {trainer.current_epoch + 1}/{self.epochs}  loss {float(outputs['loss']):.3f}  "
        if self.rows:
            figures += f"{self.monitor} {self.rows[-1][self.monitor]:.3f}  "
        self._bar.update(self._bar_task, advance=1, figures=f"{figures}{speed:.0f} images/s")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A copy of the weights that were validated (the averaged ones, when there is averaging)."""
        assert isinstance(pl_module, Classifier)
        self._weights = {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in pl_module.model.state_dict().items()
        }

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds the history row; keeps the weights if they are the best so far."""
        assert isinstance(pl_module, Classifier)
        row = self._row(trainer, pl_module)
        if self.monitor not in row:
            figures = [name for name in row if name.startswith("val_")]
            raise RecipeError(
                f"training.monitor {self.monitor!r} is not a figure", nearest(self.monitor, figures)
            )
        self.rows.append(row)
        value = row[self.monitor]
        if not self.best_epoch or self.sign * value > self.sign * self.best_value:
            self.best_epoch, self.best_value = int(row["epoch"]), value
            if trainer.is_global_zero:
                with replacing(self.folder.checkpoints / "best.safetensors") as temporary:
                    save_file(self._weights, temporary)
        if not trainer.is_global_zero:
            return
        write_table(self.folder.history_file, pd.DataFrame(self.rows))
        loss = "" if self.monitor == "val_loss" else f"val_loss {row['val_loss']:.3f}  "
        say(
            f"{self.name} epoch {row['epoch']}/{self.epochs}  train_loss {row['train_loss']:.3f}  "
            f"{loss}{self.monitor} {value:.4f} (best {self.best_value:.4f}, "
            f"epoch {self.best_epoch})  {row['images_per_second']:.0f} images/s  {self._left(row['seconds'])}"
        )

    def _row(self, trainer: pl.Trainer, module: Classifier) -> dict[str, float]:
        seconds = time.perf_counter() - self._started
        figures = {
            name: float(value) for name, value in trainer.callback_metrics.items() if name[:4] == "val_"
        }
        return {
            "epoch": trainer.current_epoch + 1,
            **module.train_figures(),
            **figures,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(seconds, 2),
            "images_per_second": round(self.batches * self.batch_size / seconds, 1),
        }

    def _left(self, seconds: float) -> str:
        left = round((self.epochs - len(self.rows)) * seconds)
        return f"{left // 60}:{left % 60:02d} left"

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Also after an exception: the terminal gets its cursor back."""
        self._bar.stop()
