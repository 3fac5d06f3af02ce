"""Extraction: one pass over images gives logits and the vectors of named layers.

Layers by name, in the order of the network: "features.<i>" (output of part i of the convolutional trunk,
averaged over the image), "pool" (the pooled trunk) and "embedding" (what the head sees).
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from hilum.data.cache import ImageCache
from hilum.errors import DataError, ModelError, RecipeError, nearest
from hilum.files import replacing
from hilum.models import ChestModel
from hilum.progress import advancing

BATCH = 64
Precision = Literal["float16", "float32"]


@dataclass(frozen=True)
class Vectors:
    """Vectors of cases with what is needed to reliability them.

    `case_id` and `split`: text "cases"; `layers`: float16 or float32 "cases dim" by layer name; `logits`:
    float32 "cases classes"; `classes`: names of the logits; `weights_digest`: the model that made them.
    """

    case_id: np.ndarray
    split: np.ndarray
    layers: Mapping[str, np.ndarray]
    logits: np.ndarray
    classes: tuple[str, ...]
    weights_digest: str

    def __len__(self) -> int:
        return len(self.case_id)

    def layer(self, name: str) -> np.ndarray:
        """float32 "cases dim" of one layer. DataError when it was not extracted or holds NaN."""
        if name not in self.layers:
            raise DataError(f"vectors of layer {name!r} were not extracted", nearest(name, list(self.layers)))
        values = self.layers[name].astype(np.float32)
        check_finite(values, self.case_id, f"layer {name!r}")
        return values

    def where(self, case_ids: Sequence[str]) -> "Vectors":
        """The rows of these cases in this order. DataError names the first that is missing."""
        row_of = {case: row for row, case in enumerate(self.case_id.tolist())}
        missing = [case for case in case_ids if case not in row_of]
        if missing:
            raise DataError(
                f"{len(missing):,} cases have no vector, the first is {missing[0]!r}", "run: hilum embed RUN"
            )
        rows = np.array([row_of[case] for case in case_ids], np.int64)
        layers = {name: values[rows] for name, values in self.layers.items()}
        return Vectors(
            self.case_id[rows], self.split[rows], layers, self.logits[rows], self.classes, self.weights_digest
        )

    def write(self, path: Path) -> None:
        """Writes vectors.npz, all or nothing."""
        arrays: dict[str, Any] = {f"vectors_{name}": values for name, values in self.layers.items()}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                case_id=self.case_id.astype(str),
                split=self.split.astype(str),
                layers=np.array(list(self.layers)),
                logits=self.logits,
                classes=np.array(self.classes),
                weights_digest=np.array(self.weights_digest),
                **arrays,
            )

    @classmethod
    def read(cls, path: Path, weights_digest: str | None = None) -> "Vectors":
        """Reads vectors.npz. ModelError when they were made by another model than `weights_digest`."""
        try:
            with np.load(path, allow_pickle=False) as file:
                held = {name: file[name] for name in file.files}
            layers = {str(name): held[f"vectors_{name}"] for name in held["layers"]}
            classes = tuple(held["classes"].tolist())
            read = cls(
                held["case_id"], held["split"], layers, held["logits"], classes, str(held["weights_digest"])
            )
        except FileNotFoundError:
            raise DataError(f"{path} does not exist", "run: hilum embed RUN") from None
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is damaged ({error})", "run: hilum embed RUN") from None
        read._check(path)
        if weights_digest is not None and read.weights_digest != weights_digest:
            raise ModelError(
                f"{path} holds vectors of another model (digest {read.weights_digest[:8]}, "
                f"the model here has {weights_digest[:8]})",
                "run: hilum embed RUN",
            )
        return read

    def _check(self, path: Path) -> None:
        n = len(self.case_id)
        for name, values in {**self.layers, "logits": self.logits}.items():
            if values.ndim != 2 or len(values) != n:
                raise DataError(
                    f"{path}: {name!r} has shape {values.shape} for {n} case ids", "run: hilum embed RUN"
                )
        if len(set(self.case_id.tolist())) != n or "" in self.case_id:
            raise DataError(f"{path}: case ids are empty or occur twice", "run: hilum embed RUN")


def check_finite(values: np.ndarray, case_ids: Sequence[str] | np.ndarray, what: str) -> None:
    """DataError names the first case whose vector holds NaN or infinity."""
    bad = np.asarray(~np.isfinite(values).all(axis=1))
    if bad.any():
        raise DataError(
            f"{what}: {int(bad.sum()):,} of {len(bad):,} vectors hold NaN or infinity, "
            f"the first is that of case {str(case_ids[int(bad.argmax())])!r}",
            "train the model again; its weights have run away",
        )


def layer_names(model: ChestModel) -> list[str]:
    """The layers that can be asked for, from the input to the head.

    >>> from hilum.data.images import Pixels
    >>> from hilum.models import build
    >>> layer_names(build("resnet", ("normal", "pneumonia"), Pixels(size=(32, 32))))[-3:]
    ['features.11', 'pool', 'embedding']
    """
    return [*(f"features.{index}" for index, _ in model.features.named_children()), "pool", "embedding"]


def run_images(
    model: ChestModel,
    cache: ImageCache,
    rows: np.ndarray,
    layers: Sequence[str] = ("pool", "embedding"),
    precision: Precision = "float16",
    what: str = "embedding",
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """float64 logits "cases classes" and vectors "cases dim" by layer, of the cached images at `rows`.

    Computed in fp32 on the best device at hand, in eval mode; `precision` is how vectors are stored.
    RecipeError for an unknown layer. DataError when a value does not fit into float16.
    """
    import torch

    _check_layers(model, layers)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    logits, parts = [], {name: [] for name in layers}
    with torch.inference_mode(), advancing(what) as advance:
        for start in range(0, len(rows), BATCH):
            images = model.pixels.normalize(np.asarray(cache.images[rows[start : start + BATCH]]))
            x = torch.from_numpy(images)[:, None].to(device, memory_format=torch.channels_last)
            answer, vectors = _pass(model, x, layers)
            logits.append(answer.double().cpu().numpy())
            for name in layers:
                parts[name].append(_stored(vectors[name].float().cpu().numpy(), precision, name))
            advance(min(start + BATCH, len(rows)), len(rows))
    model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if not logits:
        raise DataError("there is no image to embed", "name a split that has cases")
    return np.concatenate(logits), {name: np.concatenate(values) for name, values in parts.items()}


def embed_images(model: ChestModel, images: np.ndarray, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Logits float64 and vectors float32 of prepared uint8 images "images rows cols" that are in no cache."""
    import torch

    _check_layers(model, [layer])
    with torch.inference_mode():
        logits, vectors = _pass(model, torch.from_numpy(model.pixels.normalize(images))[:, None], [layer])
    return logits.double().numpy(), vectors[layer].float().numpy()


def extract(
    model: ChestModel,
    cache: ImageCache,
    table: pd.DataFrame,
    layers: Sequence[str] = ("pool", "embedding"),
    precision: Precision = "float16",
    what: str = "embedding",
) -> tuple[np.ndarray, Vectors]:
    """Logits (float64) and Vectors of the cases of `table` (columns case_id and split), in its order."""
    ids = table["case_id"].tolist()
    logits, found = run_images(model, cache, cache.rows(ids), layers, precision, what)
    digest = str(model.card.get("weights_digest", ""))
    vectors = Vectors(
        np.array(ids), table["split"].to_numpy(str), found, logits.astype(np.float32), model.classes, digest
    )
    return logits, vectors


def _pass(model: ChestModel, x: Any, layers: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """Each value is averaged before the next layer runs: that one may work in place."""
    vectors: dict[str, Any] = {}
    maps = x
    for index, part in model.features.named_children():
        maps = part(maps)
        if f"features.{index}" in layers:
            vectors[f"features.{index}"] = maps.mean(dim=(-2, -1))
    pooled = model.pool(maps)
    if "pool" in layers:
        vectors["pool"] = pooled.clone()
    embedding = model.neck(pooled)
    vectors["embedding"] = embedding
    return model.head(embedding), vectors


def _check_layers(model: ChestModel, layers: Sequence[str]) -> None:
    known = layer_names(model)
    for name in layers:
        if name not in known:
            raise RecipeError(f"the model has no layer {name!r}", nearest(name, known))


def _stored(values: np.ndarray, precision: Precision, layer: str) -> np.ndarray:
    if precision == "float16" and np.abs(values).max(initial=0) > np.finfo(np.float16).max:
        raise DataError(
            f"vectors of layer {layer!r} reach {np.abs(values).max():.3g}, too large for float16",
            "set embedding.precision=float32",
        )
    return values.astype(precision)
