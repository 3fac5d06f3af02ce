"""Attribution methods by name: which there are, their options, and `explain`, which calls one."""

import inspect
from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hilum.errors import RecipeError, nearest
from hilum.explain.methods import __path__ as folder

if TYPE_CHECKING:  # the names of the methods are known without torch
    from torch import Tensor, nn


def methods() -> list[str]:
    """The attribution methods that this package brings: the files of hilum/explain/methods.

    >>> "grad_cam" in methods()
    True
    """
    return sorted(module.name for module in iter_modules(folder))


def load_method(name: str) -> ModuleType:
    """The module of a method, with `attribute`, `TITLE`, `SOURCE` and `SIGNED`.

    RecipeError for a name that is not known, with the nearest one.

    >>> load_method("grad_cam").TITLE
    'Grad-CAM'
    """
    if "." not in name and name not in methods():
        raise RecipeError(f"attribution method {name!r} is not known", nearest(name, methods()))
    try:
        module = import_module(name if "." in name else f"hilum.explain.methods.{name}")
    except ImportError as error:
        raise RecipeError(
            f"attribution method {name!r} can't be loaded ({error})", "name a module with attribute()"
        ) from None
    if not hasattr(module, "attribute"):
        raise RecipeError(f"module {name!r} is no attribution method", "give it a function attribute()")
    return module


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """RecipeError for an option that the method does not have, with the nearest one.

    >>> check_options("integrated_gradients", {"steps": 10})
    """
    known = list(inspect.signature(load_method(name).attribute).parameters)[3:]
    for key in options:
        if key not in known:
            raise RecipeError(f"attribution method {name!r} has no option {key!r}", nearest(key, known))


def explain(
    name: str, model: "nn.Module", x: "Tensor", target: int, options: Mapping[str, Any] | None = None
) -> "Tensor":
    """The evidence for class `target` at each pixel, by one method: float32 "batch rows cols", raw.

    `x`: prepared images "batch channels rows cols"; each is explained by itself. The model is not changed.
    RecipeError for an unknown method or option, with the nearest known; DataError for images of another
    shape or size than the model takes, or with NaN; ModelError for a class that the model does not have.

    >>> import torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> net[0].weight.data = torch.tensor([0.0, 4.0]).view(2, 1, 1, 1)
    >>> image = torch.tensor([[[[1.0, 0.0], [0.0, -2.0]]]])
    >>> explain("integrated_gradients", net, image, 1, {"baseline": "zero"})
    tensor([[[ 1.0000,  0.0000],
             [ 0.0000, -2.0000]]])
    """
    import torch

    check_options(name, options or {})
    with torch.inference_mode(False):  # gradients are needed, whatever the caller's mode
        return load_method(name).attribute(model, x.clone(), target, **(options or {}))
