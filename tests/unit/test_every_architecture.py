"""Every architecture of the package goes through every stage that meets a trained network."""

from pathlib import Path

import pytest
import torch

from hilum.artifacts.card import Architecture, ModelFacts
from hilum.data.images import Pixels
from hilum.data.tasks import task
from hilum.models import ChestModel, build, load_model, names, save_model
from hilum.recipe import load_recipe
from hilum.run import Run
from hilum.stages import stage
from hilum.stages.contract import Context

from .made_run import LABELS, made_run

OPTIONS: dict[str, dict[str, object]] = {
    "densenet121": {"blocks": [1, 1], "growth": 4, "width": 8},
    "efficientnet_lite0": {"pretrained": False},
    "resnet": {"stages": [1, 1], "width": 4, "embedding": 8},
    "resnet34_gelu": {},
    "vgg": {"blocks": [[4], [8]], "dense": [6]},
    "vit": {"dim": 8, "depth": 2, "heads": 2},
}
"""Of each architecture, as small as it can be made; transformers_backbone needs a source of somebody else."""

STAGES = ("evaluate", "reliability", "embed", "explain", "robustness", "counterfactual")

SMALL = [
    "replicates=20",
    "reliability={mc_passes: 1, views: false, divisions: 2, folds: 2, alpha: 0.4, ood_rate: 0.1, ood_images: 3}",
    "embed={maps: [pca], suspects: false, k: 2}",
    "explain={methods: {occlusion: {stride: 16}, saliency: {}, grad_cam: {}}, occlusion: {stride: 16}, scan: 6,"
    " filters: 1, images: 1, synthesis: {filters: 1, steps: 1, clean_steps: 1},"
    " faithfulness: {images: 1, steps: 2, truth: 0}, layers: {ablation: 0, probes: 0, concepts: 0}}",
    "robustness={corruptions: [low_dose], severities: [3]}",
    "counterfactual={images: 6, shown: 1, replicates: 20}",
]


def warmed_up(model: ChestModel) -> None:
    """Batch normalisation gets statistics of noise: a deep untrained network gives the same vector for all images."""
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(30):
            model.train()(torch.randn(8, 1, 32, 40))


def with_network(folder: Path, name: str) -> Run:
    """A run of 36 images with an untrained network."""
    run = made_run(folder)
    place = run.task("multiclass")
    model = build(name, LABELS, Pixels(size=(32, 40)), OPTIONS[name])
    warmed_up(model)
    known = place.card().model_dump(include=set(ModelFacts.model_fields), exclude_unset=True, by_alias=True)
    architecture = Architecture(name=name, options=OPTIONS[name])
    save_model(model.eval(), place.model_folder, architecture, ModelFacts.model_validate(known))
    return run


def test_no_architecture_is_forgotten() -> None:
    assert {*OPTIONS, "transformers_backbone"} == {*names()}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_stage_that_meets_a_network_finishes(name: str, tmp_path: Path) -> None:
    run = with_network(tmp_path / "run", name)
    recipe = load_recipe("quick", SMALL)
    this = task("multiclass", LABELS)
    for each in map(stage, STAGES):
        config = recipe.config_of(each)
        assert config is not None, each.name
        each.run(Context(run, run.cases(), recipe, (this,), this), config)
        folder = run.path / "multiclass"
        assert [file for file in each.artifacts if not (folder / file).exists()] == [], each.name
    assert (run.task("multiclass").guard_file.exists(), run.task("multiclass").intake_file.exists()) == (
        True,
        True,
    )
    assert load_model(run.task("multiclass").model_folder).classes == LABELS
