"""The phantom: what it claims about its images is checked on the images, and that no cheap cheat solves it."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hilum.data.phantom.anatomy import Anatomy
from hilum.data.phantom.settings import apportioned
from hilum.data.sources import phantom
from hilum.data.sources.phantom import (
    PhantomImage,
    PhantomSettings,
    draw,
    load,
    masks,
    phantom_image,
    plan,
    write,
)
from hilum.errors import DataError

TINY = PhantomSettings(patients=20, size=(64, 72))
SMALL = PhantomSettings(patients=200, size=(96, 112))


def _generated(seed: int, label: str, settings: PhantomSettings = SMALL) -> PhantomImage:
    return draw(np.random.default_rng(seed), label, settings=settings)


@pytest.fixture(scope="module")
def sample() -> tuple[pd.DataFrame, list[PhantomImage]]:
    """Some 320 images of 200 patients, with their plan."""
    rows = plan(SMALL)
    return rows, [phantom_image(SMALL, row.label, row.person, row.image) for row in rows.itertuples()]


def _auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """By counting pairs, whichever way round is larger."""
    beaten = scores[positive][:, None] > scores[~positive]
    area = float(beaten.mean())
    return max(area, 1 - area)


def _halves(picture: PhantomImage) -> tuple[np.ndarray, np.ndarray]:
    """The lung in the picture's left half, then the one in the right half, parted at the heart's middle."""
    left = np.arange(picture.lung.shape[1]) < np.nonzero(picture.heart)[1].mean()
    return picture.lung & left, picture.lung & ~left


# --- the plan ------------------------------------------------------------------------------------------


def test_the_built_in_set_has_the_public_sets_proportions() -> None:
    rows = plan()
    assert 950 < len(rows) < 1100
    for split, published in {"train": (1341, 2530, 1345), "test": (234, 242, 148)}.items():
        labels = rows["label"][rows["split"] == split]
        for label, count in zip(("normal", "bacteria", "virus"), published, strict=True):
            assert (labels == label).mean() == pytest.approx(count / sum(published), abs=0.015)


def test_no_patient_is_in_two_splits_and_none_has_two_diseases() -> None:
    patients = plan().groupby("patient")
    assert patients["split"].nunique().max() == 1
    assert patients["label"].nunique().max() == 1
    assert patients.size().value_counts().sort_index().index.tolist() == [1, 2, 3, 4]


def test_patient_numbers_tell_neither_label_nor_split() -> None:
    rows = plan().drop_duplicates("patient")
    numbers = rows["person"].to_numpy()
    assert _auroc(numbers, (rows["label"] != "normal").to_numpy()) < 0.6
    assert _auroc(numbers, (rows["split"] == "test").to_numpy()) < 0.6


def test_shares_become_whole_numbers_that_add_up() -> None:
    assert apportioned(10, (1, 1, 1)) == [4, 3, 3]
    assert apportioned(7, (0.6, 0.25, 0.1, 0.05)) == [4, 2, 1, 0]


# --- one image ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["normal", "bacteria", "virus"])
def test_the_same_generator_state_gives_the_same_image(label: str) -> None:
    picture, same, other = _generated(3, label), _generated(3, label), _generated(4, label)
    for name in ("image", *phantom.MASKS):
        assert np.array_equal(getattr(picture, name), getattr(same, name))
    assert not np.array_equal(picture.image, other.image)
    assert picture.image.dtype == np.uint8
    assert {getattr(picture, name).dtype for name in phantom.MASKS} == {np.dtype(bool)}
    assert {getattr(picture, name).shape for name in ("image", *phantom.MASKS)} == {(96, 112)}


def test_lesions_lie_in_the_lungs_of_the_abnormal_alone(
    sample: tuple[pd.DataFrame, list[PhantomImage]],
) -> None:
    rows, images = sample
    for label, picture in zip(rows["label"], images, strict=True):
        assert picture.lesion.any() == (label != "normal")
        assert not (picture.lesion & ~picture.lung).any()
        assert not (picture.lung & picture.heart).any()
        assert 0.1 < picture.lung.mean() < 0.5


@pytest.mark.parametrize("label", ["bacteria", "virus"])
def test_abnormal_and_healthy_twins_differ_in_the_lesion_alone(label: str) -> None:
    brighter = []
    for seed in range(12):
        healthy, abnormal = (_generated(seed, kind, PhantomSettings()) for kind in ("normal", label))
        change = abnormal.image.astype(int) - healthy.image
        near = (
            cv2.dilate(abnormal.lung.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
        )  # blurs reach so far
        assert not change[~near].any()
        brighter.append(change[abnormal.lesion].mean())
        assert change[abnormal.lung & ~abnormal.lesion].mean() < brighter[-1] / 3
        for name in ("lung", "heart", "ribs", "marker"):
            assert np.array_equal(getattr(healthy, name), getattr(abnormal, name))
    assert min(brighter) > 5
    assert np.mean(brighter) > 15


def test_a_virus_takes_both_lungs_and_bacteria_mostly_one(
    sample: tuple[pd.DataFrame, list[PhantomImage]],
) -> None:
    rows, images = sample
    taken = np.array(
        [[(picture.lesion & half).sum() / half.sum() for half in _halves(picture)] for picture in images]
    )
    virus, bacteria = taken[rows["label"] == "virus"], taken[rows["label"] == "bacteria"]
    assert (virus.min(axis=1) > 0.1).all()
    assert (bacteria.max(axis=1) > 0.05).all()
    assert 0.75 < (bacteria.min(axis=1) < 0.02).mean() < 1.0
    assert 0.3 < (bacteria[:, 0] > bacteria[:, 1]).mean() < 0.7


def test_the_heart_lies_on_the_pictures_right(sample: tuple[pd.DataFrame, list[PhantomImage]]) -> None:
    shifts = []
    for picture in sample[1]:
        cage = np.nonzero(picture.ribs)[1]
        shifts.append((np.nonzero(picture.heart)[1].mean() - cage.mean()) / np.ptp(cage))
        assert all(half.any() for half in _halves(picture))
    assert np.quantile(shifts, 0.02) > 0  # a collimator that cuts ribs off moves the cage's middle
    assert np.mean(shifts) > 0.05


def test_the_letter_names_the_side() -> None:
    """An R has a hole, an L has none; R marks the patient's right, which is the picture's left."""
    sides = set()
    for seed in range(12):
        marker = _generated(seed, "normal", PhantomSettings(size=(448, 512))).marker
        _, tree = cv2.findContours(marker.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        has_hole = bool((tree[0, :, 3] >= 0).any())
        rows, cols = np.nonzero(marker)
        assert has_hole == (cols.mean() < 512 / 2)
        sides.add((has_hole, bool(rows.mean() < 448 / 2)))
    assert len(sides) == 4


def test_images_of_one_patient_share_anatomy_and_disease() -> None:
    same, others = [], []
    for person in range(1, 17):
        shares = []
        for image in (1, 2):
            picture = phantom_image(SMALL, "bacteria", person, image)
            shares.append([(picture.lesion & half).sum() / half.sum() for half in _halves(picture)])
        same.append(np.argmax(shares[0]) == np.argmax(shares[1]))
        others.append(np.argmax(shares[0]))
    assert np.mean(same) > 0.9
    assert 0 < np.mean(others) < 1


def test_each_part_of_the_anatomy_shows() -> None:
    usual = Anatomy(1, 1.0, 2.2, 0.55, 0.1, 0.2, 0.0, 0.0, 0.9, 0.12, 1.0)
    first = draw(np.random.default_rng(0), "normal", usual, SMALL).image
    for name, value in {
        "seed": 2,
        "tall": 1.1,
        "barrel": 2.6,
        "heart": 0.64,
        "atrium": 0.16,
        "upper": 0.23,
        "thymus": 0.1,
        "vessels": 0.5,
        "fat": 0.2,
        "bone": 0.7,
    }.items():
        changed = Anatomy(**{**vars(usual), name: value})
        assert not np.array_equal(draw(np.random.default_rng(0), "normal", changed, SMALL).image, first), name
    wide = Anatomy(**{**vars(usual), "thymus": 0.1})
    sail = Anatomy(**{**vars(wide), "sail": 0.8})
    images = [draw(np.random.default_rng(0), "normal", child, SMALL).image for child in (wide, sail)]
    assert not np.array_equal(*images)


def test_an_unknown_label_names_the_nearest() -> None:
    with pytest.raises(DataError, match="a phantom can't be 'viral'; did you mean 'virus'"):
        draw(np.random.default_rng(0), "viral", settings=TINY)


# --- it is not trivial ---------------------------------------------------------------------------------


def test_no_single_number_tells_abnormal_from_healthy(
    sample: tuple[pd.DataFrame, list[PhantomImage]],
) -> None:
    rows, images = sample
    abnormal = (rows["label"] != "normal").to_numpy()
    pictures = [picture.image.astype(np.float32) for picture in images]
    numbers = {
        "mean": [picture.mean() for picture in pictures],
        "contrast": [picture.std() for picture in pictures],
        "sharpness": [np.abs(cv2.Laplacian(picture, cv2.CV_32F)).mean() for picture in pictures],
        "across": [np.abs(np.diff(p, axis=1)).mean() / np.abs(np.diff(p, axis=0)).mean() for p in pictures],
        "bytes": [len(cv2.imencode(".png", picture.image)[1]) for picture in images],
        "corner": [picture.image[:20, :20].max() for picture in images],
    }
    for name, values in numbers.items():
        assert _auroc(np.array(values, float), abnormal) < 0.70, name
    assert np.std(numbers["mean"]) > 10


def test_a_linear_model_on_pixels_learns_something_but_stays_under_85_percent(
    sample: tuple[pd.DataFrame, list[PhantomImage]],
) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, images = sample
    small = np.stack(
        [cv2.resize(picture.image, (32, 32), interpolation=cv2.INTER_AREA) for picture in images]
    )
    values, labels = small.reshape(len(images), -1), rows["label"].to_numpy()
    train = (rows["split"] == "train").to_numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    accuracy = model.fit(values[train], labels[train]).score(values[~train], labels[~train])
    assert 0.45 < accuracy < 0.85


@pytest.mark.slow
def test_a_small_cnn_tells_more_than_95_percent_of_abnormal_from_healthy() -> None:
    """Five convolutions at 64 px, 20 epochs on the built-in training images, judged on the test images."""
    import torch
    from torch import nn

    rows = plan()
    images = [
        phantom_image(PhantomSettings(), row.label, row.person, row.image).image for row in rows.itertuples()
    ]
    small = np.stack([cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA) for picture in images])
    values = torch.from_numpy((small[:, None].astype(np.float32) - 111) / 65)
    labels = torch.tensor([phantom.LABELS.index(label) for label in rows["label"]])
    train = torch.tensor((rows["split"] == "train").tolist())
    inputs, targets, epochs, batch = values[train], labels[train], 20, 32

    chance = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blocks: list[nn.Module] = []
        for before, after in ((1, 16), (16, 32), (32, 64), (64, 96), (96, 128)):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
            blocks += [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        net = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 3))
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    steps = epochs * -(-len(inputs) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
    for _ in range(epochs):
        for chosen in torch.randperm(len(inputs), generator=chance).split(batch):
            shift = torch.randint(-3, 4, (2,), generator=chance).tolist()
            shifted = torch.roll(inputs[chosen], shift, (2, 3))
            loss = nn.functional.cross_entropy(net(shifted), targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        found = net.eval()(values[~train]).argmax(1)
    truth = labels[~train]
    assert ((found > 0) == (truth > 0)).float().mean() > 0.95
    assert (found == truth).float().mean() > 0.90


# --- the planted shortcut ------------------------------------------------------------------------------


def test_the_shortcut_is_off_by_default(sample: tuple[pd.DataFrame, list[PhantomImage]]) -> None:
    assert not any(picture.shortcut.any() for picture in sample[1])


@pytest.mark.parametrize(("strength", "low", "high"), [(1.0, 24, 24), (0.5, 6, 18), (0.0, 0, 0)])
def test_the_shortcut_marks_its_share_of_the_abnormal_and_nothing_else(
    strength: float, low: int, high: int
) -> None:
    planted = PhantomSettings(size=TINY.size, shortcut="marker", shortcut_strength=strength)
    found = 0
    for seed in range(24):
        plain, marked = (_generated(seed, "virus", settings) for settings in (TINY, planted))
        near = cv2.dilate(marked.shortcut.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # its soft rim
        assert np.array_equal(plain.image[~near], marked.image[~near])
        assert not (marked.shortcut & marked.marker).any()
        assert (marked.image[marked.shortcut] > 60).all()
        found += bool(marked.shortcut.any())
        assert not _generated(seed, "normal", planted).shortcut.any()
    assert low <= found <= high


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"patients": 3}, "a phantom of 3 patients is too small; use 20 or more"),
        ({"size": (8, 224)}, r"phantom images of \(8, 224\) can't be generated; use sides of 64 to 2048 px"),
        ({"seed": -1}, "phantom seed -1 is negative; use 0 or more"),
        ({"shortcut": "maker"}, "phantom shortcut 'maker' is not known; did you mean 'marker'?"),
        ({"shortcut_strength": 2}, "phantom shortcut_strength 2 is not a share; use 0 to 1"),
    ],
)
def test_wrong_settings_are_named(values: dict, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        PhantomSettings(**values)


# --- on disk -------------------------------------------------------------------------------------------


def test_a_written_image_is_the_generated_image(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", TINY)
    assert sorted(path.name for path in folder.iterdir()) == ["cases.csv", "images", "masks", "phantom.json"]
    rows = plan(TINY)
    assert len(list((folder / "images").iterdir())) == len(list((folder / "masks").iterdir())) == len(rows)
    for row in rows.iloc[[0, len(rows) // 2, -1]].itertuples():
        generated = phantom_image(TINY, row.label, row.person, row.image)
        stored = cv2.imread(str(folder / "images" / f"{row.case_id}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(stored, generated.image)
        stored_masks = masks(folder, row.case_id)
        assert tuple(stored_masks) == ("lesion", "lung", "heart", "ribs", "marker", "shortcut")
        assert all(np.array_equal(mask, getattr(generated, name)) for name, mask in stored_masks.items())
    assert not list(tmp_path.glob(".*"))


def test_another_seed_gives_other_images(tmp_path: Path) -> None:
    first, second = TINY, PhantomSettings(TINY.patients, TINY.size, seed=1)
    assert not np.array_equal(
        phantom_image(first, "normal", 1, 1).image, phantom_image(second, "normal", 1, 1).image
    )


def test_the_cases_of_a_written_folder(phantom_data: Path) -> None:
    cases = load(phantom_data)
    table = cases.table
    assert cases.source == "phantom"
    assert "synthetic, not taken from people" in cases.notes[0]
    assert set(table["label"]) == {"normal", "bacteria", "virus"}
    assert set(table["split"]) == {"train", "test"}
    assert table["patient"].nunique() == 60 < len(table)
    for row in table.itertuples():
        assert masks(phantom_data, row.case_id)["lesion"].any() == (row.label != "normal")


def test_the_word_phantom_writes_into_the_cache_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path))
    monkeypatch.setattr(phantom, "BUILT_IN", TINY)
    assert phantom.accepts("phantom")
    cases = load("phantom")
    assert len(cases) == len(plan(TINY))
    assert cases.root.parent == tmp_path
    monkeypatch.setattr(phantom, "phantom_image", None)  # would fail when called again
    assert load("phantom").digest == cases.digest


def test_a_complete_folder_is_kept_and_a_damaged_one_is_written_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = write(tmp_path / "set", TINY)
    before = load(folder).digest
    with monkeypatch.context() as patch:
        patch.setattr(phantom, "draw", None)
        assert write(folder, TINY) == folder
    next((folder / "images").iterdir()).unlink()
    next((folder / "masks").iterdir()).unlink()
    write(folder, TINY)
    assert load(folder).digest == before


def test_what_lies_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="mine is not empty and is not a phantom; choose another folder"):
        write(tmp_path / "mine", TINY)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"

    (tmp_path / "file").write_text("a file")
    with pytest.raises(DataError, match="file is not a folder; choose another name"):
        write(tmp_path / "file", TINY)
    assert (tmp_path / "file").read_text() == "a file"

    folder = write(tmp_path / "set", TINY)
    with pytest.raises(
        DataError, match="set holds a phantom of other settings; choose another folder or delete it"
    ):
        write(folder, PhantomSettings(TINY.patients, TINY.size, seed=7))


def test_a_full_disk_leaves_nothing_half_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(DataError, match=r"set can't be written \(No space left on device\)"):
        write(tmp_path / "set", TINY)
    assert list(tmp_path.iterdir()) == []


def test_masks_that_are_not_there(phantom_data: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "half.npz").write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(DataError, match=r"half.npz holds no masks"):
        masks(tmp_path, "half")
    with pytest.raises(
        DataError, match=r"masks/nobody.npz holds no masks .*; name a case of a phantom folder"
    ):
        masks(phantom_data, "nobody")
