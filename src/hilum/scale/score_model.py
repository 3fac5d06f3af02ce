"""The model that scores, as a manifest names it."""

from dataclasses import dataclass
from pathlib import Path

from hilum.artifacts.card import PixelContract
from hilum.errors import ModelError
from hilum.files import digest, digest_of_file
from hilum.inference.exported import read_export
from hilum.inference.predictor import Predictor
from hilum.inference.runtimes.graph import GraphRuntime
from hilum.scale.parts import ModelFacts
from hilum.serving.predictor import WEIGHTS, predictor_for

PACKAGED = ("anomaly", "binary", "multiclass")
LAYER = "embedding"
"""The layer in the column of this name."""


@dataclass(frozen=True)
class Described:
    """A model's facts, the classes of its probabilities, and its pixel contract."""

    facts: ModelFacts
    classes: tuple[str, ...]
    pixels: PixelContract


def described(model: Path | None, device: str, runtime: str = "torch", embedding: bool = False) -> Described:
    """Loads a model and describes it; None: the models of the package. `embedding`: whether the layer is wanted.
    ModelError as in `hilum.serving.predictor.predictor_for`, and for an export without that layer.

    >>> described(None, "cpu").facts.classes
    ['normal', 'bacteria', 'virus']
    """
    predictor = predictor_for(model, device, runtime)
    if embedding and model:
        _check_embedding(predictor, model)
    name = predictor.name.name if predictor.name else predictor.classifier.name
    facts = ModelFacts(
        name=name,
        weights_digest=predictor.name.digest if predictor.name else predictor.classifier.digest,
        digest=digest_of_model(model, runtime),
        classes=list(predictor.classes),
        coverage=predictor.classifier.rules.coverage,
    )
    return Described(facts, predictor.classes, predictor.classifier.runtime.pixels.to_contract())


def _check_embedding(predictor: Predictor, model: Path) -> None:
    runtime = predictor.classifier.runtime
    if isinstance(runtime, GraphRuntime) and LAYER not in runtime.layers:
        raise ModelError(
            f"{model} was exported without the layer {LAYER!r}", "export it again, or give --no-embedding"
        )


def digest_of_model(model: Path | None, runtime: str = "torch") -> str:
    """`digest_of_folders` of a model, which need not be loaded; None: the models of the package. `runtime`: another
    than torch reads an exported folder. ModelError for a folder without a model.

    >>> digest_of_model(None) == described(None, "cpu").facts.digest
    True
    """
    return digest_of_folders(_folders(model, runtime))


def _folders(model: Path | None, runtime: str) -> list[Path]:
    """Where everything lies that decides about a prediction."""
    if model is None:
        return [WEIGHTS / name for name in PACKAGED]
    if runtime != "torch":
        read_export(model, runtime)  # says so where there is none
        return [model, *sorted(inside for inside in model.iterdir() if inside.is_dir())]
    from hilum.models import model_folder  # needs torch, which other runtimes do without

    return [model_folder(model)]


def digest_of_folders(folders: list[Path]) -> str:
    """Names everything that decides about a prediction: weights, card, guard, intake check.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "model.json").write_text("{}")
    ...     before = digest_of_folders([Path(folder)])
    ...     _ = Path(folder, "model.json").write_text("[]")
    ...     before == digest_of_folders([Path(folder)])
    False
    """
    files = [file for folder in folders for file in sorted(folder.iterdir()) if file.is_file()]
    return digest(*(part for file in files for part in (file.name, digest_of_file(file))))
