"""Concept directions: planted concepts that the class reads, does not read, or that are not there."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from hilum.data.decode import read_grey
from hilum.data.sources.phantom import masks
from hilum.errors import DataError
from hilum.explain.filters.concepts import concept_scores, image_concepts, maps_and_slopes, sides


def planted(seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Filter 0 says the concept, 1 is loud and says nothing, 2 is silent, 40 others are chance."""
    rng = np.random.default_rng(seed)
    side = np.repeat(rng.integers(0, 2, 60), 2)
    told, loud = side + 0.3 * rng.normal(size=120), 100 * rng.normal(size=120)
    means = np.column_stack([told, loud, np.full(120, 7.0), rng.normal(size=(120, 40))])
    return means, side, [f"p{number // 2}" for number in range(120)]


def reading(*first: float, images: int = 9) -> np.ndarray:
    """Slopes of a class that reads the first filters only."""
    return np.tile([*first, *[0.0] * (43 - len(first))], (images, 1))


def test_class_that_reads_the_concept_and_class_that_reads_against_it() -> None:
    means, side, people = planted()
    slopes = {0: reading(-2.0, 0.0, 5.0), 1: reading(2.0, 0.0, 5.0)}
    against, along = concept_scores("planted", means, side, people, slopes)
    assert (against.score, along.score) == (0.0, 1.0)
    assert along.accuracy > 0.8 and abs(along.chance - 0.5) < 0.12
    assert along.matters(tests=2) and against.matters(tests=2)
    assert along.slope == pytest.approx(-against.slope) and along.slope > 0
    assert along.alignment > 0.5 and against.alignment == pytest.approx(-along.alignment)
    assert 0 <= along.noise < 1
    assert along.images == (int((side == 1).sum()), int((side == 0).sum()))


def test_concept_that_the_layer_does_not_know_does_not_matter() -> None:
    means, side, people = planted()
    side = np.repeat(np.random.default_rng(5).integers(0, 2, 60), 2)
    slopes = {1: np.random.default_rng(6).normal(size=(40, 43))}
    [one] = concept_scores("chance", means, side, people, slopes)
    assert not one.readable() and not one.matters()


def test_class_that_does_not_read_the_concept() -> None:
    """The evidence hangs on the loud filter only: half of the images rise either way."""
    means, side, people = planted()
    slopes = {1: reading(0.0, 1.0, images=200) * np.resize([1.0, -1.0], 200)[:, None]}
    [one] = concept_scores("planted", means, side, people, slopes)
    assert one.readable() and one.score == 0.5 and one.p == 1.0 and not one.matters()
    assert one.alignment == pytest.approx(0, abs=1e-9)


def test_seed_images_left_out_and_scale_of_a_filter() -> None:
    means, side, people = planted()
    slopes = {1: reading(2.0, 0.01)}
    one, two = (concept_scores("planted", means, side, people, slopes, seed=4)[0] for _ in range(2))
    assert np.array_equal(one.scores, two.scores) and one.p == two.p
    unused = np.concatenate([means, np.full((5, 43), 1e6)])
    [three] = concept_scores(
        "planted", unused, np.concatenate([side, [-1] * 5]), [*people, *"abcde"], slopes, seed=4
    )
    assert np.array_equal(one.scores, three.scores)
    # the unit of a filter changes nothing: means ten times as large, slopes a tenth
    unit = np.linspace(0.1, 10, 43)
    [four] = concept_scores("planted", means * unit, side, people, {1: slopes[1] / unit}, seed=4)
    np.testing.assert_allclose(four.scores, one.scores)
    assert four.slope == pytest.approx(one.slope)


def test_slopes_are_differences_of_the_evidence() -> None:
    torch.manual_seed(0)
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)]
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Conv2d(3, 4, 3), *head).double()
    x = torch.randn(3, 1, 10, 12)
    means, slopes = maps_and_slopes(net, x, "1", 1, batch=2)
    net = net.float()
    with torch.no_grad():
        maps = net[:2](x)
        np.testing.assert_allclose(means, maps.mean((2, 3)), atol=1e-5)
        for number in range(3):
            step = torch.zeros(1, 3, 1, 1)
            step[0, number] = 0.05
            up, down = net[2:](maps + step), net[2:](maps - step)
            rise = ((up[:, 1] - up[:, 0]) - (down[:, 1] - down[:, 0])) / 0.1
            np.testing.assert_allclose(slopes[:, number], rise, atol=1e-3)


def test_concepts_of_phantoms(phantom_data: Path) -> None:
    """Concepts follow the masks: healthy images have no lesion, hearts are within a child's range."""
    table = pd.read_csv(phantom_data / "cases.csv")
    rows = pd.DataFrame(
        image_concepts(read_grey(phantom_data / path), masks(phantom_data, case_id))
        for case_id, path in zip(table.case_id, table.path, strict=True)
    )
    healthy = (table.label == "normal").to_numpy()
    assert (rows.lesion_left + rows.lesion_right)[healthy].max() == 0
    assert (rows.lesion_left + rows.lesion_right)[~healthy].min() > 0
    assert rows.heart.between(0.05, 0.6).all() and rows.marker.max() == 0
    assert rows.ribs.mean() > 0  # bone is brighter than lung
    found = sides({str(name): rows[name] for name in rows})
    assert "planted marker" not in found  # no image has it
    assert {"large heart", "strong ribs", "side letter on the left", "lesion on the left"} <= set(found)
    heart = found["large heart"]
    assert rows.heart[heart == 1].min() > rows.heart[heart == 0].max()
    assert (heart == -1).sum() == pytest.approx(len(table) / 3, abs=3)


def test_bad_input() -> None:
    means, side, people = planted()
    with pytest.raises(DataError, match="concept 'x' has 3 images with it and 0 without; give 8 or more"):
        concept_scores("x", means, np.array([1] * 3 + [-1] * 117), people, {})
    with pytest.raises(DataError, match="119 sides do not fit 120 images"):
        concept_scores("x", means, side[:-1], people, {})
    with pytest.raises(DataError, match="slopes of 2 filters do not fit 43"):
        concept_scores("x", means, side, people, {0: np.zeros((4, 2))})
    with pytest.raises(DataError, match="one patient has all images"):
        concept_scores("x", means, side, np.where(side == 1, "abnormal", "well"), {})
