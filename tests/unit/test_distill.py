"""Learning from trained models."""

from pathlib import Path

import numpy as np
import pytest
import torch

from hilum.artifacts.card import Architecture, ModelFacts, TrainingData
from hilum.artifacts.run import SplitFacts
from hilum.errors import RecipeError
from hilum.folders import TaskFolder
from hilum.models import build, save_model
from hilum.training.distill import load_teachers, mean_logits, soft_loss
from hilum.training.fit import fit_task
from tests.unit.test_training import TASK, image_sets, recipe

DATA, SPLIT = TrainingData(source="folder", digest="d"), SplitFacts(scheme="patient", seed=0)
CARD = ModelFacts(data=DATA, split=SPLIT)


def teacher(folder: Path, bias: float = 0.0, data: TrainingData = DATA, split: SplitFacts = SPLIT) -> str:
    """A network that gives logits (bias, 0, 0) to every image."""
    options = {"width": 4, "stages": [1, 1], "embedding": 8}
    model = build("resnet", TASK.classes, image_sets()[0].pixels, options)
    head = [module for module in model.head.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.tensor([bias, 0.0, 0.0]))
    facts = ModelFacts(data=data, split=split)
    save_model(model, folder, Architecture(name="resnet", options=options), facts)
    return str(folder)


def test_soft_loss_against_its_formula() -> None:
    student, wanted = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[0.0, 1.0, 3.0]])
    for temperature in (1.0, 3.0):
        p = torch.softmax(wanted / temperature, 1).numpy()
        q = torch.softmax(student / temperature, 1).numpy()
        expected = temperature**2 * float((p * np.log(p / q)).sum())
        assert float(soft_loss(student, wanted, temperature)) == pytest.approx(expected, rel=1e-5)


def test_teachers_are_averaged_as_logits(tmp_path: Path) -> None:
    pixels = image_sets()[0].pixels
    places = [teacher(tmp_path / "a", 1.0), teacher(tmp_path / "b", 3.0)]
    found = load_teachers(places, TASK.classes, pixels, CARD)
    np.testing.assert_allclose(mean_logits(found, torch.zeros(1, 1, 32, 32), 3).numpy(), [[2.0, 0.0, 0.0]])


def test_a_student_of_two_classes_hears_teachers_of_three(tmp_path: Path) -> None:
    """P(abnormal) of a teacher of three classes is the sum over its kinds; the other way round is refused."""
    pixels = image_sets()[0].pixels
    places = [teacher(tmp_path / "a", 1.0), teacher(tmp_path / "b", 3.0)]
    found = load_teachers(places, ("normal", "pneumonia"), pixels, CARD)
    x = torch.zeros(1, 1, 32, 32)
    each = [one(x).softmax(1) for one in found]
    told = mean_logits(found[:1], x, 2).softmax(1)
    np.testing.assert_allclose(told[0, 1], each[0][0, 1:].sum(), rtol=1e-5)
    mean = mean_logits(found, x, 2)[0]
    wanted = np.mean([float(torch.logit(one[0, 0])) for one in each])
    assert float(mean[0] - mean[1]) == pytest.approx(wanted, rel=1e-5)
    with pytest.raises(RecipeError, match="has the classes normal, bacteria, virus"):
        load_teachers(places[:1], ("normal", "bacteria", "virus", "fungus"), pixels, CARD)


def test_a_teacher_that_may_know_the_validation_images_is_refused(tmp_path: Path) -> None:
    pixels = image_sets()[0].pixels
    other_split = teacher(tmp_path / "s", split=SplitFacts(scheme="image", seed=0))
    other_data = teacher(tmp_path / "d", data=TrainingData(source="folder", digest="e"))
    for place, what in ((other_split, "split"), (other_data, "data")):
        with pytest.raises(RecipeError, match=f"trained on another {what}"):
            load_teachers([place], TASK.classes, pixels, CARD)
    with pytest.raises(RecipeError, match="has the classes normal, bacteria, virus"):
        load_teachers([other_split], ["well", "unwell"], pixels, CARD)
    with pytest.raises(RecipeError, match="has the pixel contract"):
        load_teachers([other_split], TASK.classes, type(pixels)((40, 40)), CARD)


def test_a_student_of_a_stubborn_teacher_answers_as_the_teacher(tmp_path: Path) -> None:
    """Alpha 1: the labels count for nothing, and a teacher that always says the first class is copied."""
    train, val = image_sets()
    place = teacher(tmp_path / "teacher", 3.0)
    asked = recipe(epochs=4, distill={"teachers": [place], "alpha": 1.0}, monitor="val_first")

    def score(probabilities: np.ndarray, positions: np.ndarray) -> dict[str, float]:
        return {"first": float(probabilities[:, 0].mean())}

    model = fit_task(TaskFolder(tmp_path / "run"), asked, TASK, train, val, score, CARD)
    x = torch.from_numpy(val.pixels.normalize(val.cache.images[val.rows]))[:, None]
    assert (model(x).argmax(1) == 0).all()
    facts = TaskFolder(tmp_path / "run").card()
    assert facts.training is not None and len(facts.training.teachers) == 1
    assert facts.parameters == sum(p.numel() for p in model.parameters())
