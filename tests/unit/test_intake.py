"""The intake check: pictures without a chest are refused or flagged, radiographs of the kind are not."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

import hilum
from hilum.data.cases import Cases
from hilum.data.decode import read_grey
from hilum.data.phantom.settings import PhantomSettings
from hilum.data.sources.phantom import phantom_image
from hilum.data.split import split_cases
from hilum.errors import DataError, ModelError
from hilum.files import read_arrays, write_arrays
from hilum.inference.intake import FILE, RATE, Intake
from hilum.inference.intake_features import CHANGES, PIXELS, patterns, statistics
from hilum.inference.intake_fit import intake_for
from hilum.inference.refusal import check_picture, in_colour, least_side
from hilum.run import Run
from hilum.serving.predictor import WEIGHTS
from tests import dicom_files

PACKAGED = WEIGHTS / "multiclass" / FILE


def prepared(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([PIXELS.prepare(image) for image in images])


def grid(side: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rows, cols = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side), indexing="ij")
    return rows, cols


def drawn(kind: str, seed: int) -> np.ndarray:
    """Pictures that have nothing in common with those of benchmarks/no_chest.py."""
    chance, (y, x) = np.random.default_rng(seed), grid()
    turn = chance.uniform(0, 6.28)
    waves = np.sin(chance.uniform(2, 30) * (x * np.cos(turn) + y * np.sin(turn)))
    pictures = {
        "noise": chance.integers(0, 256, (300, 300)),
        "ramp": 255 * (x * np.cos(turn) + y * np.sin(turn) + 1.5) / 3,
        "waves": 127 + 120 * waves,
        "rings": 127 + 120 * np.cos(chance.uniform(3, 20) * np.hypot(x, y)),
        "disc": 230.0 * (np.hypot(x - chance.uniform(-0.3, 0.3), y) < chance.uniform(0.2, 0.7)),
        "boxes": np.kron(chance.integers(0, 256, (6, 6)), np.ones((50, 50))),
        "lines": 240 - 200 * ((np.arange(300) % 20 < 9)[:, None] & (chance.random((300, 300)) < 0.5)),
    }
    return np.clip(pictures[kind], 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["noise", "ramp", "waves", "rings", "disc", "boxes", "lines"])
def test_the_packaged_check_flags_pictures_without_a_chest(kind: str) -> None:
    p, words = Intake.load(PACKAGED).judge(prepared([drawn(kind, seed) for seed in range(40)]))
    assert (p <= RATE).mean() >= 0.95 and len(words) == 40


def test_both_packaged_models_carry_the_same_small_check() -> None:
    files = [WEIGHTS / task / FILE for task in ("binary", "multiclass")]
    assert files[0].read_bytes() == files[1].read_bytes() and files[0].stat().st_size < 300_000
    intake = Intake.load(PACKAGED)
    assert (intake.side, intake.colour, intake.rate) == (224, False, RATE)
    assert len(intake.known) > 500


def test_real_radiographs_pass_and_changed_ones_do_not(real_data: Path) -> None:
    cases = hilum.open_source(real_data)
    split = split_cases(cases, "patient", seed=0, val_fraction=0.15).of
    val = cases.table["path"][(split.reindex(cases.table["case_id"]) == "val").to_numpy()].tolist()
    images = prepared([read_grey(path) for path in val[::4]])
    intake = Intake.load(PACKAGED)
    assert (intake.judge(images)[0] <= RATE).mean() <= 0.03
    chance, found = np.random.default_rng(0), {}
    for name, (words, change) in CHANGES.items():
        p, looks = intake.judge(np.ascontiguousarray(change(images, chance)))
        found[name] = float((p <= RATE).mean())
        assert np.mean([words in look for look in looks]) > 0.5, name
    assert {name: share for name, share in found.items() if share < 0.85} == {}


# -- fitting -------------------------------------------------------------------------------------------------


def phantoms(count: int, size: tuple[int, int] = (96, 112)) -> np.ndarray:
    settings = PhantomSettings(size=size)
    return prepared([phantom_image(settings, "normal", person, 0).image for person in range(count)])


@pytest.fixture(scope="module")
def some() -> np.ndarray:
    return phantoms(120)


def test_a_check_of_ones_own_images_keeps_its_rate_and_flags_the_rest(some: np.ndarray) -> None:
    intake = Intake.fit(some[:50], some[50:100], side=96)
    assert (intake.judge(some[50:100])[0] <= RATE).sum() <= 1
    assert (intake.judge(some[100:])[0] <= RATE).sum() <= 3
    for change in ("turned", "left", "inverted", "four"):
        changed = np.ascontiguousarray(CHANGES[change][1](some[100:], np.random.default_rng(0)))
        assert (intake.judge(changed)[0] <= RATE).mean() >= 0.9, change
    noise = prepared([drawn("noise", seed) for seed in range(10)])
    assert (intake.judge(noise)[0] <= RATE).all()


def test_a_set_too_small_to_hold_images_out_is_cross_fitted(some: np.ndarray) -> None:
    patients = np.repeat(np.arange(12), 2)
    intake = Intake.cross_fitted(some[:24], patients, side=96)
    assert len(intake.known) == 24 and intake.rate == pytest.approx(0.04)
    assert (intake.judge(some[24:])[0] <= intake.rate).mean() < 0.2
    pictures = prepared([drawn(kind, 1) for kind in ("noise", "ramp", "rings", "boxes", "lines")])
    assert (intake.judge(pictures)[0] <= intake.rate).all()
    with pytest.raises(DataError, match="19 images are too few to know what is unusual; bring 20 or more"):
        Intake.cross_fitted(some[:19], np.arange(19), side=96)


def test_other_seeds_of_the_same_images_and_a_file_give_the_same_check(
    some: np.ndarray, tmp_path: Path
) -> None:
    intake = Intake.fit(some[:50], some[50:100], side=96, colour=True)
    intake.save(tmp_path / FILE)
    again = Intake.load(tmp_path / FILE)
    assert (again.judge(some)[0] == intake.judge(some)[0]).all()
    assert (again.side, again.colour, again.rate) == (96, True, RATE)
    one_by_one = [float(intake.judge(some[number : number + 1])[0][0]) for number in range(5)]
    assert one_by_one == intake.judge(some[:5])[0].tolist()


def test_a_file_that_is_no_check_is_one_sentence(some: np.ndarray, tmp_path: Path) -> None:
    Intake.fit(some[:50], some[50:100], side=96).save(tmp_path / FILE)
    arrays = read_arrays(tmp_path / FILE)
    for changed, words in [
        ({"known": np.array([np.nan])}, "number 0 is nan"),
        ({"roots": arrays["roots"][:3]}, "its parts do not fit together"),
        ({"centre": arrays["centre"] * np.nan}, "it holds NaN or infinity"),
        ({"rate": np.array(1.5)}, "a rate of 1.5 is not between 0 and 1"),
    ]:
        write_arrays(tmp_path / FILE, {**arrays, **changed})
        with pytest.raises(ModelError, match=words):
            Intake.load(tmp_path / FILE)
    write_arrays(tmp_path / FILE, {name: arrays[name] for name in ("means", "rate", "side", "colour")})
    with pytest.raises(ModelError, match=r"is no intake check \(.*; run: hilum reliability RUN"):
        Intake.load(tmp_path / FILE)


def test_blank_images_do_not_break_the_description() -> None:
    blank = np.zeros((2, 64, 64), np.uint8)
    assert np.isfinite(statistics(blank)).all() and np.isfinite(patterns(blank)).all()
    [noise] = patterns(prepared([drawn("noise", 0)]))
    assert abs(float(noise.mean())) < 1e-5 and 0.8 < float(noise.std()) < 1


def test_a_run_whose_files_are_gone_says_so(phantom_data: Path) -> None:
    cases = hilum.open_source(phantom_data)
    table = cases.table.assign(path="gone.png", digest=[f"gone{n}" for n in range(len(cases))])
    split = split_cases(cases, "patient", seed=0, val_fraction=0.2).of
    with pytest.raises(DataError, match=r"files can't be read: gone\.png"):
        intake_for(Cases(table, "table", cases.root), split)


# -- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((300, 300), np.uint8), "holds no picture: 0 grey levels of 256"),
        (np.full((300, 300), 40_000, np.uint16), "holds no picture: 0 grey levels"),
        (np.full((300, 300), 0.5), "holds no picture: 0 grey levels"),
        (
            np.full((1, 1), 128, np.uint8),
            "has 1 x 1 pixels, too few to be judged; give one of at least 56 x 56",
        ),
        (np.tile(np.arange(256, dtype=np.uint8), (8, 1)), "has 8 x 256 pixels, too few"),
        (np.zeros((3, 4, 5), np.uint8), "is not grey rows x columns"),
    ],
)
def test_what_holds_no_picture_is_refused(image: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_picture(image, 56)


def test_faint_noise_is_no_contrast_and_a_faint_radiograph_is_some() -> None:
    faint = np.random.default_rng(0).normal(120, 4, (400, 400)).clip(0, 255).astype(np.uint8)
    with pytest.raises(DataError, match="holds no picture"):
        check_picture(faint)
    check_picture((100 + 0.2 * drawn("rings", 0)).astype(np.uint8))


def test_a_colour_file_is_seen_and_a_grey_one_with_three_channels_is_not(tmp_path: Path) -> None:
    grey = drawn("rings", 0)
    red = np.stack([0 * grey, 0 * grey, grey], -1)
    marker = np.stack([grey] * 3, -1)
    marker[5:25, 5:40] = (0, 0, 255)  # a coloured letter
    palette = cv2.applyColorMap(grey, cv2.COLORMAP_JET)
    for name, picture in {"grey": grey, "three": np.stack([grey] * 3, -1), "marker": marker}.items():
        cv2.imwrite(str(tmp_path / f"{name}.jpeg"), picture)
        assert not in_colour(tmp_path / f"{name}.jpeg"), name
    for name, picture in {"red": red, "palette": palette}.items():
        for kind in ("jpeg", "png"):
            cv2.imwrite(str(tmp_path / f"{name}.{kind}"), picture)
            assert in_colour(tmp_path / f"{name}.{kind}"), name
    (tmp_path / "text.png").write_text("no image")
    assert not in_colour(tmp_path / "text.png")


def in_ybr(picture: np.ndarray) -> np.ndarray:
    """Blue, green, red as luminance, blue and red."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb))[..., [0, 2, 1]]


@pytest.mark.parametrize("stored", ["RGB", "YBR_FULL", "YBR_FULL_422", "PALETTE COLOR", "JPEG"])
@pytest.mark.parametrize("coloured", [True, False])
def test_a_dicom_in_colour_is_seen_however_it_is_stored(stored: str, coloured: bool, tmp_path: Path) -> None:
    grey = drawn("rings", 0)
    picture = cv2.applyColorMap(grey, cv2.COLORMAP_JET) if coloured else np.stack([grey] * 3, -1)
    values, header = picture, {}
    if stored.startswith("YBR"):
        values = in_ybr(picture)
    if stored == "PALETTE COLOR":
        values = grey
        table = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_JET)[0] if coloured else None
        ramp = np.stack([np.arange(256)] * 3, -1) if table is None else table
        for place, name in enumerate(("Red", "Green", "Blue")):
            header[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
            header[f"{name}PaletteColorLookupTableData"] = ramp[:, place].astype(np.uint8).tobytes()
    photometric = "YBR_FULL_422" if stored == "JPEG" else stored
    dataset = dicom_files.dataset_of(values, 8, PhotometricInterpretation=photometric, **header)
    if stored == "YBR_FULL_422":
        dataset.PixelData = values[:, ::2][..., [0, 0, 1, 2]].tobytes()
    if stored == "JPEG":
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = encapsulate([cv2.imencode(".jpeg", picture)[1].tobytes()])
        dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert in_colour(tmp_path / "a.dcm") == coloured


def test_the_least_side_follows_the_model_and_its_training_images() -> None:
    assert [least_side((112, 112), 224), least_side((224, 224), 28), least_side((28, 28), 28)] == [56, 14, 14]
    assert [least_side((112, 112), None), least_side((2, 2), 1)] == [28, 1]


# -- predictions ---------------------------------------------------------------------------------------------


def test_the_packaged_models_answer_no_picture_without_a_chest(tmp_path: Path) -> None:
    pictures = {
        "black": np.zeros((500, 500), np.uint8),
        "dot": np.full((1, 1), 128, np.uint8),
        "small": drawn("rings", 0)[::40, ::40],
        **{kind: drawn(kind, 3) for kind in ("noise", "ramp", "rings", "boxes")},
    }
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), picture)
    cv2.imwrite(str(tmp_path / "jet.png"), cv2.applyColorMap(drawn("rings", 0), cv2.COLORMAP_JET))
    answers = {Path(str(answer.file)).stem: answer for answer in hilum.predict(tmp_path)}
    assert len(answers) == 8
    assert {answer.prediction for answer in answers.values()} == {None}
    assert [name for name, answer in answers.items() if answer.error] == ["black", "dot", "small"]
    assert "no picture" in str(answers["black"].error) and "too few" in str(answers["dot"].error)
    assert "The image is in colour" in str(answers["jet"].reason)
    assert str(answers["noise"].reason).startswith("The image is out of distribution (p = 0.00")


def test_an_own_model_has_a_check_of_its_own_images(small_run: Run, hilum: Callable, tmp_path: Path) -> None:
    model = small_run.path / "binary"
    assert (model / "model" / FILE).exists()
    for kind in ("noise", "boxes", "lines"):
        cv2.imwrite(str(tmp_path / f"{kind}.png"), drawn(kind, 0))
    answer = hilum("predict", tmp_path, "--model", model, "--format", "csv")
    assert answer.code == 0 and answer.out.count("out of distribution") == 3
