"""The network of the package that marks the lungs, in torch."""

from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from hilum.errors import ModelError
from hilum.files import digest
from hilum.lungs.card import FOLDER, card
from hilum.lungs.net import LungNet
from hilum.lungs.outline import outlined, reduced


def standardised(images: UInt8[np.ndarray, "images rows cols"]) -> Float[Tensor, "images 1 64 64"]:
    """Images as the network reads them: 64 x 64, each with mean 0 and variance 1.

    >>> standardised(np.zeros((1, 100, 80), np.uint8)).abs().max()  # a blank image stays finite
    tensor(0.)
    """
    return _standardised(torch.from_numpy(reduced(images))[:, None])


def _standardised(x: Tensor) -> Tensor:
    return (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1.0)


class Segmenter(nn.Module):
    """From grey levels to log-odds of lung, both float32 "images 64 64": the mean of the network's answers for image
    and mirror image.

    >>> Segmenter(LungNet().eval())(torch.zeros(2, 64, 64)).shape
    torch.Size([2, 64, 64])
    """

    def __init__(self, net: LungNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, grey: Float[Tensor, "images 64 64"]) -> Float[Tensor, "images 64 64"]:
        """Log-odds.

        >>> Segmenter(LungNet().eval())(torch.full((1, 64, 64), 9.0)).dtype
        torch.float32
        """
        x = _standardised(grey[:, None])
        return ((self.net(x) + self.net(x.flip(3)).flip(3)) / 2)[:, 0]


@torch.no_grad()
def field_of(net: LungNet, image: UInt8[np.ndarray, "rows cols"]) -> Bool[np.ndarray, "rows cols"]:
    """The lung field by a given network.

    >>> field_of(LungNet().eval(), np.zeros((100, 80), np.uint8)).shape
    (100, 80)
    """
    odds = Segmenter(net)(torch.from_numpy(reduced(image[None])))[0].numpy()
    return outlined(odds, image.shape)


@torch.no_grad()
def log_odds(grey: Float[np.ndarray, "images 64 64"]) -> Float[np.ndarray, "images 64 64"]:
    """What the network of the package says of grey levels 0 to 255: `Segmenter`, image and mirror image in one pass.

    >>> log_odds(np.zeros((1, 64, 64), np.float32)).shape
    (1, 64, 64)
    """
    x = _standardised(torch.from_numpy(grey)[:, None])
    shown, mirrored = trained()(torch.cat([x, x.flip(3)])).chunk(2)
    return ((shown + mirrored.flip(3)) / 2)[:, 0].numpy()


@cache
def trained() -> LungNet:
    """The network of the package, in eval mode. ModelError when weights and card do not belong together.

    >>> trained()(torch.zeros(1, 1, 64, 64)).shape, trained().training
    (torch.Size([1, 1, 64, 64]), False)
    """
    data = (FOLDER / "weights.safetensors").read_bytes()
    if digest(data) != card().weights_digest:
        raise ModelError("the weights of the lung field are not those of its card", "install hilum again")
    net = LungNet()
    net.load_state_dict({name: tensor.float() for name, tensor in load_tensors(data).items()}, strict=False)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net.eval().requires_grad_(False)
