"""Recipes: presets are valid, faults are one sentence, a written recipe reads back as itself."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from hilum.errors import RecipeError
from hilum.recipe import FORMAT, Recipe, load_recipe, override, presets
from hilum.stages import STAGES, stage
from hilum.stages.explain import ExplainConfig


@pytest.mark.parametrize("name", presets())
def test_presets_are_valid_and_survive_writing(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe.to_yaml()))
    assert load_recipe(path) == recipe


def test_seed_preset_holds_the_facts_of_the_report() -> None:
    multiclass = load_recipe("seed").tasks["multiclass"]
    assert multiclass.model.name == "resnet34_gelu"
    assert (multiclass.training.optimizer.name, multiclass.training.optimizer.lr) == ("adamw", 1e-3)
    assert multiclass.training.optimizer.weight_decay == 0.005
    assert (multiclass.training.schedule.name, multiclass.training.schedule.warmup_steps) == (
        "warmup_cosine",
        5,
    )
    assert (multiclass.training.epochs, multiclass.training.monitor) == (20, "val_accuracy")
    assert multiclass.split.scheme == "seed-1b"
    binary = load_recipe("seed").tasks["binary"]
    assert (binary.training.optimizer.name, binary.training.optimizer.lr) == ("adam", 1e-4)
    assert (binary.pixels.size, binary.split.scheme) == ((200, 224), "seed-1a")
    assert (binary.training.loss, binary.training.schedule.name) == ("binary_cross_entropy", "plateau")


FAULTS = {
    "multiclass.training.epoch=1": "key 'tasks.multiclass.training.epoch' is not known; did you mean 'epochs'",
    "multiclass.training.epochs=0": "tasks.multiclass.training.epochs = 0 is not possible",
    "multiclass.training.optimizer.name=adamm": "training.optimizer.name = 'adamm' is not possible",
    "multiclass.pixels.size=[4, 224]": "size 4 x 224 is outside 16..2048 px",
    "multiclass.augment.rotat=4": "did you mean 'rotate'",
    "multiclas.training.epochs=3": "key 'multiclas' is not known; did you mean 'multiclass'",
    "tasks.multiclas.training.epochs=3": "the recipe has no task 'multiclas'; did you mean 'multiclass'",
    "nonsense": "has no '='; write it as key.key=value",
    "replicates=many": "replicates = 'many' is not possible",
}


@pytest.mark.parametrize("change", FAULTS)
def test_a_fault_names_key_value_and_remedy(change: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("quick", [change])
    assert FAULTS[change] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_key_and_file_and_yaml(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    with pytest.raises(
        RecipeError, match=r"recipe .*mine.yaml does not exist; presets are: best, quick, seed"
    ):
        load_recipe(path)
    path.write_text("name: x\ntasks: {binary: {training: {epochs: 1}}}\n")
    with pytest.raises(RecipeError, match=r"mine.yaml: key 'tasks.binary.model' is missing"):
        load_recipe(path)
    path.write_text("name: [")
    with pytest.raises(RecipeError, match=r"mine.yaml is no YAML"):
        load_recipe(path)
    path.write_text("")
    with pytest.raises(RecipeError, match="is empty or no mapping"):
        load_recipe(path)
    with pytest.raises(RecipeError, match="preset 'quik' is not known; did you mean 'quick'"):
        load_recipe("quik")


def test_override_changes_one_value_and_no_other() -> None:
    before, after = load_recipe("best"), load_recipe("best", ["binary.training.epochs=3"])
    assert after.tasks["binary"].training.epochs == 3
    assert after.tasks["multiclass"] == before.tasks["multiclass"]


def test_override_reads_yaml_values() -> None:
    values: dict = {}
    override(values, "a.b=[1, 2]")
    override(values, "c=null")
    assert values == {"a": {"b": [1, 2]}, "c": None}


def test_recipe_does_not_change_after_reading() -> None:
    recipe: Recipe = load_recipe("quick")
    with pytest.raises(ValidationError, match="frozen"):
        recipe.name = "other"  # type: ignore[misc]


def test_a_recipe_of_another_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    values = load_recipe("quick").to_yaml()
    assert values["format"] == FORMAT == 2
    path.write_text(yaml.safe_dump({**values, "format": 1}))
    with pytest.raises(
        RecipeError,
        match=r"old.yaml is a recipe of format 1, this hilum reads format 2; write it anew, starting from",
    ):
        load_recipe(path)


def test_every_stage_has_its_key_and_null_leaves_it_out() -> None:
    keys = {each.name for each in STAGES if each.in_recipe}
    recipe = load_recipe("quick")
    assert keys <= set(recipe.to_yaml()) and "explain" in keys and "train" not in keys
    assert load_recipe("quick", ["explain=null"]).config_of(stage("explain")) is None
    assert recipe.config_of(stage("label_efficiency")) is None, "on request"
    assert recipe.config_of(stage("train")) == stage("train").config()


# -- explain -------------------------------------------------------------------------------------------------


def explain_of(changes: list[str], preset: str = "quick") -> ExplainConfig:
    settings = load_recipe(preset, changes).config_of(stage("explain"))
    assert isinstance(settings, ExplainConfig)
    return settings


def test_methods_may_be_names_alone_or_names_with_options() -> None:
    assert explain_of(["explain.methods=[grad_cam, rise]"]).methods == {"grad_cam": {}, "rise": {}}
    assert explain_of(["explain.methods={rise: {masks: 100}, saliency: null}"]).methods == {
        "rise": {"masks": 100},
        "saliency": {},
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("explain.occlusion.stride=0", "explain.occlusion.stride = 0 is not possible"),
        ("explain.occlusion.mask=0", "explain.occlusion.mask = 0 is not possible"),
        ("explain.occlusion.fil=mean", "did you mean 'fill'?"),
        ("explain.sythesis={}", "did you mean 'synthesis'?"),
        ("explain.synthesis.lr=-1", "explain.synthesis.lr = -1"),
        ("explain.cases_per_class=0", "explain.cases_per_class = 0"),
    ],
)
def test_faults_in_explain_name_place_and_remedy(change: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("quick", [change])
    assert said in str(caught.value)


def test_the_seed_preset_explains_as_the_seed_report() -> None:
    """90 px, stride 1, zero fill; 5 filters x 10 images; 64 filters, 1000 steps, learning rate 10,000."""
    explain = explain_of([], "seed")
    occlusion, synthesis = explain.occlusion, explain.synthesis
    assert (occlusion.mask, occlusion.stride, occlusion.fill) == (90, 1, "zero")
    assert (explain.filters, explain.images, explain.scan) == (5, 10, None)
    assert (synthesis.filters, synthesis.steps, synthesis.lr) == (64, 1000, 10_000)
