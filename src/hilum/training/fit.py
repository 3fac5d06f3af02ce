"""fit_task: one training from first epoch to exported model, resumable after every epoch."""

import logging
import time
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from safetensors.torch import load_file, save_file

from hilum.data.tasks import Task
from hilum.errors import RecipeError, RunError, TrainingError, nearest
from hilum.files import replacing, write_table
from hilum.models import ChestModel, build, save_model
from hilum.progress import bar, say
from hilum.run import TaskFolder
from hilum.training.config import TaskRecipe
from hilum.training.distill import load_teachers
from hilum.training.group_dro import GroupWeights
from hilum.training.loader import ImageSet, class_weights, loader
from hilum.training.module import Classifier, Scorer

SMALLER_IS_BETTER = ("val_loss", "val_brier", "val_log_loss")


@dataclass(frozen=True)
class Hardware:
    """What the training runs on. `precision` as Lightning names it."""

    device: str
    precision: str
    workers: int

    @classmethod
    def choose(cls, precision: str = "auto") -> "Hardware":
        """CUDA if there is one. bf16 where the hardware multiplies it natively (else it would be
        slower), fp32 otherwise. Loader workers with a GPU only: on the CPU they take the cores of the
        convolutions."""
        cuda = torch.cuda.is_available()
        native = torch.cuda.is_bf16_supported() if cuda else _cpu_has_bf16()
        bf16 = precision == "bf16" or (precision == "auto" and native)
        workers = min(12, torch.get_num_threads()) if cuda else 0
        return cls("cuda" if cuda else "cpu", "bf16-mixed" if bf16 else "32-true", workers)


def _cpu_has_bf16() -> bool:
    """AVX512-bf16 or AMX, as the Linux kernel reports it; other systems fall back to fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def fit_task(
    folder: TaskFolder,
    recipe: TaskRecipe,
    task: Task,
    train: ImageSet,
    val: ImageSet,
    score: Scorer,
    card: dict[str, Any],
    resume: bool = True,
) -> ChestModel:
    """Trains, keeps the weights of the best epoch, and writes folder/model and folder/history.csv.

    `score` gives the validation figures (see module.Scorer); `card` holds the entries of model.json that
    only the caller knows. With `resume`, continues after the last finished epoch of an interrupted training
    and ends with the numbers of an uninterrupted one.
    """
    config = recipe.training
    hardware = Hardware.choose(config.precision)
    train_loader = loader(
        train,
        config.batch_size,
        config.seed,
        recipe.augment,
        config.balance,
        train=True,
        workers=hardware.workers,
    )
    val_loader = loader(val, 2 * config.batch_size, config.seed)
    torch.manual_seed(config.seed)
    model = build(recipe.model.name, task.classes, train.pixels, recipe.model.options)
    weights = class_weights(train.targets, len(task.classes)) if config.balance == "weights" else None
    if config.loss == "binary_cross_entropy" and len(task.classes) != 2:
        raise RecipeError(
            f"loss binary_cross_entropy needs two classes, task {task.name!r} has {len(task.classes)}",
            "use cross_entropy",
        )
    asked = config.distill.teachers if config.distill else ()
    teachers = load_teachers(asked, task.classes, train.pixels, card)
    groups = GroupWeights.of(train.targets, train.acquisition, config.group_dro) if config.group_dro else None
    module = Classifier(model, config, len(train_loader) * config.epochs, weights, score, teachers, groups)
    module.train_ids = list(train.case_ids)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    keeper = Keeper(folder, config.monitor, task.name, config.epochs, len(train_loader), config.batch_size)
    _train(module, keeper, train_loader, val_loader, hardware, folder, config.ema, config.epochs, resume)
    best = load_file(folder.checkpoints / "best.safetensors")
    model.load_state_dict(best)
    model.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    facts = {
        "seed": config.seed,
        "epochs": config.epochs,
        "best_epoch": keeper.best_epoch,
        "best_metric": {"name": config.monitor, "value": keeper.best_value},
        "seconds": round(sum(row["seconds"] for row in keeper.rows), 1),
        "device": hardware.device,
        "precision": hardware.precision,
        "images": len(train.case_ids),
    }
    if teachers:
        facts["teachers"] = [teacher.card["weights_digest"] for teacher in teachers]
    architecture = {"name": recipe.model.name, "options": recipe.model.options}
    save_model(
        model,
        folder.model_folder,
        {"task": task.name, "architecture": architecture, "training": facts, **card},
    )
    return model


def _train(
    module: Classifier,
    keeper: "Keeper",
    train_loader: Any,
    val_loader: Any,
    hardware: Hardware,
    folder: TaskFolder,
    ema: float | None,
    epochs: int,
    resume: bool,
) -> None:
    """Lightning's Trainer with our callbacks. The keeper stands before the averaging: it must see the
    averaged weights while they are in place."""
    callbacks: list[Callback] = [keeper]
    if ema is not None:
        callbacks.append(EMAWeightAveraging(decay=ema))
    callbacks.append(ModelCheckpoint(folder.checkpoints, filename="last", save_on_train_epoch_end=True))
    for name in ("lightning.pytorch", "lightning.fabric"):  # without banners and tips
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Lightning advises on worker counts, loggers and folders that exist; we chose all three on purpose.
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*before.*optimizer.step.*")
        trainer = pl.Trainer(
            accelerator="gpu" if hardware.device == "cuda" else "cpu",
            devices=1,
            precision=hardware.precision,  # type: ignore[arg-type]
            max_epochs=epochs,
            callbacks=callbacks,
            plugins=[AtomicCheckpoints()],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            default_root_dir=folder.path,
        )
        start = folder.last_checkpoint if resume and folder.last_checkpoint.exists() else None
        if start is not None and not zipfile.is_zipfile(start):  # what torch.save writes is a zip archive
            raise RunError(f"{start} is damaged", "delete it: the training then starts from its first epoch")
        if start is None:
            folder.checkpoints.mkdir(parents=True, exist_ok=True)
        try:
            trainer.fit(module, train_loader, val_loader, ckpt_path=start, weights_only=True)
        except SystemExit:  # Lightning's answer to Ctrl-C, after a graceful end
            raise KeyboardInterrupt from None
        except (RuntimeError, KeyError, EOFError) as error:
            if start is not None and "state_dict" in str(error):
                raise RunError(
                    f"{start} belongs to another network", "delete it or choose another --out"
                ) from None
            raise
    if not keeper.rows:
        raise TrainingError("no epoch was finished", "train again without --resume")


class AtomicCheckpoints(TorchCheckpointIO):
    """A checkpoint is written beside its name and renamed: kill -9 leaves the one of the epoch before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """torch.save, all or nothing."""
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
        """What a resumed training needs to know of the epochs before."""
        return {"rows": self.rows, "best_epoch": self.best_epoch, "best_value": self.best_value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of state_dict."""
        self.rows = list(state["rows"])
        self.best_epoch = state["best_epoch"]
        self.best_value = state["best_value"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The bar starts where an interrupted training stopped."""
        if self.rows:
            say(f"{self.name}: continues after epoch {len(self.rows)} of {self.epochs}")
        self._bar.update(self._bar_task, completed=len(self.rows) * self.batches)
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
            with replacing(self.folder.checkpoints / "best.safetensors") as temporary:
                save_file(self._weights, temporary)
        write_table(self.folder.history_file, pd.DataFrame(self.rows))
        say(
            f"{self.name} epoch {row['epoch']}/{self.epochs}  train_loss {row['train_loss']:.3f}  "
            f"val_loss {row['val_loss']:.3f}  {self.monitor} {value:.4f} (best {self.best_value:.4f}, "
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
