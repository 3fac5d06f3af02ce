"""The predictor: order, errors in their places, bounded memory, arrays like files, batches like singles."""

import gc
import importlib
import json
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import hilum
from hilum.data.images import Pixels
from hilum.errors import DataError, HilumError, ModelError, RecipeError
from hilum.files import read_json, write_json
from hilum.inference import stream
from hilum.inference.intake import FILE, Intake
from hilum.inference.memory import memory_in_words
from hilum.inference.prediction import Prediction
from hilum.inference.predictor import BATCH, Classifier, Guard, Predictor
from hilum.inference.runtimes.torch import choose_device
from hilum.models import ChestModel
from hilum.run import Run
from hilum.serving.predictor import WEIGHTS

PIXELS = Pixels(size=(32, 40))
CLASSES = ("normal", "bacteria", "virus")
KEYS = [
    *("file", "prediction", "abstained", "reason", "abnormal", "probabilities", "findings"),
    *("prediction_set", "coverage", "ood", "attribution", "error", "model"),
]
SCHEMA = Path(__file__).parents[2] / "docs" / "prediction.schema.json"


def predictor(guard: Guard | None = None) -> Predictor:
    """A network set by hand: its logits are the mean brightness of three parts of the image, so its answers
    differ from image to image."""
    torch.manual_seed(0)
    parts = nn.Sequential(nn.AdaptiveAvgPool2d((1, 3)), nn.Flatten(), nn.Linear(3, 3, bias=False))
    model = ChestModel(CLASSES, PIXELS, nn.Sequential(nn.Identity()), nn.Identity(), parts, nn.Identity())
    return Predictor(Classifier.of(model.eval(), "cpu"), guard=guard)


def noise(count: int, size: tuple[int, int] = (50, 60)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        np.clip(rng.normal(rng.uniform(40, 200), 30, size), 0, 255).astype(np.uint8) for _ in range(count)
    ]


def written(folder: Path, images: list[np.ndarray]) -> list[Path]:
    paths = [folder / f"{number:03d}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        assert cv2.imwrite(str(path), image)
    return paths


def test_files_arrays_singles_and_batches_agree(tmp_path: Path) -> None:
    images = noise(BATCH + 5)
    paths = written(tmp_path, images)
    one = predictor()
    from_files, from_arrays = list(one.stream(paths)), list(one.stream(images))
    singles = [prediction for image in images for prediction in one.stream([image])]
    assert [prediction.file for prediction in from_files] == [str(path) for path in paths]
    assert {prediction.file for prediction in from_arrays} == {None}
    table = [
        [[*p.probabilities.values()] for p in some if p.probabilities]
        for some in (from_files, from_arrays, singles)
    ]
    assert np.shape(table) == (3, BATCH + 5, 3)
    np.testing.assert_allclose(table[1], table[0], atol=2e-6)
    np.testing.assert_allclose(table[2], table[0], atol=2e-6)
    assert np.ptp(table[0], axis=0).max() > 0.01  # the images are told apart, so order is really tested


def decoded_by(monkeypatch: pytest.MonkeyPatch, grey: Callable[[str], np.ndarray]) -> None:
    """Files need not be there: `grey` makes the image of a path."""
    monkeypatch.setattr(stream, "read_bytes", lambda path: b"")
    monkeypatch.setattr(stream, "check_frontal", lambda path: None)
    monkeypatch.setattr(stream, "is_coloured", lambda data, path: False)
    monkeypatch.setattr(stream, "decode", lambda data, path: grey(path))


def test_results_come_in_order_though_early_images_take_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    late = threading.Event()
    images = {f"{number}.png": image for number, image in enumerate(noise(3 * stream.WINDOW))}

    def slow(path: str) -> np.ndarray:
        if path == "0.png":
            assert late.wait(20)
        if path == "2.png":
            late.set()
        return images[path]

    decoded_by(monkeypatch, slow)
    assert [prediction.file for prediction in predictor().stream(images)] == list(images)


def test_one_bad_image_among_many_leaves_the_others_their_places(tmp_path: Path) -> None:
    paths = written(tmp_path, noise(7))
    plain = list(predictor().stream(paths))
    paths[3].write_text("no image")
    mixed = list(predictor().stream(paths))
    assert [prediction.error is None for prediction in mixed] == [True] * 3 + [False] + [True] * 3
    assert mixed[:3] == plain[:3] and mixed[4:] == plain[4:]
    bad = mixed[3]
    assert bad.file == str(paths[3]) and "is no readable image (not an image" in str(bad.error)
    empty = {key for key, value in bad.model_dump().items() if value is None}
    assert empty == set(KEYS) - {"file", "abstained", "error", "model"} and not bad.abstained


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 3), np.uint8), "not grey rows x columns"),
        (np.zeros((4, 4), np.int32), "pixels of type int32"),
        (np.full((4, 4), np.nan), "scale them to 0..1"),
        ("no.png", "no.png is no readable image (no such file or directory)"),
        (Path("no.dcm"), "no.dcm is no readable image (no such file or directory)"),
    ],
)
def test_an_image_of_no_use_says_why(image: stream.Image, words: str) -> None:
    good = noise(1)[0]
    first, bad, last = predictor().stream([good, image, good])
    assert words in str(bad.error) and first == last and first.error is None


class Counted:
    """Counts full-size images that are alive at once, by weak references to the arrays themselves."""

    def __init__(self) -> None:
        self.alive: set[int] = set()
        self.most, self.made = 0, 0
        self.lock = threading.Lock()

    def image(self, *_: object) -> np.ndarray:
        image = np.full((300, 400), self.made % 200, np.uint8)
        image[:, 200:] += 50  # an image without contrast would be refused
        with self.lock:
            self.made += 1
            number = self.made
            self.alive.add(number)
            self.most = max(self.most, len(self.alive))
        weakref.finalize(image, self.alive.discard, number)
        return image


@pytest.mark.parametrize("count", [200, 400])
def test_full_size_files_are_alive_only_while_they_are_decoded(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted()
    decoded_by(monkeypatch, counted.image)
    answers = sum(1 for _ in predictor().stream(f"{number}.png" for number in range(count)))
    assert answers == counted.made == count
    assert counted.most <= stream.WORKERS + 1


@pytest.mark.parametrize("count", [200, 400])
def test_arrays_of_a_generator_are_alive_only_within_the_window(count: int) -> None:
    counted = Counted()

    def images() -> Iterator[np.ndarray]:
        for _ in range(count):
            yield counted.image()

    assert sum(1 for _ in predictor().stream(images())) == counted.made == count
    assert counted.most <= stream.WINDOW + stream.WORKERS + 1


def test_a_stream_that_is_left_early_reads_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted()
    decoded_by(monkeypatch, counted.image)
    answers = predictor().stream(f"{number}.png" for number in range(10_000))
    assert counted.made == 0  # nothing is read before the first answer is asked for
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    gc.collect()
    assert counted.made <= BATCH + stream.WINDOW
    assert not torch.is_inference_mode_enabled()


def test_the_guard_flags_and_the_predictor_abstains() -> None:
    guard = Guard(Pixels(size=(8, 8)), lambda batch: np.where(batch.mean((1, 2)) > 0, 0.01, 0.7), 0.03)
    dark, bright = (np.tile(np.arange(first, first + 40, 2, dtype=np.uint8), (20, 1)) for first in (0, 210))
    known, flagged = predictor(guard).stream([dark, bright])
    assert known.ood is not None and (known.ood.p_value, known.ood.flagged) == (0.7, False)
    assert known.prediction in CLASSES and known.reason is None
    assert flagged.ood is not None and flagged.ood.flagged and flagged.abstained
    assert flagged.prediction is None and "out of distribution (p = 0.010)" in str(flagged.reason)
    assert flagged.probabilities and sum(flagged.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_packaged_and_own_models_give_the_same_keys(small_run: Run) -> None:
    image = small_run.cases().table["path"][0]
    answers = {
        name: hilum.predict(image, model)[0].model_dump(mode="json")
        for name, model in {
            "packaged": None,
            "binary": small_run.path / "binary",
            "multiclass": small_run.path / "multiclass",
        }.items()
    }
    for name, answer in answers.items():
        assert list(answer) == KEYS, name
        assert list(answer["abnormal"]) == ["probability", "threshold", "positive"], name
        assert list(answer["model"]) == ["name", "digest"] and len(answer["model"]["digest"]) == 32
        assert answer["abstained"] == (answer["prediction"] is None) == (answer["reason"] is not None)
        Prediction.model_validate(answer)
    assert list(answers["packaged"]["ood"]) == ["p_value", "flagged"]
    assert {*answers["binary"]["ood"]} == {*answers["multiclass"]["ood"]} == {"p_value", "flagged"}
    assert answers["packaged"]["model"]["name"] == "packaged"
    assert answers["binary"]["model"]["name"] == "binary/vgg"


def test_an_own_model_predicts_what_evaluation_has_written(small_run: Run) -> None:
    cases = small_run.cases().table.head(12)
    known = small_run.task("multiclass").predictions().set_index("case_id").loc[cases["case_id"]]
    predictions = hilum.predict(cases["path"].tolist(), small_run.path / "multiclass")
    classifier = Predictor.load(small_run.path / "multiclass").classifier
    decisions = classifier.rules.decide(
        known[[f"logit_{name}" for name in classifier.rules.classes]].to_numpy()
    )
    assert decisions.predicted == known["predicted"].tolist()
    assert decisions.sets == [p.prediction_set for p in predictions]
    flagged = [p.ood is not None and p.ood.flagged for p in predictions]
    assert [
        bool(reason) or is_flagged
        for reason, is_flagged in zip(decisions.uninformative, flagged, strict=True)
    ] == [p.abstained for p in predictions]
    stated = [[*(p.probabilities or {}).values()] for p in predictions]
    np.testing.assert_allclose(stated, decisions.probabilities, atol=1e-3)


def test_a_card_without_reliability_gives_plain_probabilities_and_a_class(
    small_run: Run, tmp_path: Path
) -> None:
    folder = small_run.task("binary").model_folder
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    card = read_json(folder / "model.json")
    plain = {key: value for key, value in card.items() if key not in ("calibration", "conformal")}
    write_json(model / "model.json", plain)
    cases = small_run.cases().table.head(8)
    known = small_run.task("binary").predictions().set_index("case_id").loc[cases["case_id"]]
    predictions = hilum.predict(cases["path"].tolist(), model)
    assert [p.prediction for p in predictions] == known["predicted"].tolist()
    assert {(p.abstained, p.prediction_set is None, p.coverage) for p in predictions} == {(False, True, None)}
    stated = [p.abnormal.probability for p in predictions if p.abnormal]
    assert stated == pytest.approx(known["prob_pneumonia"].tolist(), abs=1e-3)
    assert {p.abnormal.threshold for p in predictions if p.abnormal} == {round(card["threshold"]["value"], 6)}
    write_json(model / "model.json", {**card, "conformal": {**card["conformal"], "weights_digest": "other"}})
    with pytest.raises(
        ModelError, match="the card's conformal was made for other weights; run: hilum evaluate"
    ):
        hilum.predict(cases["path"].tolist(), model)


def test_folders_arrays_and_single_images_in_python(tmp_path: Path, small_run: Run) -> None:
    written(tmp_path, noise(3))
    (tmp_path / "below").mkdir()
    written(tmp_path / "below", noise(1))
    (tmp_path / "._000.png").write_text("an archive of a Mac leaves these")
    model = small_run.path / "binary"
    folder = hilum.predict(tmp_path, model)
    assert [Path(str(p.file)).relative_to(tmp_path).as_posix() for p in folder] == [
        *("000.png", "001.png", "002.png", "below/000.png")
    ]
    stack = hilum.predict(np.stack(noise(3)), model)
    assert [p.probabilities for p in stack] == [p.probabilities for p in folder[:3]]
    assert hilum.predict(noise(1)[0], model) == stack[:1]
    assert hilum.predict([], model) == []
    with pytest.raises(DataError, match=r"image .*no\.png does not exist; check the path"):
        hilum.predict([tmp_path / "000.png", tmp_path / "no.png"], model)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images; name image files or another folder"):
        hilum.predict(tmp_path / "empty", model)


def test_a_device_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(
        ModelError, match="device 'cuda' was asked for, but it is not there; use --device auto"
    ):
        choose_device("cuda")
    with pytest.raises(RecipeError, match="device 'gpu' is not known; use auto, cpu, cuda or cuda:0"):
        choose_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert (choose_device("auto"), choose_device("cuda:0")) == ("cuda", "cuda:0")
    with pytest.raises(ModelError, match="device 'cuda:1' was asked for"):
        choose_device("cuda:1")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_memory_that_runs_out_is_one_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    one = predictor()

    def full(_batch: np.ndarray) -> np.ndarray:
        raise error

    monkeypatch.setattr(one.classifier.runtime, "logits", full)
    with pytest.raises(HilumError, match="memory ran out while predicting a batch of 2 images; close other"):
        list(one.stream(noise(2)))
    with pytest.raises(RuntimeError, match="shape"), memory_in_words("nothing"):
        raise RuntimeError("a shape does not fit")


def test_an_image_too_large_for_the_memory_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str) -> np.ndarray:
        if path == "large.png":
            raise MemoryError
        return noise(1)[0]

    decoded_by(monkeypatch, full)
    large, small = predictor().stream(["large.png", "small.png"])
    assert large.error == "there is not enough memory to decode this image" and small.error is None


def test_a_network_that_gives_nan_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    one = predictor()
    monkeypatch.setattr(one.classifier.runtime, "logits", lambda batch: np.full((len(batch), 3), np.nan))
    with pytest.raises(ModelError, match="model ChestModel gives NaN or infinity; train it again"):
        list(one.stream(noise(1)))


def test_the_published_schema_is_that_of_the_code() -> None:
    schema = Prediction.model_json_schema()
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == schema
    assert list(schema["properties"]) == schema["required"] == KEYS
    assert schema["additionalProperties"] is False


def test_public_names_load_and_study_can_be_called() -> None:
    assert len(hilum.__all__) > 15
    for name in set(hilum.__all__) - {"__version__"}:
        assert callable(getattr(hilum, name)), f"hilum.{name} is a module of that name, or nothing"
    assert hilum.study is importlib.import_module("hilum.runner").study


def test_an_error_of_a_decoder_that_nobody_has_met_stays_with_its_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(path: str) -> np.ndarray:
        if path == "odd.png":
            raise KeyError("tag")
        return noise(1)[0]

    decoded_by(monkeypatch, broken)
    odd, good = predictor().stream(["odd.png", "good.png"])
    assert odd.error == "the image can't be read (KeyError: 'tag')" and good.error is None


def test_rates_of_intake_and_guard_add_up() -> None:
    class Fixed(Intake):
        def judge(self, images: np.ndarray) -> tuple[np.ndarray, list[str]]:
            return np.array([0.5, 0.02, 0.03]), ["it looks like a hat"] * 3

    guard = Guard(Pixels(size=(8, 8)), lambda batch: np.array([0.03, 0.9, 0.04]), 0.03)
    known = Intake.load(WEIGHTS / "multiclass" / FILE)
    one = replace(predictor(guard), intake=Fixed(**{**vars(known), "side": 20}))
    by_guard, by_intake, by_none = one.stream(noise(3))
    assert [p.ood and (p.ood.p_value, p.ood.flagged) for p in (by_guard, by_intake, by_none)] == [
        (0.05, True),
        (0.05, True),
        (0.066667, False),
    ]
    assert str(by_intake.reason) == "The image is out of distribution (p = 0.050): it looks like a hat."
    assert "unlike the images that the model was trained on" in str(by_guard.reason)
