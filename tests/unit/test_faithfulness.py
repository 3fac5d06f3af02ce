"""Faithfulness figures, against arithmetic by hand on linear networks and against captum and scipy."""

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hilum.errors import DataError, ModelError, RecipeError
from hilum.explain.faithfulness.agreement import agreement, spearman
from hilum.explain.faithfulness.curves import deletion, insertion, places
from hilum.explain.faithfulness.explainers import BASELINES, centre, edges, explainers, random_map
from hilum.explain.faithfulness.infidelity import infidelity
from hilum.explain.faithfulness.randomisation import randomisation
from hilum.explain.faithfulness.stability import stability
from hilum.explain.faithfulness.table import faithfulness_table

SIZE = (6, 7)
WEIGHTS = torch.randn(SIZE, generator=torch.Generator().manual_seed(1))
X = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(2))
TRUE = WEIGHTS[None] * X[:, 0]
"""What each pixel adds to the evidence of the linear network, against zero."""


def linear(weights: Tensor = WEIGHTS) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(weights.numel(), 1, bias=False))
    net[1].weight.data = weights.reshape(1, -1).clone()  # pyright: ignore[reportArgumentType]
    return net


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)
    )


class TestCurves:
    def test_by_hand(self) -> None:
        net, x = linear(torch.tensor([[4.0, 1.0, -2.0]])), torch.ones(1, 1, 1, 3)
        heat = torch.tensor([[[4.0, 1.0, -2.0]]])
        gone = deletion(net, x, 0, heat, steps=3, fill="zero", output="evidence")
        assert gone.answer.tolist() == [[3.0, -1.0, -2.0, 0.0]]
        assert gone.auc.tolist() == pytest.approx([(1.5 - 1 - 2 + 0) / 3])
        back = insertion(net, x, 0, heat, steps=3, fill="zero", output="evidence")
        assert back.answer.tolist() == [[0.0, 4.0, 5.0, 3.0]]
        assert back.auc.tolist() == pytest.approx([(4 + 5 + 1.5) / 3])

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 10**6))
    def test_no_order_beats_the_true_contributions(self, seed: int) -> None:
        other = torch.randn(1, *SIZE, generator=torch.Generator().manual_seed(seed))
        best, chance = (
            deletion(linear(), X, 0, heat, 42, "zero", output="evidence").auc for heat in (TRUE, other)
        )
        assert best < chance
        best, chance = (
            insertion(linear(), X, 0, heat, 42, "zero", output="evidence").auc for heat in (TRUE, other)
        )
        assert best > chance

    def test_batches_and_neighbours_change_nothing(self) -> None:
        x = torch.rand(2, 1, *SIZE)
        heat = torch.rand(2, *SIZE)
        both = deletion(small(), x, 1, heat, steps=9)
        alone = deletion(small(), x[1:], 1, heat[1:], steps=9, batch=2)
        torch.testing.assert_close(both.answer[1:], alone.answer)
        assert both.answer.shape == (2, 10)
        assert both.share.tolist() == sorted(both.share.tolist())

    def test_begins_with_the_image_and_ends_with_the_fill(self) -> None:
        net = small()
        found = deletion(net, X, 1, TRUE, steps=4, fill="zero")
        ends = torch.cat([net(X), net(0 * X)]).softmax(1)[:, 1].detach()
        torch.testing.assert_close(found.answer[0, [0, -1]], ends)

    def test_more_steps_than_pixels(self) -> None:
        assert deletion(linear(), X, 0, TRUE, steps=1000).share.numel() == 43

    def test_equal_values_go_by_chance(self) -> None:
        flat = torch.zeros(SIZE)
        assert not torch.equal(places(flat, 0), places(flat, 1))
        assert sorted(places(flat, 0).flatten().tolist()) == list(range(42))

    def test_a_foreign_map(self) -> None:
        with pytest.raises(DataError, match="does not lie on images"):
            deletion(linear(), X, 0, torch.zeros(1, 3, 3))
        with pytest.raises(DataError, match="NaN"):
            insertion(linear(), X, 0, TRUE * float("nan"))
        with pytest.raises(RecipeError, match="steps = 0"):
            deletion(linear(), X, 0, TRUE, steps=0)


class TestInfidelity:
    def test_the_gradient_of_a_linear_network_is_perfect(self) -> None:
        found = infidelity(linear(), X, 0, WEIGHTS[None], "noise")
        assert found.raw.item() == pytest.approx(0, abs=1e-9)
        assert found.share.item() == pytest.approx(0, abs=1e-6)

    def test_its_contributions_are_perfect_for_squares(self) -> None:
        found = infidelity(linear(), X, 0, TRUE, "squares", fill="zero", size=0.4)
        assert found.raw.item() == pytest.approx(0, abs=1e-9)

    def test_a_factor_does_not_count_in_the_share(self) -> None:
        found = infidelity(linear(), X, 0, 5 * TRUE, fill="zero", size=0.4)
        assert found.share.item() == pytest.approx(0, abs=1e-6)
        assert found.raw.item() > 1e-3

    def test_the_opposite_and_nothing_explain_nothing(self) -> None:
        for heat in (-TRUE, 0 * TRUE):
            assert infidelity(linear(), X, 0, heat, fill="zero", size=0.4).share.item() == 1

    def test_a_map_of_zeros_by_hand(self) -> None:
        """One of two pixels goes and the map says nothing: 4 or 1 squared, the mean in between."""
        net = linear(torch.tensor([[2.0, 1.0]]))
        found = infidelity(net, torch.ones(1, 1, 1, 2), 0, torch.zeros(1, 1, 2), size=1.0, fill="zero")
        assert 1.0 < found.raw.item() < 4.0
        assert (found.raw.item() - 1) / 3 * 64 == pytest.approx(round((found.raw.item() - 1) / 3 * 64))

    def test_against_captum(self) -> None:
        from captum.metrics import infidelity as theirs

        net, heat = small(), torch.rand(1, *SIZE)
        generator = torch.Generator().manual_seed(3)

        def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
            change = 0.1 * (X.max() - X.min()) * torch.randn(len(inputs), *X.shape[1:], generator=generator)
            return change, inputs - change

        expected = theirs(lambda x: net(x)[:, 1:], perturb, X, heat[:, None], n_perturb_samples=32)
        ours = infidelity(net, X, 1, heat, "noise", samples=32, size=0.1, output="logit", seed=3)
        assert ours.raw.item() == pytest.approx(expected.item(), rel=1e-3)

    def test_bad_numbers(self) -> None:
        with pytest.raises(RecipeError, match="perturb"):
            infidelity(linear(), X, 0, TRUE, "dots")
        with pytest.raises(RecipeError, match="size = 2"):
            infidelity(linear(), X, 0, TRUE, size=2)


class TestOrder:
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, 4), min_size=12, max_size=12), st.integers(0, 1000))
    def test_against_scipy_with_ties(self, values: list[int], seed: int) -> None:
        first = torch.tensor(values, dtype=torch.float32).view(1, 3, 4)
        second = torch.randint(0, 5, (1, 3, 4), generator=torch.Generator().manual_seed(seed)).float()
        constant = len(first.unique()) == 1 or len(second.unique()) == 1
        expected = 0.0 if constant else scipy.stats.spearmanr(first.flatten(), second.flatten())[0]
        assert spearman(first, second).item() == pytest.approx(expected, abs=1e-6)

    def test_matrix(self) -> None:
        maps = {"a": TRUE, "b": 2 * TRUE + 1, "c": -TRUE}
        names, table = agreement(maps)
        assert names == ["a", "b", "c"]
        np.testing.assert_allclose(table, [[1, 1, -1], [1, 1, -1], [-1, -1, 1]], atol=1e-6)


class TestRandomisation:
    def test_what_reads_the_image_alone_stays(self) -> None:
        assert randomisation(small(), X, 1, edges).similarity.tolist() == [[1.0], [1.0]]

    def test_the_gradient_of_a_linear_network_is_forgotten(self) -> None:
        x = torch.rand(1, 1, 20, 20)
        net = linear(torch.randn(20, 20, generator=torch.Generator().manual_seed(0)))
        found = randomisation(net, x, 0, explainers({"saliency": {}})["saliency"])
        assert found.layers == ("1",)
        assert abs(found.similarity.item()) < 0.15

    def test_from_the_head_down_and_the_model_stays(self) -> None:
        net = small()
        before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        seen: list[list[bool]] = []

        def watch(model: nn.Module, x: Tensor, target: int) -> Tensor:
            state = model.state_dict()
            seen.append([torch.equal(state[key], before[key]) for key in ("0.weight", "4.weight")])
            return edges(model, x, target)

        assert randomisation(net, X, 1, watch).layers == ("4", "0")
        assert seen == [[True, True], [True, False], [False, False]]
        assert all(torch.equal(net.state_dict()[key], before[key]) for key in before)

    def test_same_seed_same_figures(self) -> None:
        explainer = explainers({"saliency": {}})["saliency"]
        net = small()
        state = torch.random.get_rng_state()
        first, second = (randomisation(net, X, 1, explainer, seed=5).similarity for _ in range(2))
        assert torch.equal(first, second)
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_nothing_to_draw(self) -> None:
        with pytest.raises(ModelError, match="re-initialised"):
            randomisation(nn.Flatten(), X, 0, edges)


class TestStability:
    def test_the_gradient_of_a_linear_network_does_not_change(self) -> None:
        found = stability(linear(), X, 0, explainers({"saliency": {}})["saliency"], shift=0)
        assert found.noise.item() == 0
        assert found.shift.item() == 0

    def test_a_map_that_moves_with_the_image(self) -> None:
        def grey(model: nn.Module, x: Tensor, target: int) -> Tensor:
            return x[:, 0]

        found = stability(nn.Flatten(), torch.rand(2, 1, 12, 13), 0, grey, noise=0.0, shift=3)
        assert found.noise.tolist() == found.shift.tolist() == [0, 0]
        assert found.noise_likeness.tolist() == pytest.approx([1, 1])
        assert found.shift_likeness.tolist() == pytest.approx([1, 1])

    def test_noise_by_hand(self) -> None:
        """The map is the image, so its change is the noise: sd times the root of the number of pixels."""
        x = torch.zeros(1, 1, 50, 50)
        x[..., 25:] = 1.0

        def grey(model: nn.Module, x: Tensor, target: int) -> Tensor:
            return x[:, 0]

        found = stability(nn.Flatten(), x, 0, grey, noise=0.1, repeats=4)
        assert found.noise.item() == pytest.approx(0.1 * 50 / 1250**0.5, rel=0.05)

    def test_a_map_of_zeros(self) -> None:
        def nothing(model: nn.Module, x: Tensor, target: int) -> Tensor:
            return torch.zeros(len(x), *x.shape[2:])

        found = stability(nn.Flatten(), X, 0, nothing)
        assert (found.noise.item(), found.shift.item()) == (0, 0)

    def test_a_shift_of_half_the_image(self) -> None:
        with pytest.raises(RecipeError, match="shift = 3"):
            stability(linear(), X, 0, edges, shift=3)


class TestAll:
    def test_table(self) -> None:
        x = torch.rand(2, 1, 16, 16)
        done: list[tuple[int, int]] = []
        found = faithfulness_table(
            small(),
            {"a": (x[:1], 1), "b": (x[1:], 0)},
            explainers({"saliency": {}, "grad_cam": {}}),
            steps=4,
            samples=8,
            progress=lambda *step: done.append(step),
        )
        rows = {row.name: row for row in found.rows}
        assert list(rows) == ["saliency", "grad_cam", *BASELINES]
        assert [row.kind for row in found.rows] == ["method"] * 2 + ["baseline"] * 3
        assert rows["edges"].randomised.value == pytest.approx(1)
        assert rows["random"].noise.value == pytest.approx(1)
        assert rows["random"].noise_change.value == 0
        two = [image.deletion for image in rows["saliency"].images.values()]
        assert len(two) == 2 and rows["saliency"].deletion.value == pytest.approx(sum(two) / 2)
        assert rows["random"].p_deletion is None and 0 < (rows["saliency"].p_deletion or 0) <= 1
        assert found.agreement.names[:3] == ["Saliency", "Grad-CAM", "Random numbers"]
        assert np.shape(found.agreement.values) == (5, 5)
        assert done[-1] == (10, 10)

    def test_one_image_by_its_parts(self) -> None:
        saliency = explainers({"saliency": {}})
        row = faithfulness_table(small(), {"a": (X, 1)}, saliency, steps=5, samples=7).rows[0]
        heat = saliency["saliency"](small(), X, 1)
        assert row.deletion.value == pytest.approx(deletion(small(), X, 1, heat, 5).auc.item())
        assert row.images["a"].insertion == pytest.approx(insertion(small(), X, 1, heat, 5).auc.item())
        assert row.unexplained.value == pytest.approx(infidelity(small(), X, 1, heat, samples=7).share.item())

    def test_no_image(self) -> None:
        with pytest.raises(DataError, match="no image"):
            faithfulness_table(small(), {}, {})

    def test_baselines(self) -> None:
        x = torch.rand(2, 1, 8, 9)
        assert torch.equal(random_map(small(), x, 0)[0], random_map(small(), x, 1)[1])
        assert centre(small(), x, 0)[0].argmax() in (3 * 9 + 4, 4 * 9 + 4)
        assert edges(small(), torch.ones_like(x), 0).abs().max() == 0
