"""A trained model as a MONAI bundle: configs/metadata.json, configs/inference.json, models/model.pt and docs.

The bundle needs hilum, which brings the architecture and the pixel contract, and MONAI, which reads the configs:

    python -m monai.bundle run --config_file configs/inference.json --dataset_dir IMAGES

Specification: https://docs.monai.io/en/stable/mb_specification.html
"""

import inspect
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hilum import __version__
from hilum.artifacts.card import ModelCard, PixelContract
from hilum.artifacts.export import ExportedGraph
from hilum.builders import find_build
from hilum.data.decode import read_grey
from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.files import replacing, write_json, write_text
from hilum.inference.exported import digest_of
from hilum.inference.finding_rules import rules_of
from hilum.inference.runtimes.graph import LOGITS
from hilum.models import ChestModel, names
from hilum.scale.graphs import TOLERANCE, apart
from hilum.scale.networks import prepared

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
"""What MONAI checks metadata.json against; `verify_metadata` fetches it."""

LICENCE = """The software is under the Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0

Research and teaching only. Not a medical device; not for diagnosis or treatment of people.
"""


def write_bundle(model: ChestModel, card: ModelCard, out: Path) -> ExportedGraph:
    """Writes a bundle and gives the facts of its network, which was built again from the configs and compared with the
    model on its golden images. ModelError where MONAI is not installed.

    >>> from tempfile import TemporaryDirectory
    >>> from hilum.models import load_model
    >>> from hilum.serving.predictor import WEIGHTS
    >>> card = ModelCard.load(WEIGHTS / "binary" / "model.json")
    >>> with TemporaryDirectory() as folder:
    ...     write_bundle(load_model(WEIGHTS / "binary"), card, Path(folder)).difference
    0.0
    """
    weights, network = out / "models" / "model.pt", network_config(card)
    weights.parent.mkdir(parents=True, exist_ok=True)
    with replacing(weights) as temporary:
        torch.save(model.state_dict(), temporary)
    write_json(out / "configs" / "metadata.json", metadata(card))
    write_json(out / "configs" / "inference.json", inference_config(card, network))
    card.save(out / "configs" / "model.json")
    write_text(out / "docs" / "README.md", readme(card))
    write_text(out / "docs" / "license.txt", LICENCE)
    rebuilt = _built(card)
    rebuilt.load_state_dict(torch.load(weights, weights_only=True))
    x, answers = prepared(model.pixels), []
    with torch.no_grad():
        for each in (model, rebuilt.eval()):
            answers.append({LOGITS: each(x).numpy()})
    difference, allowed = apart(*answers), TOLERANCE["fp32"]
    if not difference <= allowed:
        raise ModelError(f"{weights} differs from the model by {difference:.2g}", "export it again")
    files = ["models/model.pt", *(f"configs/{name}.json" for name in ("inference", "metadata", "model"))]
    return ExportedGraph(
        files=files, digest=digest_of(out, files), outputs=[LOGITS], difference=difference, tolerance=allowed
    )


def _options(card: ModelCard) -> dict[str, Any]:
    """The options of the architecture, without weights that training may have started from."""
    options = dict(card.architecture.options)
    maker = find_build("model", card.architecture.name, "hilum.models", names(), options, given=2)
    if "pretrained" in inspect.signature(maker).parameters:
        options["pretrained"] = False
    return options


def _built(card: ModelCard) -> ChestModel:
    from hilum.models import build

    return build(card.architecture.name, card.classes, Pixels.of(card.pixels), _options(card))


def network_config(card: ModelCard) -> dict[str, Any]:
    """The network as MONAI's parser makes it.

    >>> from hilum.serving.predictor import WEIGHTS
    >>> network_config(ModelCard.load(WEIGHTS / "binary" / "model.json"))["name"]
    'efficientnet_lite0'
    """
    return {
        "_target_": "hilum.models.build",
        "name": card.architecture.name,
        "classes": card.classes,
        "pixels": "@pixels",
        "options": _options(card),
    }


def inference_config(card: ModelCard, network: dict[str, Any]) -> dict[str, Any]:
    """configs/inference.json: a folder of images to output_dir/predictions.json.

    >>> from hilum.serving.predictor import WEIGHTS
    >>> inference_config(ModelCard.load(WEIGHTS / "binary" / "model.json"), {})["run"]
    ['$@evaluator.run()']
    """
    contract = card.pixels.model_dump(mode="json")
    return {
        "imports": ["$import torch"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "checkpoint": "$@bundle_root + '/models/model.pt'",
        "pixels": {"_target_": "hilum.scale.bundle.pixels_of", **contract},
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "images": {"_target_": "hilum.scale.bundle.image_files", "folder": "@dataset_dir"},
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Lambda", "func": {"_target_": "hilum.scale.bundle.Reader", "pixels": "@pixels"}}
            ],
        },
        "dataset": {"_target_": "Dataset", "data": "@images", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 8, "num_workers": 0},
        "inferer": {"_target_": "SimpleInferer"},
        "evaluator": {
            "_target_": "hilum.scale.bundle.Evaluator",
            "images": "@images",
            "batches": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "device": "@device",
            "card": "$@bundle_root + '/configs/model.json'",
            "output_dir": "@output_dir",
        },
        "initialize": [
            "$@network.load_state_dict(torch.load(@checkpoint, map_location=@device, weights_only=True))",
            "$@network.eval()",
        ],
        "run": ["$@evaluator.run()"],
    }


def metadata(card: ModelCard) -> dict[str, Any]:
    """configs/metadata.json. ModelError where MONAI is not installed.

    >>> from hilum.serving.predictor import WEIGHTS
    >>> formats = metadata(ModelCard.load(WEIGHTS / "binary" / "model.json"))["network_data_format"]
    >>> formats["outputs"]["pred"]["channel_def"]
    {'0': 'normal', '1': 'pneumonia'}
    """
    classes = {str(place): name for place, name in enumerate(card.classes)}
    return {
        "schema": SCHEMA,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported by hilum {__version__}, weights {card.weights_digest}"},
        "monai_version": _version("monai"),
        "pytorch_version": _version("torch"),
        "numpy_version": _version("numpy"),
        "required_packages_version": {"hilum": __version__},
        "task": f"Classification of chest radiographs: {', '.join(card.classes)}",
        "description": f"{card.architecture.name}, trained with hilum; configs/inference.json has its pixels.",
        "authors": "made with hilum",
        "copyright": "see docs/license.txt",
        "intended_use": card.intended_use,
        "data_type": "png, jpeg, tiff or dicom",
        "image_classes": "one grey channel, prepared by hilum.data.images.Pixels",
        "network_data_format": {
            "inputs": {
                "image": _tensor("image", "magnitude", "CR", 1, list(card.pixels.size), {"0": "image"})
            },
            "outputs": {"pred": _tensor("probabilities", "classes", "n/a", len(classes), [], classes)},
        },
    }


def _tensor(
    kind: str, form: str, modality: str, channels: int, shape: list[int], names: dict[str, str]
) -> dict[str, Any]:
    return {
        "type": kind,
        "format": form,
        "modality": modality,
        "num_channels": channels,
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": names,
    }


def _version(package: str) -> str:
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        raise ModelError(
            f"a MONAI bundle needs {package}, which is not installed", "pip install 'hilum[bundle]'"
        ) from None


def readme(card: ModelCard) -> str:
    """docs/README.md.

    >>> from hilum.serving.predictor import WEIGHTS
    >>> readme(ModelCard.load(WEIGHTS / "binary" / "model.json")).splitlines()[0]
    '# normal, pneumonia'
    """
    return f"""# {", ".join(card.classes)}

A classifier of chest radiographs ({card.architecture.name}, {card.pixels.size[0]} x {card.pixels.size[1]} pixels),
trained with hilum. {card.intended_use}

It needs `hilum` {__version__} and `monai`. In the folder of the bundle:

    python -m monai.bundle run --config_file configs/inference.json --dataset_dir IMAGES

writes eval/predictions.json: for each image calibrated probabilities, the predicted class and the prediction set. The
network gives logits. Intake check and guard of hilum are not part of the bundle: `hilum predict` has them.
"""


# -- what the configs name -----------------------------------------------------------------------------------


def pixels_of(**contract: Any) -> Pixels:
    """The pixel contract of a config.

    >>> pixels_of(size=[4, 6]).size
    (4, 6)
    """
    return Pixels.of(PixelContract.model_validate(contract))


def image_files(folder: str) -> list[str]:
    """The images in a folder and below it, in order of name. DataError where there is none.

    >>> image_files("gone")
    Traceback (most recent call last):
    hilum.errors.DataError: image gone does not exist; check the path
    """
    from hilum.inference.stream import list_images

    return [str(image) for image in list_images(folder)]


class Reader:
    """From the path of an image to what the network reads, float32 "1 rows cols"."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def __call__(self, path: str) -> Tensor:
        """DataError for a file that is no image."""
        return self.pixels.apply(read_grey(path))


class Evaluator:
    """Runs the network over batches and writes predictions.json. `card`: the path of the model's card."""

    def __init__(
        self,
        images: list[str],
        batches: Iterable[Tensor],
        network: nn.Module,
        inferer: Callable[..., Tensor],
        device: torch.device,
        card: str,
        output_dir: str,
    ) -> None:
        self.images, self.batches, self.network, self.inferer = images, batches, network, inferer
        self.device, self.card, self.output_dir = device, card, Path(output_dir)

    def run(self) -> None:
        """Writes output_dir/predictions.json: file, probabilities, prediction and prediction set of each image.

        >>> Evaluator([], [], nn.Identity(), lambda x, network: x, torch.device("cpu"), "gone.json", "eval").run()
        Traceback (most recent call last):
        hilum.errors.ModelError: gone.json is missing; restore the file or train the model again
        """
        rules = rules_of(ModelCard.load(Path(self.card)))
        with torch.no_grad():
            parts = [self.inferer(batch.to(self.device), self.network).cpu() for batch in self.batches]
        decisions = rules.decide(np.concatenate([part.double().numpy() for part in parts]))
        rows = [
            {
                "file": file,
                "probabilities": dict(zip(rules.classes, map(float, probabilities), strict=True)),
                "prediction": decisions.predicted[place] or None,
                "prediction_set": decisions.sets[place] if decisions.sets else None,
            }
            for place, (file, probabilities) in enumerate(
                zip(self.images, decisions.probabilities, strict=True)
            )
        ]
        write_json(self.output_dir / "predictions.json", rows)
