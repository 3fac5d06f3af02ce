"""TorchRuntime: a ChestModel in fp32 on the device at hand.

Layers by name, in the order of the network: "features.<i>" (output of part i of the convolutional trunk,
averaged over the image), "pool" (the pooled trunk) and "embedding" (what the head sees).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hilum.errors import ModelError, RecipeError, nearest
from hilum.models import ChestModel


def choose_device(device: str = "auto") -> str:
    """ "auto": a CUDA device where there is one, else the CPU; otherwise `device` itself: "cpu", "cuda", "cuda:1".

    Where the answer is a CUDA device, fp32 is fp32 there from now on: cuDNN would round to TF32, 10 bits of 23.
    ModelError for a CUDA device that is not there, RecipeError for any other word.

    >>> choose_device("cpu")
    'cpu'
    """
    present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if present else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise RecipeError(f"device {device!r} is not known", "use auto, cpu, cuda or cuda:0")
    if device != "cpu" and int(device.partition(":")[2] or 0) >= present:
        raise ModelError(f"device {device!r} was asked for, but it is not there", "use --device auto")
    if device != "cpu":
        torch.backends.cudnn.allow_tf32 = False
    return device


def layer_names(model: ChestModel) -> list[str]:
    """The layers that can be asked for, from the input to the head.

    >>> from hilum.data.images import Pixels
    >>> from hilum.models import build
    >>> layer_names(build("resnet", ("normal", "pneumonia"), Pixels(size=(32, 32))))[-3:]
    ['features.11', 'pool', 'embedding']
    """
    return [*(f"features.{index}" for index, _ in model.features.named_children()), "pool", "embedding"]


class TorchRuntime:
    """`model` in eval mode; `device` as in `choose_device`. `place` moves the model to the device for good,
    `placed` for the time of a block."""

    def __init__(self, model: ChestModel, device: str = "auto") -> None:
        self.model, self.device = model, choose_device(device)
        self.pixels, self.classes = model.pixels, tuple(model.classes)

    def place(self) -> "TorchRuntime":
        """The model on the device, channels last, from now on.

        >>> from hilum.data.images import Pixels
        >>> from hilum.models import build
        >>> model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))).train()
        >>> TorchRuntime(model, "cpu").place().model.training
        False
        """
        self.model.eval().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    @contextmanager
    def placed(self) -> Iterator["TorchRuntime"]:
        """The model on the device, channels last, while the block runs; afterwards where it was.

        >>> from hilum.data.images import Pixels
        >>> from hilum.models import build
        >>> with TorchRuntime(build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))), "cpu").placed() as runtime:
        ...     runtime.logits(np.zeros((2, 32, 32), np.float32)).shape
        (2, 2)
        """
        before = next(self.model.parameters()).device
        self.place()
        try:
            with torch.inference_mode():
                yield self
        finally:
            self.model.to(before, memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def tensor(self, batch: np.ndarray) -> Tensor:
        """float32 "batch rows cols" -> the network's input "batch 1 rows cols" on the device.

        >>> from hilum.data.images import Pixels
        >>> from hilum.models import build
        >>> runtime = TorchRuntime(build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))), "cpu")
        >>> tuple(runtime.tensor(np.zeros((2, 32, 32), np.float32)).shape)
        (2, 1, 32, 32)
        """
        return torch.from_numpy(batch)[:, None].to(self.device, memory_format=torch.channels_last)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """float32 "batch rows cols", normalised -> float64 logits "batch classes".

        >>> from hilum.data.images import Pixels
        >>> from hilum.models import build
        >>> runtime = TorchRuntime(build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))), "cpu")
        >>> runtime.logits(np.zeros((2, 32, 32), np.float32)).shape
        (2, 2)
        """
        with torch.inference_mode():
            return self.model(self.tensor(batch)).double().cpu().numpy()

    def embed(self, batch: np.ndarray, layers: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Logits, and float32 vectors "batch dim" of each named layer. RecipeError for an unknown layer.

        >>> from hilum.data.images import Pixels
        >>> from hilum.models import build
        >>> runtime = TorchRuntime(build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))), "cpu").place()
        >>> logits, vectors = runtime.embed(np.zeros((2, 32, 32), np.float32), ["pool"])
        >>> logits.shape, vectors["pool"].shape
        ((2, 2), (2, 256))
        """
        self.check_layers(layers)
        with torch.inference_mode():
            logits, vectors = logits_and_layers(self.model, self.tensor(batch), layers)
        wanted = {name: vectors[name].float().cpu().numpy() for name in layers}
        return logits.double().cpu().numpy(), wanted

    def check_layers(self, layers: Sequence[str]) -> None:
        """RecipeError with the nearest name for a layer that the model lacks.

        >>> from hilum.data.images import Pixels
        >>> from hilum.models import build
        >>> TorchRuntime(build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))), "cpu").check_layers(["poll"])
        Traceback (most recent call last):
        hilum.errors.RecipeError: the model has no layer 'poll'; did you mean 'pool'?
        """
        known = layer_names(self.model)
        for name in layers:
            if name not in known:
                raise RecipeError(f"the model has no layer {name!r}", nearest(name, known))


def logits_and_layers(
    model: ChestModel, x: Tensor, layers: Sequence[str]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits "batch classes", and vectors "batch dim" of the named layers and of "embedding". Safe in several threads
    at once.

    >>> from hilum.data.images import Pixels
    >>> from hilum.models import build
    >>> model = build("vgg", ("normal", "pneumonia"), Pixels(size=(32, 32))).eval()
    >>> logits, vectors = logits_and_layers(model, torch.zeros(1, 1, 32, 32), ["pool"])
    >>> vectors["pool"].shape
    torch.Size([1, 256])
    """
    plain = type(model.features).forward is nn.Sequential.forward
    maps, vectors = _in_turn(model, x, layers) if plain else _by_hooks(model, x, layers)
    pooled = model.pool(maps)
    if "pool" in layers:
        vectors["pool"] = pooled.clone()
    embedding = model.neck(pooled)
    vectors["embedding"] = embedding
    return model.head(embedding), vectors


def _in_turn(model: ChestModel, x: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Maps of the trunk and vectors of a trunk whose parts run one after the other. Each is averaged before the next
    part runs: that one may work in place."""
    maps, vectors = x, {}
    for index, part in model.features.named_children():
        maps = part(maps)
        if (name := f"features.{index}") in layers:
            vectors[name] = _averaged(name, maps)
    return maps, vectors


def _by_hooks(model: ChestModel, x: Tensor, layers: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """The same of any other trunk, by its own `forward`: between the parts it may do what no list of them tells.
    Hooks hang on the network itself, so one thread at a time."""
    vectors: dict[str, Tensor] = {}

    def keeping(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def keep(_: nn.Module, __: Any, maps: Any) -> None:
            vectors[name] = _averaged(name, maps)

        return keep

    parts = {f"features.{index}": part for index, part in model.features.named_children()}
    with _HOOKS:
        hooks = [part.register_forward_hook(keeping(name)) for name, part in parts.items() if name in layers]
        try:
            return model.features(x), vectors
        finally:
            for hook in hooks:
                hook.remove()


_HOOKS = Lock()


def _averaged(name: str, maps: Any) -> Tensor:
    """ "batch dim" of maps "batch dim rows cols", over the image, or of tokens "batch tokens dim", over the tokens."""
    if not isinstance(maps, Tensor) or maps.ndim not in (3, 4):
        raise RecipeError(f"the layer {name!r} gives no maps", "name another layer, e.g. pool")
    return maps.mean(dim=(-2, -1)) if maps.ndim == 4 else maps.mean(dim=1)
