"""The audit finds what was planted, and nothing where nothing was."""

import io
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from hilum.artifacts.audit import (
    Audit,
    Count,
    DuplicateGroup,
    JointShortcut,
    PatientAcross,
    PatientsAcross,
    Quantiles,
    ShortcutImages,
    SizeCount,
)
from hilum.data import audit as audit_module
from hilum.data import decode
from hilum.data.audit import audit
from hilum.data.cases import Cases
from hilum.data.duplicates import MAX_BITS, MIN_CORRELATION, near_pairs, registered_correlation
from hilum.data.facts import facts_table, gather, measure, perceptual_hash
from hilum.data.findings import findings
from hilum.data.shortcuts import auroc_interval, joint, questions, single
from hilum.data.show import audit_tables
from hilum.files import digest_of_file


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "cache"))


def radiograph(seed: int, rows: int = 96, cols: int = 112) -> np.ndarray:
    """What all images share, a bright middle between two dark fields, and fine structure of its own."""
    generator = np.random.default_rng(seed)
    u, v = np.meshgrid(np.linspace(-1, 1, cols), np.linspace(-1, 1, rows))
    shared = 140 - 70 * np.exp(-((np.abs(u) - 0.5) ** 2 / 0.08 + v**2 / 0.5))
    own = sum(
        weight * cv2.GaussianBlur(generator.standard_normal((rows, cols)), (0, 0), sigma) * sigma
        for sigma, weight in ((2.5, 22), (6, 30))
    )
    return np.clip(shared + own, 0, 255).astype(np.uint8)


def cases_of(folder: Path, rows: list[dict[str, str]]) -> Cases:
    """`rows` name a file in the folder; what they don't say is: normal, a patient of its own, train."""
    full = [
        {
            "case_id": Path(row["file"]).stem,
            "path": str(folder / row["file"]),
            "label": "normal",
            "patient": Path(row["file"]).stem,
            "split": "train",
            "digest": digest_of_file(folder / row["file"]),
        }
        | {key: value for key, value in row.items() if key != "file"}
        for row in rows
    ]
    return Cases.checked(pd.DataFrame(full), "test", folder)


def mixed_set(
    folder: Path, per_label: int = 12, labels: tuple[str, ...] = ("normal", "bacteria", "virus")
) -> Cases:
    """Images whose label has nothing to do with the picture; the last quarter is test."""
    rows = []
    for number in range(per_label * len(labels)):
        name = f"image{number:03d}.png"
        cv2.imwrite(str(folder / name), radiograph(number, 48, 56))
        split = "test" if number >= 0.75 * per_label * len(labels) else "train"
        rows.append({"file": name, "label": labels[number % len(labels)], "split": split})
    return cases_of(folder, rows)


# -- facts ---------------------------------------------------------------------------------------------------


def test_facts_of_a_hand_typed_image(tmp_path: Path) -> None:
    """Left half 100, right half 200, and one white pixel in the upper left corner."""
    image = np.full((20, 40), 100, np.uint8)
    image[:, 20:] = 200
    cv2.imwrite(str(tmp_path / "plain.png"), image)
    image[1, 1] = 255
    cv2.imwrite(str(tmp_path / "marked.png"), image)
    facts, thumbnail = measure(tmp_path / "plain.png")
    assert (facts["width"], facts["height"], facts["aspect"]) == (40, 20, 2.0)
    assert (facts["channels"], facts["bits"], facts["mode"]) == (1, 8, "grey")
    assert facts["bytes"] == (tmp_path / "plain.png").stat().st_size
    assert (facts["mean"], facts["contrast"]) == (150.0, 50.0)
    assert facts["sharpness"] == pytest.approx(2 * 100 / 40)  # the two columns beside the edge
    assert facts["gradient_ratio"] > 1000  # nothing changes from row to row
    assert (facts["marker_top"], facts["marker_bottom"]) == (0.0, 0.0)
    assert thumbnail.shape == (64, 64)
    marked = measure(tmp_path / "marked.png")[0]
    assert marked["marker_top"] > 50
    assert marked["marker_bottom"] == 0.0


def test_the_pixel_digest_names_the_picture_and_not_the_file(tmp_path: Path) -> None:
    image = radiograph(0)
    cv2.imwrite(str(tmp_path / "a.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    Image.fromarray(image).convert("RGB").save(tmp_path / "b.png")
    cv2.imwrite(str(tmp_path / "c.png"), image + np.eye(*image.shape, dtype=np.uint8))
    a, b, c = (measure(tmp_path / f"{name}.png")[0] for name in "abc")
    assert a["pixel_digest"] == b["pixel_digest"] != c["pixel_digest"]
    assert b["channels"] == 3


def test_texture_is_measured_at_one_size(tmp_path: Path) -> None:
    """The same image from a finer detector: sharpness and gradient ratio stay, width and bytes do not."""
    large = radiograph(3, 448, 448)
    cv2.imwrite(str(tmp_path / "large.png"), large)
    cv2.imwrite(str(tmp_path / "small.png"), cv2.resize(large, (224, 224), interpolation=cv2.INTER_AREA))
    large_facts, small_facts = (measure(tmp_path / f"{name}.png")[0] for name in ("large", "small"))
    for name in ("mean", "contrast", "sharpness", "gradient_ratio", "marker_top"):
        assert large_facts[name] == pytest.approx(small_facts[name])
    assert large_facts["width"] == 2 * small_facts["width"]


def test_facts_are_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    cases = mixed_set(folder, 3)
    first = gather(cases)
    read: list[object] = []
    real = decode.decode
    monkeypatch.setattr(decode, "decode", lambda data, name: (read.append(name), real(data, name))[1])
    second = gather(cases)
    pd.testing.assert_frame_equal(first.table, second.table)
    np.testing.assert_array_equal(first.thumbnails, second.thumbnails)
    fewer = cases.where(cases.table["case_id"] > "image003")
    assert facts_table(fewer)["case_id"].tolist() == fewer.table["case_id"].tolist()
    assert read == []
    cv2.imwrite(str(folder / "new.png"), radiograph(99))
    more = [{"file": path.name} for path in sorted(folder.glob("*.png"))]
    facts_table(cases_of(folder, more))
    assert [Path(str(path)).name for path in read] == ["new.png"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and no more"])
def test_damaged_facts_are_measured_again(damage: bytes, tmp_path: Path) -> None:
    cases = mixed_set(tmp_path, 2)
    first = facts_table(cases)
    (kept,) = (tmp_path / "cache" / "facts").iterdir()
    kept.write_bytes(damage)
    pd.testing.assert_frame_equal(facts_table(cases), first)


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    facts_table(mixed_set(tmp_path, 3), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (9, 9)


# -- duplicates ----------------------------------------------------------------------------------------------


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)


def turned(image: np.ndarray, degrees: float) -> np.ndarray:
    rows, cols = image.shape
    turn = cv2.getRotationMatrix2D((cols / 2, rows / 2), degrees, 1)
    return cv2.warpAffine(image, turn, (cols, rows))


COPIES = {
    "re-encoded": lambda image: jpeg(image, 30),
    "halved": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "squeezed": lambda image: cv2.resize(image, (100, 100), interpolation=cv2.INTER_AREA),
    "darker": lambda image: (255 * (image / 255.0) ** 1.6).astype(np.uint8),
    "cropped": lambda image: image[4:-4, 4:-4],
    "turned": lambda image: turned(image, 1.5),
    "written on": lambda image: cv2.putText(image.copy(), "R", (10, 40), 0, 1.0, 255, 2),
}


def thumbnails_of(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA) for image in images])


@pytest.mark.parametrize("copy", COPIES)
def test_copies_are_found_and_other_images_are_not(copy: str) -> None:
    originals = [radiograph(seed, 192, 224) for seed in range(6)]
    thumbnails = thumbnails_of([*originals, *map(COPIES[copy], originals)])
    result = near_pairs([perceptual_hash(small) for small in thumbnails], thumbnails)
    assert sorted(map(tuple, result.pairs.tolist())) == [(n, n + 6) for n in range(6)]
    assert result.correlation.min() >= MIN_CORRELATION


def test_images_that_look_alike_are_not_the_same() -> None:
    """They correlate by more than one half as they are, as chest images do, yet not in fine structure."""
    thumbnails = thumbnails_of([radiograph(seed, 192, 224) for seed in range(5)])
    for a, b in combinations(thumbnails, 2):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.5
        assert registered_correlation(a, b) < 0.6


def test_even_pictures_are_no_duplicates_of_each_other() -> None:
    thumbnails = np.stack([np.full((64, 64), grey, np.uint8) for grey in (0, 1, 128, 255)])
    assert len(near_pairs([perceptual_hash(small) for small in thumbnails], thumbnails).pairs) == 0
    assert near_pairs([], np.zeros((0, 64, 64), np.uint8)).checked == 0


def test_the_closest_candidates_are_checked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.data.duplicates.MAX_CHECKED", 1)
    original = radiograph(0, 192, 224)
    thumbnails = thumbnails_of([original, turned(original, 2), jpeg(original, 90)])
    result = near_pairs([perceptual_hash(small) for small in thumbnails], thumbnails)
    assert (result.candidates, result.checked) == (3, 1)
    assert result.pairs.tolist() == [[0, 2]]


def test_hamming_distance_of_hand_made_hashes() -> None:
    """One hash, another that differs in as many bits as are allowed, a third in one more."""
    thumbnail = thumbnails_of([radiograph(0)])[0]
    bits = np.zeros((3, 1024), np.uint8)
    bits[1, :MAX_BITS] = 1
    bits[2, -MAX_BITS - 1 :] = 1
    result = near_pairs([np.packbits(row).tobytes().hex() for row in bits], np.stack([thumbnail] * 3))
    assert result.pairs.tolist() == [[0, 1]]


def test_duplicates_in_the_audit_say_what_they_cross(tmp_path: Path) -> None:
    for seed in range(4):
        cv2.imwrite(str(tmp_path / f"image{seed}.png"), radiograph(seed, 192, 224))
    image = radiograph(0, 192, 224)
    Image.fromarray(image).save(tmp_path / "image0-again.tiff")
    cv2.imwrite(str(tmp_path / "image0-jpeg.jpeg"), image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    Image.fromarray(radiograph(1, 192, 224)).convert("RGB").save(tmp_path / "image1-again.png")
    result = audit(
        cases_of(
            tmp_path,
            [
                {"file": "image0.png", "patient": "p0"},
                {"file": "image0-again.tiff", "patient": "p0"},
                {"file": "image0-jpeg.jpeg", "patient": "p0", "split": "val", "label": "virus"},
                {"file": "image1.png"},
                {"file": "image1-again.png", "split": "test"},
                {"file": "image2.png", "label": "virus"},
                {"file": "image3.png", "label": "virus"},
            ],
        )
    )
    exact = result.exact_duplicates
    assert (exact.n_groups, exact.n_images) == (2, 4)
    assert (exact.n_across_splits, exact.n_across_labels, exact.n_across_patients) == (1, 0, 1)
    assert exact.groups == [
        DuplicateGroup(
            case_ids=["image1", "image1-again"],
            across_splits=True,
            across_labels=False,
            across_patients=True,
        ),
        DuplicateGroup(
            case_ids=["image0", "image0-again"],
            across_splits=False,
            across_labels=False,
            across_patients=False,
        ),
    ]
    (pair,) = result.near_duplicates.pairs
    assert pair.case_ids == ["image0", "image0-jpeg"]
    assert (pair.across_splits, pair.across_labels, pair.across_patients) == (True, True, False)
    sentences = " ".join(result.findings)
    assert "1 of 2 groups of identical images lies across splits" in sentences
    assert "1 of 1 pair of near-identical images lies across labels" in sentences
    assert "1 patient with 3 images is in more than one part of the declared split" in sentences


# -- shortcuts -----------------------------------------------------------------------------------------------


def pairwise_auroc(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Area and DeLong's variance from all pairs, one by one (DeLong, Biometrics 44, 1988)."""
    x, y = scores[positive], scores[~positive]
    wins = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    variance = wins.mean(1).var(ddof=1) / len(x) + wins.mean(0).var(ddof=1) / len(y)
    return float(wins.mean()), float(variance)


@pytest.mark.parametrize("seed", range(4))
def test_auroc_and_interval_against_references(seed: int) -> None:
    generator = np.random.default_rng(seed)
    positive = generator.random(60) < 0.4
    scores = np.round(generator.standard_normal(60) + positive, 1)  # with ties
    area, low, high = auroc_interval(scores, positive, np.arange(60))
    expected, variance = pairwise_auroc(scores, positive)
    assert area == pytest.approx(roc_auc_score(positive, scores)) == pytest.approx(expected)
    assert low is not None
    assert high is not None
    half = (np.log(high / (1 - high)) - np.log(low / (1 - low))) / 2
    assert half == pytest.approx(norm.ppf(0.975) * np.sqrt(variance) / (area * (1 - area)), rel=1e-5)


def test_several_images_of_a_patient_count_as_one_patient() -> None:
    """Each image written down four times: as patients' images the interval stays, as patients it halves."""
    generator = np.random.default_rng(0)
    positive = np.arange(50) < 20
    scores = generator.standard_normal(50) + positive
    once = auroc_interval(scores, positive, np.arange(50))
    four = [np.repeat(values, 4) for values in (scores, positive, np.arange(50))]
    assert auroc_interval(*four) == pytest.approx(once)
    _, low, high = auroc_interval(four[0], four[1], np.arange(200))
    assert high - low == pytest.approx((once[2] - once[1]) / 2, rel=0.05)


def test_the_interval_covers_the_truth() -> None:
    """Patients with one to four images that share a level; the true area of N(1, 2) against N(0, 2)."""
    generator = np.random.default_rng(1)
    truth, covered = norm.cdf(1 / np.sqrt(2 * 2)), 0
    for _ in range(300):
        images = generator.integers(1, 5, 80)
        who = np.repeat(np.arange(80), images)
        positive = who < 40
        scores = generator.standard_normal(80)[who] + generator.standard_normal(len(who)) + positive
        _, low, high = auroc_interval(scores, positive, who)
        covered += low <= truth <= high
    assert 0.91 <= covered / 300 <= 0.99


def test_perfect_separation_has_an_honest_lower_end() -> None:
    scores, positive = np.arange(20.0), np.arange(20) >= 10
    area, low, high = auroc_interval(scores, positive, np.arange(20))
    assert (area, high) == (1.0, 1.0)
    assert low == pytest.approx(0.6915, abs=1e-4)  # Clopper and Pearson, 10 of 10
    assert auroc_interval(-scores, positive, np.arange(20)) == pytest.approx((0.0, 0.0, 1 - low))
    assert auroc_interval(scores[9:], positive[9:], np.arange(11))[1:] == (None, None)


def facts_with(n: int, seed: int = 0, **columns: np.ndarray) -> pd.DataFrame:
    """Facts that say nothing, but for the columns given."""
    generator = np.random.default_rng(seed)
    silent = {
        name: generator.standard_normal(n)
        for name in (
            "bytes",
            "mean",
            "contrast",
            "sharpness",
            "gradient_ratio",
            "marker_top",
            "marker_bottom",
        )
    }
    constant = dict.fromkeys(("width", "height", "aspect", "channels", "bits"), 1.0)
    return pd.DataFrame({**silent, **constant, **columns})


def test_a_planted_shortcut_is_found_with_its_direction() -> None:
    labels = pd.Series(["normal", "bacteria", "virus", "normal"] * 30)
    possible, impossible = questions(labels)
    assert impossible == []
    patients = pd.Series(range(120)).astype(str)
    abnormal = (labels != "normal").to_numpy()
    virus = (labels == "virus").to_numpy()
    facts = facts_with(120, bytes=1000.0 - 100 * abnormal, aspect=1.0 + virus)
    binary, multiclass = (single(question, facts, patients) for question in possible)
    assert (binary[0].name, binary[0].auroc.value, binary[0].higher_in) == ("bytes", 1.0, "normal")
    assert 0.9 < binary[0].auroc.low < 1.0 == binary[0].auroc.high
    assert (multiclass[0].name, multiclass[0].auroc.value, multiclass[0].higher_in) == (
        "aspect",
        1.0,
        "virus",
    )
    assert {row.name for row in binary}.isdisjoint({"width", "height", "channels", "bits"})
    together = joint(possible[0], facts, patients)
    assert isinstance(together, JointShortcut)
    assert together.auroc.value > 0.99
    assert (together.n, together.n_patients, together.folds) == (120, 120, 5)


def test_numbers_that_say_nothing_earn_about_one_half() -> None:
    labels = pd.Series(["normal", "virus"] * 300)
    (question,), _ = questions(labels)
    patients = pd.Series(np.arange(600) // 2).astype(str)
    together = joint(question, facts_with(600), patients)
    assert isinstance(together, JointShortcut)
    assert together.auroc.low < 0.5 < together.auroc.high
    aurocs = [row.auroc.value for row in single(question, facts_with(600), patients)]
    assert len(aurocs) == 7
    assert min(aurocs) >= 0.5 and max(aurocs) < 0.58


def test_the_joint_classifier_sees_what_no_number_shows_alone() -> None:
    """Abnormal where mean and contrast have the same sign: each alone says nothing."""
    facts = facts_with(400)
    abnormal = facts["mean"] * facts["contrast"] > 0
    (question,), _ = questions(pd.Series(np.where(abnormal, "virus", "normal")))
    together = joint(question, facts, pd.Series(range(400)).astype(str))
    assert isinstance(together, JointShortcut)
    assert together.auroc.value > 0.9
    assert single(question, facts, pd.Series(range(400)).astype(str))[0].auroc.value < 0.65


def test_the_joint_classifier_predicts_patients_it_was_not_fitted_on() -> None:
    """Ten copies of each image: a classifier that had seen the patient would know the answer."""
    patients = pd.Series(np.repeat(np.arange(40), 10)).astype(str)
    labels = pd.Series(np.where(np.arange(400) // 10 % 2, "virus", "normal"))
    facts = facts_with(40).loc[np.repeat(np.arange(40), 10)].reset_index(drop=True)
    (question,), _ = questions(labels)
    together = joint(question, facts, patients)
    assert isinstance(together, JointShortcut)
    assert together.auroc.value < 0.6


# -- the whole -----------------------------------------------------------------------------------------------


def test_a_set_without_findings(tmp_path: Path) -> None:
    result = audit(mixed_set(tmp_path))
    assert Audit.model_validate_json(result.model_dump_json()) == result
    assert (result.n_cases, result.n_patients) == (36, 36)
    assert result.labels == ["normal", "bacteria", "virus"]
    assert result.counts["train"] == {
        label: Count(images=9, patients=9) for label in ("bacteria", "normal", "virus")
    }
    assert result.unreadable == []
    assert result.exact_duplicates.n_groups == result.near_duplicates.n_pairs == 0
    assert result.patients_across_splits == {
        "declared": PatientsAcross(n_patients=0, n_images=0, examples=[])
    }
    assert result.sizes.commonest == [SizeCount(width=56, height=48, images=36)]
    assert result.sizes.height == Quantiles(min=48, p5=48, median=48, p95=48, max=48)
    assert result.modes == {"grey, 8 bit": 36}
    assert result.aspect_by_label["virus"].median == pytest.approx(56 / 48)
    assert set(result.joint) == {"binary", "multiclass"}
    assert result.findings == findings(result)


def test_test_images_take_no_part_in_shortcuts(tmp_path: Path) -> None:
    """Test in the declared split or in a split used: a shortcut that only they have is not seen."""
    cases = mixed_set(tmp_path, 12, ("normal", "virus"))
    for path, label in zip(cases.table["path"], cases.table["label"], strict=True):
        held_out = path.endswith(
            ("18.png", "19.png", "20.png", "21.png", "22.png", "23.png", "16.png", "17.png")
        )
        cv2.imwrite(path, radiograph(int(path[-7:-4]), 48, 90 if held_out and label == "virus" else 56))
    cases = cases_of(tmp_path, [{"file": f"{row.case_id}.png", "label": row.label, "split": row.split}
                                for row in cases.table.itertuples()])  # fmt: skip
    used = cases.table.set_index("case_id")["split"].copy()
    assert any(row.name == "width" for row in audit(cases).shortcuts)
    used[["image016", "image017"]] = "test"
    result = audit(cases, {"binary": used})
    assert result.shortcuts_on == ShortcutImages(splits=["train"], n_images=16, n_patients=16)
    assert not any(row.name == "width" for row in result.shortcuts)
    assert result.sizes.width.max == 90
    assert result.counts_used["binary"]["test"]["virus"].images == 4


def test_patients_across_the_split_used(tmp_path: Path) -> None:
    rows = []
    for number in range(6):
        cv2.imwrite(str(tmp_path / f"image{number}.png"), radiograph(number))
        label = "virus" if number % 2 else "normal"
        rows.append({"file": f"image{number}.png", "patient": f"p{number // 3}", "label": label})
    cases = cases_of(tmp_path, rows)
    used = pd.Series(
        {"image0": "train", "image1": "val", "image2": "train", "image3": "train", "image4": "unused"}
    )
    result = audit(cases, {"multiclass": used})
    assert result.patients_across_splits["declared"].n_patients == 0
    assert result.patients_across_splits["multiclass"] == PatientsAcross(
        n_patients=1, n_images=3, examples=[PatientAcross(patient="p0", images={"train": 2, "val": 1})]
    )
    assert (
        "1 patient with 3 images is in more than one part of the split used for multiclass"
        in result.findings[0]
    )


def test_unreadable_files_come_first_and_the_rest_is_audited(tmp_path: Path) -> None:
    cases = mixed_set(tmp_path)
    for name in ("image001", "image005"):
        path = tmp_path / f"{name}.png"
        path.write_bytes(path.read_bytes()[:-20])
    cases.table.loc[cases.table["case_id"] == "image005", "digest"] = "cut"
    cases.table.loc[cases.table["case_id"] == "image001", "digest"] = "cut too"
    result = audit(cases)
    assert [(row.case_id, row.reason) for row in result.unreadable] == [
        ("image001", "truncated"),
        ("image005", "truncated"),
    ]
    assert result.findings[0] == "2 of 36 files can't be read: image001 (truncated), image005 (truncated)."
    assert result.shortcuts_on.n_images == 25
    facts = facts_table(cases)
    assert facts.loc[~facts["readable"], "reason"].tolist() == ["truncated"] * 2
    assert facts.loc[~facts["readable"], "width"].isna().all()


def test_a_planted_shortcut_is_the_first_finding(tmp_path: Path) -> None:
    cases = mixed_set(tmp_path)
    for path, label in zip(cases.table["path"], cases.table["label"], strict=True):
        image = cv2.imread(path, 0)
        if label == "normal":
            image[2:8, 2:8] = 255
        cv2.imwrite(path, image)
    first = audit(cases).findings[0]
    assert "marker in an upper corner" in first
    assert "separates pneumonia from normal with AUROC" in first


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (["normal"] * 6, "abnormal against normal: it needs normal and abnormal images"),
        (["virus"] * 6, "one kind of abnormal against another: it needs two kinds"),
        (
            ["normal"] * 5 + ["virus"],
            "pneumonia against normal: a classifier needs two patients or more on each side",
        ),
        (["normal"], "abnormal against normal: it needs normal and abnormal images"),
    ],
)
def test_what_can_not_be_computed_is_listed(labels: list[str], sentence: str, tmp_path: Path) -> None:
    rows = []
    for number, label in enumerate(labels):
        cv2.imwrite(str(tmp_path / f"image{number}.png"), radiograph(number))
        rows.append({"file": f"image{number}.png", "label": label, "split": ""})
    result = audit(cases_of(tmp_path, rows))
    assert sentence in result.not_computed
    assert f"Not computed: {sentence}." in result.findings
    assert list(result.counts) == [""]
    printed(result)


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"no image")
    result = audit(cases_of(tmp_path, [{"file": "a.png"}, {"file": "b.png", "label": "virus"}]))
    assert result.findings[0].startswith("2 of 2 files can't be read: a (empty), b (not an image")
    assert result.sizes.width is None
    assert result.aspect_by_label == {"normal": None, "virus": None}
    result.save(tmp_path / "audit.json")  # refuses NaN
    assert Audit.load(tmp_path / "audit.json") == result
    printed(result)


def printed(result: Audit) -> str:
    console = Console(width=120, file=io.StringIO())
    with console.capture() as captured:
        console.print(audit_tables(result))
    return captured.get()


def test_the_terminal_shows_counts_shortcuts_and_findings(tmp_path: Path) -> None:
    cases = mixed_set(tmp_path, 8, ("normal", "[red]virus"))
    text = printed(audit(cases))
    assert "[red]virus" in text  # a label is no markup
    assert "6 (6)" in text
    assert "all together" in text
    assert "sharpness" in text
    assert "1. " in text


def test_many_duplicates_are_counted_and_the_worst_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_module, "_LISTED", 1)
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"image{number}.png"), radiograph(number // 2))
    rows = [
        {"file": f"image{number}.png", "label": "virus" if number == 3 else "normal"} for number in range(4)
    ]
    exact = audit(cases_of(tmp_path, rows)).exact_duplicates
    assert (exact.n_groups, exact.n_across_labels) == (2, 1)
    assert [group.case_ids for group in exact.groups] == [["image2", "image3"]]


@pytest.mark.real
def test_the_known_shortcuts_and_duplicates_of_the_real_set(real_data: Path) -> None:
    """The figures of the set's own description, on its 224 pixel version."""
    from hilum.data.sources import open_source

    cases = open_source(str(real_data), "kaggle")
    result = audit(cases)
    assert result.unreadable == []
    alone = {(row.task, row.name): row.auroc.value for row in result.shortcuts}
    assert alone["binary", "bytes"] == pytest.approx(0.90, abs=0.01)
    assert alone["binary", "gradient_ratio"] == pytest.approx(0.89, abs=0.01)
    assert alone["binary", "sharpness"] == pytest.approx(0.88, abs=0.01)
    assert alone["binary", "contrast"] == pytest.approx(0.70, abs=0.01)
    assert alone["multiclass", "contrast"] == pytest.approx(0.67, abs=0.01)
    assert alone["multiclass", "bytes"] < 0.55
    assert result.joint["binary"].auroc.value > 0.94
    exact = result.exact_duplicates
    assert (exact.n_groups, exact.n_images) == (24, 50)  # 30 and 62 with the test images
    assert (exact.n_across_splits, exact.n_across_labels, exact.n_across_patients) == (0, 0, 0)
    assert result.near_duplicates.n_pairs == 0
