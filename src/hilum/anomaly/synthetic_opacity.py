"""Synthetic opacities: a network that learnt to find opacities drawn into healthy films looks for real ones.

No disease label and no sick film takes part: what an opacity looks like is written in
`hilum.anomaly.opacities` by hand, as a radiology textbook describes it. The training
(`hilum.anomaly.features.pretext`) gives films with and without an opacity the same changes of aspect ratio,
sharpness, exposure and noise. The closest published relatives are CutPaste (Li et al., CVPR 2021), foreign
patch interpolation (Tan et al., MICCAI MOOD 2020) and DRAEM (Zavrtanik et al., ICCV 2021).
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hilum.anomaly import Advance, Detector, HealthyFilms, Scored
from hilum.anomaly.features import pretext
from hilum.anomaly.patches import summary, to_image
from hilum.data.images import Pixels
from hilum.errors import RecipeError

SMALLEST: dict[str, Any] = {"width": 8, "steps": 60, "batch_size": 8, "precision": "fp32"}


class SyntheticOpacity(Detector):
    """`nets`: one network per seed; their logits are averaged. `image_share` weighs the film's logit, the
    rest goes to the mean logit of the `top` share of places."""

    reads = (
        "networks that learnt to find opacities drawn into healthy films; logit of the film and of its places"
    )

    def __init__(self, pixels: Pixels, choices: dict[str, Any], net_choices: dict[str, Any]) -> None:
        super().__init__(pixels)
        self.choices = choices
        self.nets = torch.nn.ModuleList(
            pretext.build(pixels, **net_choices) for _ in range(choices["members"])
        )

    def learn(self, films: HealthyFilms, seed: int, advance: Advance) -> None:
        """Trains each network with a seed of its own."""
        members = len(self.nets)
        for place, net in enumerate(self.nets):
            assert isinstance(net, pretext.PretextNet)
            net.learn(
                films,
                seed + 1000 * place,
                lambda done, total, place=place: advance(place * total + done, members * total),
            )

    def measure(self, x: Float[Tensor, "batch 1 rows cols"]) -> Scored:
        """The map is the logit of an opacity at each place."""
        views = [x, x.flip(-1)] if self.choices["flips"] else [x]
        found = []
        for net in self.nets:
            assert isinstance(net, pretext.PretextNet)
            for turned, view in enumerate(views):
                places, film = net.both(view)
                found.append((places.flip(-1) if turned else places, film))
        places = torch.stack([one for one, _ in found]).mean(0)
        film = torch.stack([one for _, one in found]).mean(0)
        share = self.choices["image_share"]
        score = share * film + (1 - share) * summary(places.flatten(1), self.choices["top"])
        return Scored(score, to_image(places, x.shape[-2:]))


def build(
    pixels: Pixels,
    width: int = 32,
    blocks: int = 1,
    steps: int = 1500,
    batch_size: int = 32,
    lr: float = 2e-3,
    members: int = 1,
    flips: bool = True,
    top: float = 0.1,
    image_share: float = 0.5,
    precision: str = "bf16",
) -> SyntheticOpacity:
    """`width`, `blocks`, `steps`, `batch_size`, `lr`, `precision`: of the networks, see features/pretext;
    `members`: how many are trained; `flips`: score the mirrored film too; `top`: share of the places whose
    mean logit counts; `image_share`: weight of the film's own logit, 0..1."""
    if members < 1:
        raise RecipeError(f"synthetic_opacity: members is {members}", "choose 1 or more")
    for name, value in (("top", top), ("image_share", image_share)):
        if not 0 <= value <= 1:
            raise RecipeError(f"synthetic_opacity: {name} is {value}", "choose a share between 0 and 1")
    choices = {"members": members, "flips": flips, "top": top, "image_share": image_share}
    net_choices = {
        "width": width,
        "blocks": blocks,
        "steps": steps,
        "batch_size": batch_size,
        "lr": lr,
        "precision": precision,
    }
    return SyntheticOpacity(pixels, choices, net_choices)
