"""Figures against a known truth: hand-typed maps, what chance scores, and phantom images read back."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hilum.data.images import Pixels
from hilum.data.sources import phantom
from hilum.errors import DataError
from hilum.explain.faithfulness.explainers import centre, random_map
from hilum.explain.faithfulness.lesions import (
    energy_inside,
    figure,
    grown,
    iou_at_area,
    lesion_figures,
    pointing,
)
from hilum.explain.faithfulness.phantoms import (
    PhantomLesions,
    abnormal_class,
    maps_of,
    phantom_lesions,
    predicted_abnormal,
    truth_table,
)
from hilum.explain.network.layers import last_layer
from hilum.models import ChestModel, build
from tests.unit.cards import card, threshold


def benchmark() -> ModuleType:
    """benchmarks/truth.py, which has the reverse test."""
    path = Path(__file__).parents[2] / "benchmarks" / "truth.py"
    spec = importlib.util.spec_from_file_location("benchmark_truth", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


shortcut_table, smoothed = benchmark().shortcut_table, benchmark().smoothed

CHANCE = np.random.default_rng(0)


def box(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (16, 20)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


class TestFigures:
    def test_pointing_by_hand(self) -> None:
        mask = np.stack([box(4, 4, 8, 8)] * 3)
        heat = np.zeros((3, 16, 20))
        heat[0, 7, 7] = heat[1, 8, 7] = heat[2, 10, 7] = 1
        assert pointing(heat, mask).tolist() == [True, False, False]
        assert pointing(heat, mask, 1).tolist() == [True, True, False]
        assert pointing(heat, mask, 3).tolist() == [True, True, True]

    def test_chance_hits_as_often_as_the_mask_is_large(self) -> None:
        mask = np.stack([box(0, 0, 8, 10)] * 2000)
        heat = CHANCE.random(mask.shape)
        assert pointing(heat, mask).mean() == pytest.approx(0.25, abs=0.03)
        found = lesion_figures(heat[:300], mask[:300], np.arange(300).astype(str), replicates=10)
        for name in ("pointing", "energy", "iou"):
            assert found[name].value == pytest.approx(found[name].chance, abs=0.08), name
        assert found["energy"].chance == 0.25
        assert found["iou"].chance == pytest.approx(1 / 7)

    def test_a_flat_map_is_no_hit_by_its_first_pixel(self) -> None:
        mask = box(0, 0, 1, 1)[None]
        hits = [pointing(np.zeros((1, 16, 20)), mask, seed=seed)[0] for seed in range(30)]
        assert sum(hits) <= 2

    def test_grown_is_round(self) -> None:
        mask = box(8, 8, 9, 9)[None]
        assert grown(mask, 2).sum() == 13
        assert grown(mask, 0).sum() == 1

    def test_energy_and_iou_by_hand(self) -> None:
        heat = np.array([[[4.0, 3.0], [1.0, -2.0]]])
        mask = np.array([[[True, False], [True, False]]])
        assert energy_inside(heat, mask).tolist() == [5 / 8]
        assert iou_at_area(heat, mask).tolist() == [1 / 3]
        assert energy_inside(-np.abs(heat), mask).tolist() == [0]

    def test_the_mask_itself_is_perfect(self) -> None:
        mask = np.stack([box(2, 3, 9, 9), box(0, 0, 3, 20)])
        found = lesion_figures(mask.astype(float), mask, ["ann", "bob"])
        assert [found[name].value for name in ("pointing", "energy", "iou")] == [1, 1, 1]

    def test_bad_masks(self) -> None:
        with pytest.raises(DataError, match="do not belong together"):
            pointing(np.zeros((1, 4, 4)), np.ones((1, 4, 5), bool))
        with pytest.raises(DataError, match="empty mask"):
            energy_inside(np.zeros((1, 4, 4)), np.zeros((1, 4, 4), bool))


class TestInterval:
    def test_images_of_one_patient_are_one_witness(self) -> None:
        values = np.tile([True, False], 20)
        alone = figure(values, np.zeros(40), [str(i) for i in range(40)])
        shared = figure(values, np.zeros(40), [str(i % 4) for i in range(40)])
        assert (alone.k, alone.n) == (20, 40)
        assert shared.high - shared.low > 1.5 * (alone.high - alone.low)

    def test_all_hits_are_wilsons_over_patients(self) -> None:
        found = figure(np.ones(10, bool), np.zeros(10), [str(i // 2) for i in range(10)])
        assert (round(found.low, 4), found.high) == (0.5655, 1.0)  # 5 of 5


def test_smoothing_finds_the_region() -> None:
    """One loud pixel against a region of quieter ones."""

    def loud(model: nn.Module, x: Tensor, target: int) -> Tensor:
        heat = torch.zeros(1, 32, 32)
        heat[0, 2, 2], heat[0, 16:24, 16:24] = 3.0, 1.0
        return heat

    x, mask = torch.zeros(1, 1, 32, 32), box(16, 16, 24, 24, (32, 32))[None]
    assert not pointing(loud(nn.Flatten(), x, 0).numpy(), mask)[0]
    assert pointing(smoothed(loud, 2.0)(nn.Flatten(), x, 0).numpy(), mask)[0]
    assert torch.equal(smoothed(loud, 0.0)(nn.Flatten(), x, 0), loud(nn.Flatten(), x, 0))


def test_the_last_layer_of_a_stride() -> None:
    model = build("vgg", ["normal", "pneumonia"], Pixels(size=(64, 64)), {"blocks": [[4], [8], [8]]}).eval()
    x = torch.zeros(1, 1, 64, 64)
    assert [last_layer(model, x, stride) for stride in (None, 4, 2, 1)] == [
        "features.10",
        "features.10",
        "features.6",
        "features.2",
    ]


# -- networks with known maps -------------------------------------------------------------------------------


class Eye(ChestModel):
    """A network that classifies everything as abnormal and whose maps we type by hand."""

    def __init__(self, name: str, mean: float = 0.5) -> None:
        super().__init__(
            ("normal", "pneumonia"),
            Pixels((16, 20), mean=mean),
            nn.Identity(),
            nn.Flatten(),
            nn.Identity(),
            nn.Linear(320, 2),
        )
        self.name = name
        self.head.weight.data.zero_()
        self.head.bias.data = torch.tensor([0.0, 1.0])


def images(count: int = 12) -> PhantomLesions:
    lesion = np.stack([box(5, 5 + i % 3, 10, 12) for i in range(count)])
    shortcut = np.stack([box(1, 1, 3, 3)] * count)
    names = np.array([f"p{i}" for i in range(count)])
    return PhantomLesions(
        torch.zeros(count, 1, 16, 20),
        {"lesion": lesion, "shortcut": shortcut},
        np.arange(count) != 0,
        names,
        names,
        np.array(["virus"] * count),
    )


def looks(model: nn.Module, x: Tensor, target: int) -> Tensor:
    """At the disc if the network is the fooled one, at the lesion if not."""
    place = (1, 1, 3, 3) if getattr(model, "name", "") == "fooled" else (6, 8, 9, 11)
    return torch.from_numpy(box(*place)).float().expand(len(x), -1, -1)


class TestTables:
    def test_lesions(self) -> None:
        found = truth_table(Eye("honest"), images(), {"looks": looks, "random": random_map})
        assert (found.images, found.missed, found.tolerance) == (11, 1, 0)
        [row, chance] = found.rows
        assert (row.name, row.kind, row.pointing.counts) == ("looks", "method", "11/11")
        assert (chance.title, chance.kind) == ("Random numbers", "baseline")
        assert (found.best, found.failures) == ("looks", [])
        fooled = truth_table(Eye("fooled"), images(), {"looks": looks})
        assert fooled.rows[0].pointing.value == 0

    def test_the_fooled_network_is_caught(self) -> None:
        found = shortcut_table(Eye("honest"), Eye("fooled"), images(), {"looks": looks, "centre": centre})
        assert found["unmasked_by"] == ["looks"]
        assert found["methods"]["looks"]["fooled"]["energy"]["value"] == 1
        assert found["methods"]["looks"]["honest"]["pointing"]["k"] == 0

    def test_two_honest_networks_are_not(self) -> None:
        found = shortcut_table(Eye("honest"), Eye("honest"), images(), {"looks": looks})
        assert found["unmasked_by"] == []

    def test_an_accusing_method_does_not_pass(self) -> None:
        """A map that always points at the disc says nothing about the network."""

        def disc(model: nn.Module, x: Tensor, target: int) -> Tensor:
            return torch.from_numpy(box(1, 1, 3, 3)).float().expand(len(x), -1, -1)

        assert shortcut_table(Eye("honest"), Eye("fooled"), images(), {"disc": disc})["unmasked_by"] == []

    def test_each_network_gets_the_image_in_its_own_units(self) -> None:
        seen = {}

        def watch(model: nn.Module, x: Tensor, target: int) -> Tensor:
            seen[getattr(model, "name", "")] = float(x.mean())
            return looks(model, x, target)

        shortcut_table(Eye("honest", mean=0.3), Eye("fooled"), images(), {"watch": watch})
        assert seen == {"fooled": 0.0, "honest": pytest.approx(0.2 / 0.25)}

    def test_a_method_that_fails_is_a_sentence(self) -> None:
        def nan(model: nn.Module, x: Tensor, target: int) -> Tensor:
            return looks(model, x, target) * float("nan")

        found = truth_table(Eye("honest"), images(), {"nan": nan, "looks": looks})
        assert "NaN" in found.failures[0]
        assert [row.name for row in found.rows] == ["looks"]

    def test_nothing_to_score(self) -> None:
        with pytest.raises(DataError, match="carries the planted marker"):
            few = images()
            few.masks["shortcut"][:] = False
            shortcut_table(Eye("honest"), Eye("fooled"), few, {"looks": looks})
        with pytest.raises(DataError, match="classifies no abnormal image as abnormal"):
            truth_table(Eye("honest"), images().where(np.arange(12) == 0), {"looks": looks})

        with pytest.raises(DataError, match="no method gave a map"):
            truth_table(Eye("honest"), images(), {})

    def test_batches_change_nothing(self) -> None:
        x = torch.rand(5, 1, 16, 20)
        maps = [maps_of(Eye("honest"), x, 1, random_map, batch) for batch in (2, 8)]
        np.testing.assert_array_equal(maps[0], maps[1])

    def test_abnormal_class(self) -> None:
        model = Eye("honest")
        model.classes = ("pneumonia", "normal")
        assert abnormal_class(model) == 0
        model.classes = ("a", "b")
        with pytest.raises(DataError, match="a, b"):
            abnormal_class(model)

    def test_the_threshold_of_the_card(self) -> None:
        model, x = Eye("honest"), torch.zeros(1, 1, 16, 20)
        assert predicted_abnormal(model, x).tolist() == [True]  # probability 0.73
        model.card = card(model.classes, threshold=threshold(0.8))
        assert predicted_abnormal(model, x).tolist() == [False]


# -- a phantom set -------------------------------------------------------------------------------------------


def test_images_are_read_with_their_masks(tmp_path: Path) -> None:
    settings = phantom.PhantomSettings(patients=20, size=(64, 72), shortcut="marker")
    cases = phantom.load(phantom.write(tmp_path / "set", settings))
    split = cases.table.set_index("case_id")["split"]
    model = build(
        "vgg", ["normal", "pneumonia"], Pixels((64, 72), trim=False), {"blocks": [[4]], "dense": [4]}
    )
    found = phantom_lesions(cases, split, model.eval())
    abnormal = cases.table[(cases.table["split"] == "test") & (cases.table["label"] != "normal")]
    assert set(found.patients) == set(abnormal["patient"])
    assert len(set(found.patients)) == len(found)
    masks = phantom.masks(tmp_path / "set", found.case_ids[0])
    np.testing.assert_array_equal(found.masks["lesion"][0], masks["lesion"])
    inside = found.x[0, 0].numpy()[found.masks["shortcut"][0]]
    assert inside.mean() > found.x[0].mean() + 0.2  # the disc is bright
    assert len(phantom_lesions(cases, split, model, limit=2)) == 2
    with pytest.raises(DataError, match="no abnormal image"):
        phantom_lesions(cases, split, model, part="val")
    for mask in (tmp_path / "set" / "masks").iterdir():
        mask.unlink()
    (tmp_path / "set" / "masks").rmdir()
    with pytest.raises(DataError, match="holds no masks"):
        phantom_lesions(cases, split, model)
