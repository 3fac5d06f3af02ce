"""Extraction: one pass over the images of a split gives logits and the vectors of named layers.

Layers by name, in the order of the network: "features.<i>" (output of part i of the convolutional trunk,
averaged over the image), "pool" (the pooled trunk) and "embedding" (what the head receives).
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from hilum.data.cache import ImageCache
from hilum.data.cases import Cases
from hilum.data.split import used_cases
from hilum.embedding.vectors import Vectors
from hilum.errors import DataError
from hilum.files import digest
from hilum.inference.forward import vectors_of
from hilum.models import ChestModel

Precision = Literal["float16", "float32"]


def layers_for(layer: str) -> list[str]:
    """The layers to extract: the chosen one, and the two around the neck (the seed report used the later).

    >>> layers_for("features.3")
    ['features.3', 'pool', 'embedding']
    """
    return list(dict.fromkeys([layer, "pool", "embedding"]))


def cases_digest(cases: Cases, split: pd.Series) -> str:
    """Names the images and the split that vectors are made from.

    >>> from pathlib import Path
    >>> row = {"case_id": "a", "path": "a.png", "label": "virus", "patient": "p", "split": "", "digest": "d"}
    >>> cases = Cases.checked(pd.DataFrame([row]), "table", Path("cases.csv"))
    >>> cases_digest(cases, pd.Series({"a": "train"})) == cases_digest(cases, pd.Series({"a": "val"}))
    False
    """
    return digest(cases.digest, *split.loc[cases.table["case_id"]])


def extract(
    model: ChestModel,
    cases: Cases,
    split: pd.Series,
    layers: Sequence[str] = ("pool", "embedding"),
    precision: Precision = "float16",
    what: str = "embedding",
) -> Vectors:
    """Vectors of the cases in train, val and test, in their order, computed in fp32 on the best device at hand.

    `split`: case_id -> train, val, test or unused; `precision`: how vectors are stored; `what`: the words
    beside the progress bar. RecipeError for a layer that the model lacks; DataError when there is no image,
    or a value does not fit into float16.
    """
    used = used_cases(cases, split)
    if not len(used):
        raise DataError("there is no image to embed", "name a split that has cases")
    cache = ImageCache.of(used, model.pixels)
    ids = used.table["case_id"]
    logits, values = vectors_of(model, cache.images, layers, cache.rows(ids), what)
    return Vectors(
        np.array(ids.tolist()),
        split.loc[ids].to_numpy(str),
        {name: stored(values[name], precision, name) for name in layers},
        logits.astype(np.float32),
        tuple(model.classes),
        model.weights_digest,
        cases_digest(used, split),
    )


def stored(values: np.ndarray, precision: Precision, layer: str) -> np.ndarray:
    """The vectors in the type they are stored in. DataError when float16 is too small for them.

    >>> stored(np.array([[1e6]]), "float16", "pool")
    Traceback (most recent call last):
    hilum.errors.DataError: vectors of layer 'pool' reach 1e+06, too large for float16; set precision=float32
    """
    largest = np.abs(values).max(initial=0)
    if precision == "float16" and largest > np.finfo(np.float16).max:
        raise DataError(
            f"vectors of layer {layer!r} reach {largest:.3g}, too large for float16",
            "set precision=float32",
        )
    return values.astype(precision)
