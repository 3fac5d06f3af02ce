"""Regions of the chest against lungs that were drawn, and a filter that answers to one place."""

import numpy as np
import pytest
import torch
from torch import nn

from hilum.artifacts.explanations import REGIONS
from hilum.explain.filters.maximal import maximal_activations
from hilum.explain.filters.regions import region_shares, regions_of
from hilum.explain.network.receptive_field import field_of

SIZE = (12, 20)
PLACES = {"right lung": (5, 4), "left lung": (5, 15), "between the lungs": (5, 9), "elsewhere": (1, 9)}


def lungs(touching: bool = False) -> np.ndarray:
    drawn = np.zeros(SIZE, bool)
    drawn[3:10, 2:8], drawn[3:10, 12:18] = True, True
    if touching:
        drawn[4, 8:12] = True
    return drawn


@pytest.mark.parametrize("touching", [False, True])
def test_each_region_is_where_it_was_drawn(touching: bool) -> None:
    regions = regions_of(lungs(touching))
    assert {name: REGIONS[regions[place]] for name, place in PLACES.items()} == {
        name: name for name in PLACES
    }


def test_unequal_lungs_are_divided_at_the_gap_between_them() -> None:
    """A partly opaque lung is small; the gap lies far from the middle of the box."""
    drawn = np.zeros((12, 96), bool)
    drawn[2:10, 10:60], drawn[2:10, 66:76] = True, True
    regions = regions_of(drawn)
    assert (regions == REGIONS.index("right lung")).sum() == 8 * 50
    assert (regions == REGIONS.index("left lung")).sum() == 8 * 10
    assert (regions == REGIONS.index("between the lungs")).sum() == 8 * 6


def test_no_lungs_leave_everything_elsewhere() -> None:
    assert (regions_of(np.zeros(SIZE, bool)) == REGIONS.index("elsewhere")).all()


@pytest.mark.parametrize(("name", "lost"), [("left lung", np.s_[:, :10]), ("right lung", np.s_[:, 10:])])
def test_a_single_lung_keeps_its_side_and_has_nothing_between(name: str, lost: tuple[slice, slice]) -> None:
    alone = lungs()
    alone[lost] = False
    regions = regions_of(alone)
    assert (regions[alone] == REGIONS.index(name)).all() and (
        regions[~alone] == REGIONS.index("elsewhere")
    ).all()


@pytest.mark.parametrize("name", PLACES)
def test_a_bright_point_is_told_where_it_lies(name: str) -> None:
    """A filter that answers to brightness, and images with one bright point."""
    net = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU())
    nn.init.constant_(net[0].weight, 0.0)  # pyright: ignore[reportArgumentType]
    net[0].weight.data[0, 0, 1, 1] = 1.0  # pyright: ignore[reportIndexIssue]
    images = torch.zeros(3, 1, *SIZE)
    images[(slice(None), 0, *PLACES[name])] = torch.tensor([1.0, 2.0, 3.0])
    maxima = maximal_activations(net, [images], images=4, count=1)
    region, chance = region_shares(maxima, field_of(net, maxima.layer, SIZE), lambda number: lungs())
    assert region.tolist() == [[REGIONS.index(name)] * 3 + [-1]]
    expected = np.bincount(regions_of(lungs()).ravel(), minlength=len(REGIONS)) / np.prod(SIZE)
    assert chance[0] == pytest.approx(expected)
