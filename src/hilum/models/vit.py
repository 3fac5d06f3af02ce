"""A small Vision Transformer (Dosovitskiy et al., ICLR 2021), with one input channel.

The image is cut into patches; each becomes a token by a linear map, gets a learnt place, and passes blocks of
self-attention and a two-layer network, normalised before each (pre-norm). The tokens lie on their grid again
afterwards, so that `features` gives "batch dim rows cols" as every network here does, and their mean is the
embedding (Zhai et al., CVPR 2022, found it no worse than a class token).

The learnt places belong to `pixels.size`: another size is another network. From scratch on a few thousand
images a transformer has little to hold on to; the comparison is what it is for.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hilum.data.images import Pixels
from hilum.errors import RecipeError
from hilum.models import AveragePool, ChestModel


class Block(nn.Module):
    """x + attention(norm(x)), then x + network(norm(x))."""

    def __init__(self, dim: int, heads: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, ratio * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(ratio * dim, dim)
        )

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """Every token sees every other.

        >>> Block(dim=8, heads=2, ratio=4, dropout=0.0)(torch.zeros(1, 5, 8)).shape
        torch.Size([1, 5, 8])
        """
        batch, tokens, dim = x.shape
        parts = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, tokens, dim))
        return x + self.mlp(self.norm2(x))


class Tokens(nn.Module):
    """From image to a grid of tokens that have seen each other."""

    def __init__(self, grid: tuple[int, int], patch: int, dim: int, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, dim, patch, stride=patch)
        self.place = nn.Parameter(0.02 * torch.randn(1, grid[0] * grid[1], dim))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "batch 1 rows cols"]) -> Float[Tensor, "batch dim gridrows gridcols"]:
        """Rows and columns are divided by the patch; what is left over at the border is cut away.

        >>> Tokens((2, 2), 8, 4, [])(torch.zeros(1, 1, 16, 16)).shape
        torch.Size([1, 4, 2, 2])
        """
        maps = self.cut(x)
        tokens = maps.flatten(2).transpose(1, 2) + self.place
        return self.norm(self.blocks(tokens)).transpose(1, 2).reshape(maps.shape)


def build(
    classes: Sequence[str],
    pixels: Pixels,
    patch: int = 8,
    dim: int = 128,
    depth: int = 6,
    heads: int = 4,
    ratio: int = 4,
    dropout: float = 0.1,
) -> ChestModel:
    """`patch`: side of a patch in pixels; `dim`: length of a token; `depth`: blocks; `heads`: of attention;
    `ratio`: how much wider the network inside a block is; `dropout`: inside the blocks.

    ViT-S/16 of the literature is patch 16, dim 384, depth 12, heads 6. RecipeError when `dim` can't be
    divided by `heads` or the image is smaller than a patch.

    >>> build(("normal", "abnormal"), Pixels(size=(64, 64))).features(torch.zeros(1, 1, 64, 64)).shape
    torch.Size([1, 128, 8, 8])
    """
    if dim % heads:
        raise RecipeError(f"vit: dim {dim} can't be divided among {heads} heads", "choose a multiple")
    grid = (pixels.size[0] // patch, pixels.size[1] // patch)
    if min(grid) < 1:
        raise RecipeError(
            f"vit: a patch of {patch} px does not fit an image of {pixels.size[0]} x {pixels.size[1]} px",
            "choose a smaller patch",
        )
    blocks = [Block(dim, heads, ratio, dropout) for _ in range(depth)]
    return ChestModel(
        classes,
        pixels,
        features=Tokens(grid, patch, dim, blocks),
        pool=AveragePool(),
        neck=nn.Identity(),
        head=nn.Linear(dim, len(classes)),
    )
