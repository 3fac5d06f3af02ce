"""The guard from the stage to the answer: fitted, measured, shown, packed with the weights, refused with others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hilum.anomaly.ood_images import KINDS
from hilum.artifacts.card import Architecture, ModelFacts
from hilum.artifacts.reliability import Ood, Reliability
from hilum.data.cache import ImageCache
from hilum.data.images import Pixels
from hilum.data.tasks import task
from hilum.errors import ModelError
from hilum.evaluation.config import ReliabilityConfig
from hilum.evaluation.show import reliability_table
from hilum.files import read_arrays, write_arrays
from hilum.inference.forward import vectors_of
from hilum.inference.guard import FeatureGuard, layers_to_judge
from hilum.inference.guard_fit import GuardImages
from hilum.inference.predictor import Predictor
from hilum.inference.runtimes.torch import layer_names
from hilum.models import build, load_model, save_model
from hilum.recipe import load_recipe
from hilum.report.reliability.section import make
from hilum.run import Run
from hilum.stages.contract import Context
from hilum.stages.reliability import run as reliability_stage

from .made_run import LABELS, made_run

CONFIG = ReliabilityConfig(
    mc_passes=0, views=False, divisions=3, folds=2, alpha=0.4, ood_rate=0.1, ood_images=7
)


def with_model(folder: Path) -> Run:
    """A run of 36 images, twelve of them in val, with an untrained network."""
    run = made_run(folder)
    options = {"blocks": [[4], [8]], "dense": [6]}
    model = build("vgg", LABELS, Pixels(size=(32, 32)), options)
    place = run.task("multiclass")
    known = place.card().model_dump(include=set(ModelFacts.model_fields), exclude_unset=True, by_alias=True)
    facts = ModelFacts.model_validate(known)
    save_model(model.eval(), place.model_folder, Architecture(name="vgg", options=options), facts)
    for file in (place.metrics_file, place.curves_file, place.baseline_file):  # figures of these weights
        file.write_text(file.read_text().replace('"abc"', f'"{place.weights_digest}"'))
    return run


def judged(run: Run, config: ReliabilityConfig = CONFIG) -> Reliability:
    """What the stage writes."""
    recipe = load_recipe("quick").model_copy(update={"replicates": 20})
    this = task("multiclass", LABELS)
    reliability_stage(Context(run, run.cases(), recipe, (this,), this), config)
    folder = run.task("multiclass")
    return Reliability.load(folder.reliability_file, folder.card().weights_digest)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a guard; tests leave it as it is."""
    run = with_model(tmp_path_factory.mktemp("guard") / "run")
    judged(run)
    return run


def ood_of(run: Run) -> Ood:
    ood = Reliability.load(run.task("multiclass").reliability_file).ood
    assert ood is not None
    return ood


def test_the_stage_fits_on_train_ranks_among_val_and_measures_on_test(guarded: Run) -> None:
    folder, ood = guarded.task("multiclass"), ood_of(guarded)
    guard = FeatureGuard.load(folder.guard_file, folder.card().weights_digest)
    model, cases = folder.load_model(), guarded.cases()
    cache = ImageCache.of(cases, model.pixels)
    split = cases.table["split"].to_numpy()
    vectors = vectors_of(model, cache.images, guard.layers)[1]
    each = guard.joined(vectors)
    assert guard.layers == layers_to_judge(layer_names(model)) and each.shape == (36, len(guard.mean))
    own = guard.distances(each[split == "val"])
    assert len(guard.known) == 24, "twelve as they are, twelve in the look of another label"
    assert all(np.isclose(guard.known, value, rtol=1e-4).any() for value in own)
    val = folder.predictions().query("split == 'val'")["case_id"].tolist()
    images = GuardImages.of(cases, folder.predictions(), val, model.pixels, CONFIG.guard_other_look)
    assert len(images.train_other_look) == len(images.train) == 12
    look = guard.joined(vectors_of(model, images.train_other_look, guard.layers)[1])
    mean = np.concatenate([each[split == "train"], look]).mean(0)
    np.testing.assert_allclose(guard.mean, mean, rtol=1e-3, atol=1e-5)
    assert (ood.rate, ood.n, ood.reason, ood.altered_from) == (0.1, 12, None, "test")
    flagged = int(
        (guard.p_values({layer: rows[split == "test"] for layer, rows in vectors.items()}) <= 0.1).sum()
    )
    assert ood.test is not None and (ood.test.k, ood.test.n) == (flagged, 12)
    assert [share.kind for share in ood.altered] == list(KINDS)
    assert {share.n for share in ood.altered} == {7}
    assert all(
        share.low is not None and share.high is not None and share.low <= (share.value or 0) <= share.high
        for share in ood.altered
    )
    assert any((share.value or 0) > 0.5 for share in ood.altered)  # noise or a photograph, at least


def test_an_own_model_answers_with_the_guard_and_abstains(guarded: Run) -> None:
    """Through the file, in one pass: the same probabilities as without the guard."""
    folder = guarded.task("multiclass")
    val = guarded.cases().table.query("split == 'val'")["path"].tolist()
    predictor = replace(Predictor.load(folder.path, "cpu"), intake=None)
    answers = list(predictor.stream(val))
    guard = predictor.classifier.guard
    assert guard is not None and [answer.ood is not None for answer in answers] == [True] * 12
    p = [answer.ood.p_value for answer in answers if answer.ood]
    assert len(set(p)) > 6  # ranks among themselves
    assert min(p) >= 2 / 25 - 1e-5  # the farthest of val counts itself
    noise = np.random.default_rng(0).integers(0, 256, (60, 60)).astype(np.uint8)
    [foreign] = predictor.stream([noise])
    assert foreign.ood is not None and foreign.ood.flagged == (foreign.ood.p_value <= 0.1)
    assert foreign.ood.p_value == pytest.approx(1 / 25, abs=1e-5)
    assert foreign.prediction is None and "out of distribution (p = 0.040)" in str(foreign.reason)
    plain = Predictor(replace(predictor.classifier, guard=None))
    assert [answer.probabilities for answer in plain.stream(val)] == [
        answer.probabilities for answer in answers
    ]


def test_the_section_and_the_terminal_say_what_is_flagged(guarded: Run) -> None:
    section = make(guarded)
    assert section is not None
    table = section.values["parts"][0]["ood"]
    ood = ood_of(guarded)
    assert len(table.rows) == 1 + len(KINDS)
    assert table.rows[0][0] == "Test images as they are"
    assert [cell.small.split(";")[0] for _, cell in table.rows[1:]] == [share.counts for share in ood.altered]
    assert "of images like these it flags 10" in table.sentence.replace("\u00a0", " ")
    printed = reliability_table(guarded)
    assert "flagged as OOD, rate 0.1" in printed and "ranked among 12 validation images" in printed
    assert all(share.title in printed for share in ood.altered)


def test_too_few_validation_images_give_a_reason_and_no_guard(tmp_path: Path) -> None:
    run = with_model(tmp_path / "run")
    folder = run.task("multiclass")
    judged(run)
    assert folder.guard_file.exists()
    ood = judged(run, CONFIG.model_copy(update={"ood_rate": 0.03})).ood
    words = (
        "12 held-out images are too few to flag 3 % of images; hold out 33 or more, or allow a higher rate"
    )
    assert ood is not None and (ood.reason, ood.altered, ood.test) == (words, [], None)
    assert not folder.guard_file.exists()  # the old one went
    assert words in reliability_table(run)
    section = make(run)
    assert section is not None and "There is no guard" in section.values["parts"][0]["ood"].sentence
    [answer] = replace(Predictor.load(folder.path, "cpu"), intake=None).stream([run.cases().table["path"][0]])
    assert answer.ood is None
    assert judged(run, CONFIG.model_copy(update={"ood_rate": None})).ood is None


def test_a_guard_that_is_not_of_these_weights_is_refused(tmp_path: Path) -> None:
    run = with_model(tmp_path / "run")
    folder = run.task("multiclass")
    judged(run)
    whole = folder.guard_file.read_bytes()
    write_arrays(folder.guard_file, {**read_arrays(folder.guard_file), "weights_digest": np.array("other")})
    with pytest.raises(ModelError, match=r"guard\.npz was fitted on other weights than the model has"):
        Predictor.load(folder.path, "cpu")
    folder.guard_file.write_bytes(whole[:100])
    with pytest.raises(ModelError, match=r"guard\.npz is no guard .*; run: hilum reliability RUN --force"):
        Predictor.load(folder.path, "cpu")
    save_model(load_model(folder.path), folder.model_folder, folder.card().architecture)
    assert not folder.guard_file.exists()  # new weights never keep the guard of the old ones
    Predictor.load(folder.path, "cpu")


def test_the_guard_is_the_same_for_the_same_seed(guarded: Run) -> None:
    before = ood_of(guarded)
    assert judged(guarded).ood == before
