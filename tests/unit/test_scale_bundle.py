"""A MONAI bundle that MONAI itself accepts and runs."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from hilum.artifacts.export import Export
from hilum.data.images import Pixels
from hilum.errors import ModelError
from hilum.inference.predictor import Predictor
from hilum.scale.export import Request, export_model

from .test_scale_export import radiographs, saved

pytest.importorskip("monai", reason="MONAI is not installed")
pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)

TENSOR = {
    "type": "object",
    "required": [
        "type",
        "format",
        "num_channels",
        "spatial_shape",
        "dtype",
        "value_range",
        "is_patch_data",
        "channel_def",
    ],
}
SCHEMA = {
    "type": "object",
    "required": [
        *("version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"),
        *("task", "description", "authors", "copyright", "network_data_format"),
    ],
    "properties": {
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {name: {"additionalProperties": TENSOR} for name in ("inputs", "outputs")},
        }
    },
}
"""The mandatory keys of https://docs.monai.io/en/stable/mb_specification.html; MONAI would fetch its own file."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("bundle")
    model = saved(place / "model", "vgg", Pixels(size=(32, 40), fit="lungs", standardize="image"))
    export_model(Request(str(model), "monai-bundle", place / "bundle"))
    return model, place / "bundle"


def configs(bundle: Path) -> dict[str, str]:
    return {
        "config_file": str(bundle / "configs" / "inference.json"),
        "meta_file": str(bundle / "configs" / "metadata.json"),
    }


def test_monai_accepts_metadata_and_network(bundle: tuple[Path, Path], tmp_path: Path) -> None:
    from monai.bundle import verify_metadata, verify_net_in_out

    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    verify_metadata(meta_file=configs(bundle[1])["meta_file"], filepath=str(tmp_path / "schema.json"))
    verify_net_in_out(net_id="network_def", device="cpu", **configs(bundle[1]))


def test_monai_runs_it_and_gives_the_same_probabilities(bundle: tuple[Path, Path], tmp_path: Path) -> None:
    from monai.bundle import run

    model, out = bundle
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, image in zip(files, radiographs(3), strict=True):
        cv2.imwrite(str(file), image)
    run(bundle_root=str(out), dataset_dir=str(tmp_path), output_dir=str(tmp_path / "eval"), **configs(out))
    rows = json.loads((tmp_path / "eval" / "predictions.json").read_text())
    for row, prediction in zip(rows, Predictor.load(model, "cpu").stream(files), strict=True):
        assert (row["file"], row["prediction"]) == (prediction.file, prediction.prediction)
        assert row["probabilities"] == pytest.approx(prediction.probabilities, abs=1e-6)


def test_what_a_bundle_cannot_be(bundle: tuple[Path, Path], tmp_path: Path, hilum: Callable) -> None:
    assert Export.load(bundle[1] / "export.json").graphs["model"].difference == 0
    with pytest.raises(ModelError, match="a MONAI bundle holds one network"):
        export_model(Request("packaged", "monai-bundle", tmp_path / "all"))
    refused = hilum(
        "export", bundle[0], "--to", "monai-bundle", "--precision", "fp16", "--out", tmp_path / "half"
    )
    assert (refused.code, refused.err) == (
        2,
        "hilum: --to monai-bundle has no precision fp16; leave --precision out\n",
    )
