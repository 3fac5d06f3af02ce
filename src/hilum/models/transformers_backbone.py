"""Any image backbone of the transformers library, to be fine-tuned on images: declared as pretrained.

`source` is a name on the hub ("facebook/dinov2-small", "microsoft/resnet-18") or a local folder that
`save_pretrained` wrote. Needs the extra `pretrained`; a name needs the network once, then the hub's cache. A
model that was fine-tuned needs its source again when it is loaded: the architecture is described there.

Backbones that give maps ("batch dim rows cols") and those that give tokens ("batch tokens dim") both fit: a
class token and registers are left out, and the tokens go back to their grid.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.data.images import Pixels
from hilum.errors import ModelError, RecipeError
from hilum.models import AveragePool, ChestModel

IMAGENET_MEAN, IMAGENET_SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """The library's network for images of one channel: grey 0..1 goes to all three colours, in ImageNet's
    scale, which nearly all of these networks were trained with."""

    def __init__(self, net: nn.Module, pixels: Pixels, side: int | None) -> None:
        super().__init__()
        self.net = net
        self.pixels = pixels
        self.side = side

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> Float[Tensor, "batch dim outrows outcols"]:
        """The last hidden state as maps."""
        grey = x * self.pixels.sd + self.pixels.mean if self.pixels.standardize == "dataset" else x / 4 + 0.5
        if self.side is not None:
            grey = functional.interpolate(grey, (self.side, self.side), mode="bilinear", align_corners=False)
        mean = x.new_tensor(IMAGENET_MEAN)[:, None, None]
        sd = x.new_tensor(IMAGENET_SD)[:, None, None]
        state = self.net(pixel_values=(grey - mean) / sd).last_hidden_state
        return state if state.ndim == 4 else _on_grid(state, (grey.shape[-2], grey.shape[-1]))


def _on_grid(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Tokens "batch tokens dim" as maps in the shape of the image; tokens in front that have no place are left
    out. ModelError when the number fits no grid of square patches."""
    count = tokens.shape[1]
    sides = range(1, min(size) + 1)
    whole = [patch for patch in sides if size[0] % patch == size[1] % patch == 0]
    for patch in [*whole, *sides]:  # patches that leave no border first
        rows, cols = size[0] // patch, size[1] // patch
        if count - 8 <= rows * cols <= count:  # at most a class token and seven registers
            return tokens[:, count - rows * cols :].transpose(1, 2).unflatten(2, (rows, cols))
    raise ModelError(
        f"{count} tokens fit no grid of patches on {size[0]} x {size[1]} px",
        "choose another backbone or another side",
    )


def build(
    classes: Sequence[str], pixels: Pixels, source: str = "", side: int | None = None, dropout: float = 0.1
) -> ChestModel:
    """`source`: hub name or local folder. `side`: images are resized to side x side first, where the network
    insists on its own size; None leaves them. `dropout`: on the embedding.

    RecipeError without a source; ModelError when the library is missing or the source is unavailable.

    >>> build(("normal", "pneumonia"), Pixels(size=(64, 64)))
    Traceback (most recent call last):
        ...
    hilum.errors.RecipeError: model 'transformers_backbone' has no source; ...
    """
    if not source:
        raise RecipeError(
            "model 'transformers_backbone' has no source", "set model.options.source to a hub name or folder"
        )
    net = _loaded(source)
    config = net.config
    width = [*(getattr(config, "hidden_sizes", None) or [getattr(config, "hidden_size", 0)])]
    if not width[-1]:
        raise ModelError(
            f"{source!r} is not an image backbone: it has no hidden size", "choose another source"
        )
    model = ChestModel(
        classes,
        pixels,
        features=Backbone(net, pixels, side),
        pool=AveragePool(),
        neck=nn.Dropout(dropout),
        head=nn.Linear(width[-1], len(classes)),
    )
    model.pretrained = source
    return model


def _loaded(source: str) -> Any:
    """The network of the library; safetensors only, no foreign code is run."""
    try:
        maker = import_module("transformers").AutoModel
    except ImportError:
        raise ModelError(
            "model 'transformers_backbone' needs the package transformers, which is not installed",
            "pip install 'hilum[pretrained]'",
        ) from None
    try:
        net = maker.from_pretrained(source, use_safetensors=True, trust_remote_code=False)
    except (
        OSError,
        ValueError,
        ImportError,
    ) as error:  # the library's words for a name or network that fails
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"backbone {source!r} is unavailable ({reason})",
            "check the name and the network, or name a local folder that save_pretrained wrote",
        ) from None
    unused = [layer for layer in ("pooler",) if hasattr(net, layer)]
    for layer in unused:  # parameters behind the last hidden state would never learn
        setattr(net, layer, nn.Identity())
    return net
