"""Splits: what each scheme promises, on made-up cases of every shape, and on the real set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from hilum.data.cases import Cases
from hilum.data.split import SCHEMES, Split, folds, split_cases
from hilum.errors import DataError

Patient = tuple[str, str, int, str]  # name, label, number of images, declared split


def made(patients: Sequence[Patient], digests: dict[str, str] | None = None) -> Cases:
    """Cases without files; each image has its own digest unless `digests` names one for its case_id."""
    rows = [
        {
            "case_id": f"{name}-{label}-{split or 'none'}-{number}",
            "path": f"/images/{name}-{label}-{number}.png",
            "label": label,
            "patient": name,
            "split": split,
        }
        for name, label, images, split in patients
        for number in range(images)
    ]
    table = pd.DataFrame(rows)
    table["digest"] = [(digests or {}).get(case_id, case_id) for case_id in table["case_id"]]
    return Cases.checked(table, "made", Path("/images"))


def even(counts: dict[str, int], images: int = 1, split: str = "") -> list[Patient]:
    """That many patients per label, each with the same number of images."""
    return [
        (f"{split}{label}{n:04d}", label, images, split)
        for label, many in counts.items()
        for n in range(many)
    ]


def parts(split: Split) -> dict[str, int]:
    return split.of.value_counts().to_dict()


def joined(cases: Cases, split: Split) -> pd.DataFrame:
    return cases.table.set_index("case_id").join(split.of.rename("part"))


def on_several_sides(cases: Cases, split: Split, column: str) -> set[str]:
    """Names in more than one of train, val and test, the slow way."""
    seen: dict[str, set[str]] = {}
    for row in joined(cases, split).itertuples():
        if row.part != "unused":
            seen.setdefault(getattr(row, column), set()).add(str(row.part))
    return {name for name, where in seen.items() if len(where) > 1}


@st.composite
def any_cases(draw: st.DrawFn, declared: bool = True) -> Cases:
    """Two or three labels with 6 to 25 patients each of 1 to 9 images, some sharing an identical image."""
    patients: list[Patient] = []
    choices = ["train", "val", "test"] if declared and draw(st.booleans()) else [""]
    for label in ("normal", "bacteria", "virus")[: draw(st.integers(2, 3))]:
        sizes = draw(st.lists(st.integers(1, 9), min_size=6, max_size=25))
        # at least six patients of each label stay outside the test part
        where = ["train"] * 6 + draw(
            st.lists(st.sampled_from(choices), min_size=len(sizes), max_size=len(sizes))
        )
        where = where if choices != [""] else [""] * len(where)
        patients += [(f"{label}{n}", label, size, where[n]) for n, size in enumerate(sizes)]
    cases = made(patients)
    if draw(st.booleans()):
        ids = cases.table["case_id"].tolist()
        pair = draw(st.tuples(st.sampled_from(ids), st.sampled_from(ids)))
        cases = made(patients, dict.fromkeys(pair, "the same bytes"))
    return cases


quickly = settings(max_examples=40, deadline=None)


@quickly
@given(any_cases(), st.sampled_from(SCHEMES), st.integers(0, 2**32))
def test_every_scheme_is_complete_repeatable_and_blind_to_order(cases: Cases, scheme: str, seed: int) -> None:
    try:
        split = split_cases(cases, scheme, seed)
    except DataError:  # the schemes that go by image may leave a small label out of val; they say so
        assert scheme not in ("patient", "image")
        reject()  # too many of these would fail the test
    assert sorted(split.of.index) == sorted(cases.table["case_id"])
    assert split.of.index.name == "case_id"
    assert set(split.of) <= {"train", "val", "test", "unused"}
    shuffled = cases.table.sample(frac=1, random_state=seed % 1000).reset_index(drop=True)
    second = split_cases(Cases(shuffled, cases.source, cases.root), scheme, seed)
    assert second.of.equals(split.of)
    assert second.facts() == split.facts()


@quickly
@given(any_cases(), st.sampled_from(SCHEMES), st.integers(0, 99))
def test_every_scheme_keeps_the_test_part_and_reports_every_leak(
    cases: Cases, scheme: str, seed: int
) -> None:
    try:
        split = split_cases(cases, scheme, seed)
    except DataError:
        assert scheme not in ("patient", "image")
        reject()  # too many of these would fail the test
    rows = joined(cases, split)
    declared = rows["split"] == "test"
    assert not (declared & (rows["part"] != "test")).any()
    assert not ((rows["part"] == "test") & ~declared).any() or not declared.any()
    patients, images = (on_several_sides(cases, split, column) for column in ("patient", "digest"))
    assert (split.shared_patients, split.shared_images) == (len(patients), len(images))
    assert split.leaky == bool(patients or images)
    assert ("Leaky" in split.note) == split.leaky


@quickly
@given(any_cases(), st.integers(0, 99), st.floats(0.05, 0.5))
def test_by_patient_no_patient_and_no_image_is_on_two_sides(cases: Cases, seed: int, fraction: float) -> None:
    split = split_cases(cases, seed=seed, val_fraction=fraction)
    assert not split.leaky
    assert not on_several_sides(cases, split, "patient")
    assert not on_several_sides(cases, split, "digest")
    rows = joined(cases, split)
    for part in ("train", "val"):
        assert set(rows["label"][rows["part"] == part]) == set(cases.labels)


@quickly
@given(st.lists(st.integers(1, 30), min_size=3, max_size=60), st.integers(0, 99), st.floats(0.05, 0.5))
def test_by_patient_each_label_gives_its_share(sizes: list[int], seed: int, fraction: float) -> None:
    patients = [
        (f"{label}{n}", label, size, "train") for label in ("normal", "virus") for n, size in enumerate(sizes)
    ]
    cases = made(patients)
    rows = joined(cases, split_cases(cases, seed=seed, val_fraction=fraction))
    wanted = min(max(round(len(sizes) * fraction), 1), len(sizes) - 1)
    for label in cases.labels:
        val = rows[(rows["part"] == "val") & (rows["label"] == label)]
        assert val["patient"].nunique() == wanted
        assert abs(len(val) - wanted / len(sizes) * sum(sizes)) <= max(sizes)


@quickly
@given(any_cases(), st.integers(2, 5), st.integers(0, 99))
def test_folds_hold_every_case_once_without_leaks(cases: Cases, k: int, seed: int) -> None:
    try:
        made_folds = folds(cases, k, seed)
    except DataError as error:  # a shared image can join the only patients that were left for k folds
        assert "too few" in str(error) or "no image in" in str(error)
        return
    assert [split.fold for split in made_folds] == list(range(k))
    in_val = pd.DataFrame([split.of == "val" for split in made_folds]).sum()
    outside = made_folds[0].of.isin(["train", "val"])
    assert (in_val[outside] == 1).all()
    assert (in_val[~outside] == 0).all()
    assert not any(split.leaky for split in made_folds)


def test_folds_are_as_even_as_those_of_scikit_learn() -> None:
    from sklearn.model_selection import StratifiedGroupKFold

    random = np.random.default_rng(3)
    patients = [
        (f"{label}{n}", label, int(size), "train")
        for label, many in (("normal", 90), ("bacteria", 170), ("virus", 60))
        for n, size in enumerate(random.geometric(0.4, many))
    ]
    cases = made(patients)
    table = cases.table

    def spread(chosen: list[np.ndarray]) -> float:
        """The widest gap between folds in the number of images of a label."""
        counts = pd.DataFrame([table["label"][val].value_counts() for val in chosen])
        return float((counts.max() - counts.min()).max())

    ours = [(joined(cases, split)["part"] == "val").to_numpy().nonzero()[0] for split in folds(cases, 5)]
    peer = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    theirs = [val for _, val in peer.split(table, table["label"], table["patient"])]
    assert spread(ours) <= max(spread(theirs), 1)


def test_the_same_split_on_every_machine() -> None:
    cases = made(even({"normal": 5, "virus": 5}, split="train"))
    written_down = {
        0: ["normal0000", "normal0004", "virus0000", "virus0002"],
        1: ["normal0002", "normal0004", "virus0002", "virus0004"],
    }
    for seed, patients in written_down.items():
        of = split_cases(cases, seed=seed, val_fraction=0.4).of
        assert [name.removeprefix("train").split("-")[0] for name in of.index[of == "val"]] == patients


# -- which parts there are -----------------------------------------------------------------------------


def test_without_any_declared_split_the_same_test_part_is_taken_for_every_scheme() -> None:
    cases = made(even({"normal": 40, "virus": 60}, images=3))
    tests = {
        scheme: split_cases(cases, scheme).of == "test"
        for scheme in SCHEMES
        if scheme not in ("official", "acquisition")
    }
    assert all(test.equals(tests["patient"]) for test in tests.values())
    rows = joined(cases, split_cases(cases))
    assert rows.groupby(["part", "label"])["patient"].nunique().to_dict() == {
        ("test", "normal"): 6,
        ("test", "virus"): 9,
        ("train", "normal"): 29,
        ("train", "virus"): 43,
        ("val", "normal"): 5,
        ("val", "virus"): 8,
    }
    assert "15% of the patients were taken for it" in split_cases(cases).note


def test_declared_parts_without_test_give_no_test_unless_asked() -> None:
    cases = made([*even({"normal": 20, "virus": 20}, split="train"), *even({"normal": 5}, split="val")])
    split = split_cases(cases)
    assert set(split.of) == {"train", "val"}
    assert "none was taken" in split.note
    assert parts(split_cases(cases, test_fraction=0.2))["test"] == 9


def test_train_images_of_a_test_patient_are_unused() -> None:
    patients = [*even({"normal": 10, "virus": 10}, split="train"), *even({"normal": 3}, split="test")]
    patients += [("both", "virus", 2, "train"), ("both", "virus", 1, "test")]
    twin = {"trainnormal0003-normal-train-0": "same", "testnormal0001-normal-test-0": "same"}
    cases = made(patients, twin)
    split = split_cases(cases)
    assert parts(split)["unused"] == 3
    assert "3 images are unused because their patient, or the very same image, is in the test" in split.note
    assert not split.leaky
    leaking = split_cases(cases, "image")
    assert (leaking.shared_patients, leaking.shared_images) == (1, 1)


def test_patients_that_share_an_image_stay_together_along_a_chain() -> None:
    patients = even({"normal": 12, "virus": 12}, images=2, split="train")
    ids = [f"trainnormal{n:04d}-normal-train-{image}" for n, image in ((0, 0), (1, 0), (1, 1), (2, 0))]
    chain = {ids[0]: "first", ids[1]: "first", ids[2]: "second", ids[3]: "second"}
    for seed in range(30):
        rows = joined(made(patients, chain), split_cases(made(patients, chain), seed=seed, val_fraction=0.4))
        together = rows[rows["patient"].isin(["trainnormal0000", "trainnormal0001", "trainnormal0002"])]
        assert len(set(together["part"])) == 1


def test_seeds_differ() -> None:
    cases = made(even({"normal": 30, "virus": 30}, images=2, split="train"))
    for scheme in ("patient", "image", "seed-1a", "seed-1b"):
        assert not split_cases(cases, scheme, 0).of.equals(split_cases(cases, scheme, 1).of)


# -- official, image, the seed report's ----------------------------------------------------------------


def test_official_is_as_declared() -> None:
    patients = [*even({"normal": 4, "virus": 4}, split="train"), *even({"normal": 1}, split="val")]
    split = split_cases(made([*patients, *even({"virus": 2})]), "official")
    assert parts(split) == {"train": 8, "val": 1, "unused": 2}
    assert "2 images without a declared part are unused. The val part has no case of virus." in split.note


def test_image_shares_out_each_label_by_image() -> None:
    cases = made(even({"normal": 20, "virus": 40}, images=5, split="train"))
    split = split_cases(cases, "image", val_fraction=0.2)
    rows = joined(cases, split)
    assert rows[rows["part"] == "val"]["label"].value_counts().to_dict() == {"normal": 20, "virus": 40}
    assert split.leaky
    assert split.shared_patients > 20


def test_seed_1a_is_80_20_then_half_healthy() -> None:
    patients = even({"normal": 300, "bacteria": 500, "virus": 200}, split="train")
    cases = made([*patients, *even({"normal": 30, "virus": 70}, split="test")])
    split = split_cases(cases, "seed-1a")
    rows = joined(cases, split)
    rows["healthy"] = rows["label"] == "normal"
    counts = rows.groupby("part")["healthy"].agg(["sum", "size"])
    assert tuple(counts.loc["test"]) == (30, 100)
    assert counts.loc["train", "sum"] + counts.loc["val", "sum"] == 300
    assert counts.loc["train", "size"] == 2 * counts.loc["train", "sum"]
    assert counts.loc["val", "size"] == 2 * counts.loc["val", "sum"]
    assert 40 <= counts.loc["val", "sum"] <= 80  # a fifth of 300, by chance alone
    assert f"{counts.loc['unused', 'size']} of 1000 images dropped" in split.note


def test_seed_1b_moves_400_of_the_full_set() -> None:
    patients = [
        *even({"normal": 1341, "bacteria": 2530, "virus": 1345}, split="train"),
        *even({"normal": 8, "bacteria": 8}, split="val"),
        *even({"normal": 234, "bacteria": 242, "virus": 148}, split="test"),
    ]
    cases = made(patients)
    split = split_cases(cases, "seed-1b")
    assert parts(split) == {"train": 4816, "val": 416, "test": 624}
    assert (joined(cases, split).query("split == 'val'")["part"] == "val").all()
    assert "400 images moved from train to validation at random (seed 0)." in split.note


def test_seed_1b_moves_the_same_share_of_a_small_set() -> None:
    split = split_cases(made(even({"normal": 400, "virus": 600}, split="train")), "seed-1b")
    assert parts(split) == {"train": 923, "val": 77}  # 1000 * 400 / 5216 = 76.7
    assert "77 images moved" in split.note
    assert "the report's share of 400/5216, because there are only 1000" in split.note


def test_unknown_patients_are_mentioned() -> None:
    cases = made(even({"normal": 9, "virus": 9}, split="train"))
    table = cases.table.assign(patient=cases.table["case_id"])
    assert split_cases(Cases(table, "made", cases.root)).note.endswith("so this split may leak unseen.")
    assert "unseen" not in split_cases(cases).note


def test_facts_are_plain_values() -> None:
    import json

    facts = folds(made(even({"normal": 9, "virus": 9}, split="train")), 3)[1].facts()
    assert json.loads(facts.model_dump_json()) == facts.model_dump()
    assert (facts.scheme, facts.fold, facts.folds, facts.leaky) == ("patient", 1, 3, False)
    assert "fold 2 of 3 is for validation (seed 0)" in facts.note


# -- what is refused -----------------------------------------------------------------------------------

PLAIN = even({"normal": 9, "virus": 9}, split="train")


@pytest.mark.parametrize(
    ("patients", "options", "said"),
    [
        (PLAIN, {"scheme": "pateint"}, "split scheme 'pateint' is not known; did you mean 'patient'?"),
        (PLAIN, {"seed": -1}, "seed is -1; give a whole number from 0 on"),
        (PLAIN, {"val_fraction": 1.0}, "val_fraction is 1; give a number between 0 and 1"),
        (PLAIN, {"test_fraction": 0.0}, "test_fraction is 0; give"),
        (PLAIN, {"val_fraction": float("nan")}, "val_fraction is nan; give"),
        (PLAIN, {"fold": 5, "folds": 5}, "fold 5 of 5 does not exist; give"),
        (PLAIN, {"fold": 0}, "fold 0 of None does not exist; give"),
        (PLAIN, {"fold": 0, "folds": 1}, "fold 0 of 1 does not exist; give"),
        (PLAIN, {"scheme": "image", "fold": 0, "folds": 3}, "scheme 'image' has no folds; use"),
        (
            PLAIN,
            {"fold": 0, "folds": 10},
            "label 'normal' has 9 patients outside the test part, too few for 10 sides",
        ),
        (
            PLAIN,
            {"scheme": "official"},
            "others as val or test; the source declares train; use scheme 'patient'",
        ),
        (even({"normal": 9}), {"scheme": "official"}, "the source declares nothing; use"),
        (
            [*PLAIN, ("one", "other", 7, "train")],
            {},
            "label 'other' has 1 patients outside the test part, too few",
        ),
        (
            [*PLAIN, ("one", "other", 1, "train")],
            {"scheme": "image"},
            "label 'other' has 1 images outside the test",
        ),
        (
            [*PLAIN, ("one", "other", 1, "test")],
            {},
            "'other' would have no image in train (train 0, val 0, test 1)",
        ),
        (
            [*PLAIN, ("one", "other", 1, "test")],
            {"scheme": "official"},
            "the declared train part has no case of other",
        ),
        (
            [*PLAIN, ("one", "virus", 1, "test")],
            {"test_fraction": 0.1},
            "but the source declares 1 images as test",
        ),
        (even({"normal": 2}, split="test"), {}, "all cases are declared as test; add"),
        (
            even({"bacteria": 9, "virus": 9}),
            {"scheme": "seed-1a"},
            "the label 'normal', which no case has; use",
        ),
        (PLAIN, {"scheme": "seed-1b"}, "would have no image in val (train"),
    ],
)
def test_refusals_name_number_and_remedy(patients: list[Patient], options: dict, said: str) -> None:
    with pytest.raises(DataError) as caught:
        split_cases(made(patients), **options)
    assert said in str(caught.value)
    assert caught.value.remedy


def test_folds_refuses_fewer_than_two() -> None:
    with pytest.raises(DataError, match="fold 0 of 0 does not exist"):
        folds(made(PLAIN), 0)


# -- real radiographs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_cases(real_data: Path) -> Cases:
    from hilum.data.sources import open_source

    cases = open_source(real_data)
    return cases.where(cases.table["split"] != "test")


def test_an_acquisition_group_is_held_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three planted devices; the second is val, and no patient is on both sides."""
    cases = made(even({"normal": 60, "abnormal": 60}))
    device = pd.Series(np.arange(len(cases)) % 10).map(
        lambda digit: 0 if digit < 5 else 1 if digit < 8 else 2
    )
    facts = pd.DataFrame({"case_id": cases.table["case_id"], "sharpness": 10.0 * device})
    monkeypatch.setattr("hilum.data.split.facts_table", lambda _cases: facts)
    split = split_cases(cases, "acquisition", fold=1, folds=3)
    of = split.of.loc[cases.table["case_id"]].to_numpy()
    held = facts["sharpness"].to_numpy() == 10.0
    assert set(of[~held]) <= {"train", "unused", "test"}
    assert held.any() and (of[held] != "train").all() and (of == "val").any()
    assert split.shared_patients == 0 and "group 2 of 3" in split.note
    with pytest.raises(DataError, match="fold 3 of 3 does not exist"):
        split_cases(cases, "acquisition", fold=3, folds=3)


@pytest.mark.real
def test_real_split_by_patient_is_clean_and_near_its_share(real_cases: Cases) -> None:
    rows = joined(real_cases, split_cases(real_cases, seed=0))
    assert set(rows["part"]) == {"train", "val"}
    shares = (rows["part"] == "val").groupby(rows["label"]).mean()
    assert ((shares - 0.15).abs() < 0.01).all()
    for split in folds(real_cases, 5):
        assert not split.leaky
        shares = (joined(real_cases, split)["part"] == "val").groupby(rows["label"]).mean()
        assert ((shares - 0.2).abs() < 0.001).all()


@pytest.mark.real
def test_real_split_by_image_leaks(real_cases: Cases) -> None:
    assert split_cases(real_cases, "image").shared_patients > 150
    moved = split_cases(real_cases, "seed-1b")
    assert parts(moved) == {"train": 4816, "val": 416}
    assert moved.leaky


def test_ordered_holds_out_the_lowest_numbers_of_each_series(tmp_path: Path) -> None:
    names = [f"IM-{n:04d}" for n in range(100, 120)] + [f"NORMAL2-IM-{n:04d}" for n in range(300, 340)]
    rows = [(f"{name}-{image}", "normal", name) for name in names for image in (1, 2)]
    rows += [(f"person{n}-{image}", "virus", f"person{n}") for n in range(1, 101) for image in (1, 2)]
    table = pd.DataFrame(rows, columns=["case_id", "label", "patient"])
    table = table.assign(path=table["case_id"], split="train", digest=table["case_id"])
    cases = Cases.checked(table, "table", tmp_path / "cases.csv")
    split = split_cases(cases, "ordered", val_fraction=0.1)
    val = set(table.set_index("case_id").loc[split.of.index[split.of == "val"], "patient"])
    assert val == {
        "IM-0100",
        "IM-0101",
        *(f"NORMAL2-IM-030{n}" for n in range(4)),
        *(f"person{n}" for n in range(1, 11)),
    }
    assert not split.leaky
    assert "10% of each of 3 series" in split.note
    assert (split_cases(cases, "ordered", seed=5, val_fraction=0.1).of == split.of).all()
