"""fit_task: one training from first epoch to exported model, resumable after every epoch."""

import logging
import warnings
import zipfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint
from safetensors.torch import load_file

from hilum.artifacts.card import Architecture, BestMetric, ModelFacts, TrainingFacts
from hilum.data.tasks import Task
from hilum.errors import RecipeError, RunError, TrainingError
from hilum.folders import TaskFolder
from hilum.inference.runtimes.torch import choose_device
from hilum.models import ChestModel, SingleLogit, build, save_model
from hilum.training.config import TaskRecipe, Training
from hilum.training.counterfactual import MONITOR, Counterfactuals, is_monitored
from hilum.training.distill import load_teachers
from hilum.training.keeper import SMALLER_IS_BETTER as SMALLER_IS_BETTER
from hilum.training.keeper import AtomicCheckpoints, Keeper
from hilum.training.loader import ImageSet, class_weights, loader
from hilum.training.module import Classifier, Scorer
from hilum.training.objective import ManyFindings, OneClass
from hilum.training.processes import Processes, current, says_lost
from hilum.training.shared_batch_norm import shared_batch_norm


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
        convolutions.

        >>> Hardware.choose("fp32").precision
        '32-true'
        """
        cuda = choose_device() == "cuda"
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
    known: ModelFacts,
    resume: bool = True,
    counterfactuals: Counterfactuals | None = None,
) -> ChestModel:
    """Trains, keeps the weights of the best epoch, and writes folder/model and folder/history.csv.

    `score` gives the validation figures (see module.Scorer); `known` holds the entries of model.json that
    only the caller knows; `counterfactuals`: the images of `monitor: counterfactual_auroc`. With `resume`,
    continues after the last finished epoch of an interrupted training and ends with the numbers of an uninterrupted
    one.
    """
    config = recipe.training
    if task.kind == "single" and config.loss == "binary_cross_entropy" and len(task.classes) != 2:
        raise RecipeError(
            f"loss binary_cross_entropy needs two classes, task {task.name!r} has {len(task.classes)}",
            "use cross_entropy",
        )
    if task.kind == "multi":
        _check_findings(config)
    hardware = Hardware.choose(config.precision)
    processes = current()
    batch, share = _share_of_batch(config, processes), (processes.rank, processes.world)
    views = 2 if config.consistency else 1
    train_loader = loader(
        train, batch, config.seed, recipe.augment, config.balance, True, hardware.workers, share, views
    )
    val_loader = loader(val, 2 * batch, config.seed, share=share)
    places = config.distill.teachers if config.distill else ()
    teachers = load_teachers(places, task.classes, train.pixels, known)
    module = _module(recipe, task, train, score, teachers, len(train_loader), counterfactuals)
    monitor = f"val_{MONITOR}" if is_monitored(config.monitor) else config.monitor
    keeper = Keeper(folder, monitor, task.name, config.epochs, len(train_loader), config.batch_size)
    _train(module, keeper, train_loader, val_loader, hardware, folder, config.ema, config.epochs, resume)
    model = module.model
    if not processes.first:
        return model
    model.load_state_dict(load_file(folder.checkpoints / "best.safetensors"))
    model.to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    training = _facts(recipe, keeper, hardware, train, teachers)
    facts = known.model_copy(update={"task": task.name, "training": training})
    architecture = Architecture(name=recipe.model.name, options=recipe.model.options)
    save_model(model, folder.model_folder, architecture, facts)
    return model


def _share_of_batch(config: Training, processes: Processes) -> int:
    """Images of a batch in this process. RecipeError where a batch cannot be shared."""
    if config.batch_size % processes.world:
        raise RecipeError(
            f"a batch of {config.batch_size} cannot be shared by {processes.world} processes",
            f"set training.batch_size to a multiple of {processes.world}",
        )
    return config.batch_size // processes.world


def _check_findings(config: Training) -> None:
    """RecipeError for what a training of several findings per image does not have."""
    for name, value, plain in (
        ("balance", config.balance, "none"),
        ("distill", config.distill, None),
    ):
        if value != plain:
            raise RecipeError(
                f"training.{name} needs one class per image, task 'findings' states several findings",
                f"set training.{name} to {'null' if plain is None else plain}",
            )


def _module(
    recipe: TaskRecipe,
    task: Task,
    train: ImageSet,
    score: Scorer,
    teachers: Sequence[ChestModel],
    batches: int,
    counterfactuals: Counterfactuals | None,
) -> Classifier:
    """The untrained network with its loss; `batches`: per epoch."""
    config = recipe.training
    torch.manual_seed(config.seed)
    model = build(recipe.model.name, task.classes, train.pixels, recipe.model.options)
    if task.kind == "multi" and isinstance(model.head, SingleLogit):
        raise RecipeError(
            f"model {recipe.model.name!r} has one logit for two classes, two findings need one each",
            "choose another model, for example resnet",
        )
    weights = class_weights(train.targets, len(task.classes)) if config.balance == "weights" else None
    module = Classifier(
        model,
        config,
        batches * config.epochs,
        weights,
        score,
        teachers,
        counterfactuals,
        ManyFindings() if task.kind == "multi" else OneClass(),
    )
    module.train_ids = list(train.case_ids)
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _facts(
    recipe: TaskRecipe,
    keeper: Keeper,
    hardware: Hardware,
    train: ImageSet,
    teachers: Sequence[ChestModel],
) -> TrainingFacts:
    """The entry "training" of the card."""
    config = recipe.training
    digests = [teacher.weights_digest for teacher in teachers]
    return TrainingFacts(
        seed=config.seed,
        epochs=config.epochs,
        best_epoch=keeper.best_epoch,
        best_metric=BestMetric(name=config.monitor, value=keeper.best_value),
        seconds=round(sum(row["seconds"] for row in keeper.rows), 1),
        device=hardware.device,
        precision=hardware.precision,
        images=len(train.case_ids),
        **({"teachers": digests} if digests else {}),
    )


def _places(processes: Processes) -> dict[str, Any]:
    """What Lightning's Trainer must know of the devices and processes."""
    if processes.alone:
        return {"devices": 1, "plugins": [AtomicCheckpoints()]}
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy

    sharded = processes.strategy == "fsdp"
    return {
        "devices": processes.local,
        "num_nodes": processes.world // processes.local,
        "strategy": FSDPStrategy(state_dict_type="full") if sharded else DDPStrategy(),
        "use_distributed_sampler": False,
        "plugins": [TorchElasticEnvironment(), *([] if sharded else [AtomicCheckpoints()])],
    }


def _train(
    module: Classifier,
    keeper: Keeper,
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
        processes = current()
        trainer = pl.Trainer(
            accelerator="gpu" if hardware.device == "cuda" else "cpu",
            **_places(processes),
            precision=hardware.precision,  # type: ignore[arg-type]
            max_epochs=epochs,
            callbacks=callbacks,
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
            with nullcontext() if processes.alone else shared_batch_norm(module.model):
                trainer.fit(module, train_loader, val_loader, ckpt_path=start, weights_only=True)
        except SystemExit:  # Lightning's answer to Ctrl-C, after a graceful end
            raise KeyboardInterrupt from None
        except (RuntimeError, KeyError, EOFError) as error:
            if start is not None and "state_dict" in str(error):
                raise RunError(
                    f"{start} belongs to another network", "delete it or choose another --out"
                ) from None
            if not processes.alone and says_lost(str(error)):
                raise TrainingError(
                    "a process of this training has ended",
                    "the same command with --resume goes on after the last finished epoch",
                ) from None
            raise
    if not keeper.rows:
        raise TrainingError("no epoch was finished", "train again without --resume")
