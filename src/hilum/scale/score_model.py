"""The model that scores, as a manifest names it."""

from dataclasses import dataclass
from pathlib import Path

from hilum.artifacts.card import PixelContract
from hilum.files import digest, digest_of_file
from hilum.models import model_folder
from hilum.scale.parts import ModelFacts
from hilum.serving.predictor import WEIGHTS, predictor_for

PACKAGED = ("anomaly", "binary", "multiclass")


@dataclass(frozen=True)
class Described:
    """A model's facts, the classes of its probabilities, and its pixel contract."""

    facts: ModelFacts
    classes: tuple[str, ...]
    pixels: PixelContract


def described(model: Path | None, device: str) -> Described:
    """Loads a model and describes it; None: the models of the package. ModelError as in `hilum.predict`.

    >>> described(None, "cpu").facts.classes
    ['normal', 'bacteria', 'virus']
    """
    predictor = predictor_for(model, device)
    folders = [WEIGHTS / name for name in PACKAGED] if model is None else [model_folder(model)]
    name = predictor.name.name if predictor.name else predictor.classifier.name
    facts = ModelFacts(
        name=name,
        weights_digest=predictor.name.digest if predictor.name else predictor.classifier.digest,
        digest=digest_of_folders(folders),
        classes=list(predictor.classes),
        coverage=predictor.classifier.rules.coverage,
    )
    return Described(facts, predictor.classes, predictor.classifier.runtime.pixels.to_contract())


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
