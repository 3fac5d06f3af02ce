"""Cached images through a model several times: with dropout left on, or in several views."""

from collections.abc import Sequence

import numpy as np
import torch

from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.evaluation.wrappers import TestTimeAugmented, mc_dropout
from hilum.models import ChestModel
from hilum.progress import advancing

BATCH = 64


def members_of_images(
    model: ChestModel, cases: Cases, ids: Sequence[str], way: str, passes: int, seed: int
) -> np.ndarray:
    """Probabilities float32 "members images classes" of these images. `way`: "mc_dropout" or "views".

    `cases`: all that a cache of the run holds, so that no image is decoded again. ModelError when the model
    has no dropout to leave on.
    """
    cache = ImageCache.of(cases, model.pixels)
    rows = cache.rows(ids)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    looking = TestTimeAugmented(model)
    parts = []
    with torch.inference_mode(), advancing(way.replace("_", " ")) as advance:
        for start in range(0, len(rows), BATCH):
            images = model.pixels.normalize(np.asarray(cache.images[rows[start : start + BATCH]]))
            x = torch.from_numpy(images)[:, None].to(device, memory_format=torch.channels_last)
            members = (
                mc_dropout(model, x, passes, seed + start) if way == "mc_dropout" else looking.members(x)
            )
            parts.append(members.float().cpu().numpy())
            advance(min(start + BATCH, len(rows)), len(rows))
    model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return np.concatenate(parts, axis=1)
