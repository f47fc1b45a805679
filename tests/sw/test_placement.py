"""Placement of denoising blocks: the noisy layer is found, the choice is the best one, the budget holds."""

import itertools
import json
import math
import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from quietbar import analog, denoise, placement
from quietbar.contract import BlockConfig
from quietbar.contract.descriptor import stage_cycles
from quietbar.contract.engine import REFERENCE
from quietbar.contract.errors import ConfigurationError
from quietbar.data import Batches
from quietbar.models import create, digits_network
from quietbar.noise import Chip, Variation
from quietbar.placement import Plan, find_candidates, measure_sensitivity
from quietbar.placement.choice import RESOLUTION, Option, choose
from quietbar.placement.sensitivity import _Regression
from quietbar.training import cross_entropy, fit

STAGES = ["stage1", "stage2", "stage3", "stage4"]


def images(count: int = 64, size: int = 32, seed: int = 5) -> Batches:
    """Images of one class each: a bright quarter in noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    inputs = 0.3 * torch.rand(count, 1, 8, 8, generator=generator)
    for number, label in enumerate(labels.tolist()):
        inputs[number, 0, 4 * (label // 2) :, 4 * (label % 2) :][:4, :4] += 1.0
    return Batches(inputs, labels, size)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    model = digits_network(classes=4)
    fit(model, images(), torch.optim.Adam(model.parameters(), lr=1e-2), 8, loss=cross_entropy, progress=False)
    return model.eval()


def on_chip(network: nn.Module, sigma: float = 0.5, only: str = "*") -> nn.Module:
    model = analog.convert(network, Chip(7, Variation()))
    analog.calibrate(model, images())
    analog.set_variation(model, Variation(sigma=sigma), only)
    return model


@pytest.fixture
def noisy(network) -> nn.Module:
    return on_chip(network)


class TestChoice:
    @given(
        places=st.lists(
            st.tuples(
                st.floats(0, 10),
                st.lists(st.builds(Option, st.integers(1, 12), st.floats(0, 1)), max_size=3),
            ),
            min_size=1,
            max_size=5,
        ),
        budget=st.integers(1, 30),
    )
    def test_it_leaves_what_the_best_of_all_combinations_leaves(self, places, budget):
        damages, options = [damage for damage, _ in places], [choices for _, choices in places]

        def left_by(chosen) -> float:
            left = 0.0
            for damage, choices, number in zip(damages, options, chosen, strict=True):
                left = (left + damage) * (1 - (0 if number is None else choices[number].removed))
            return left

        def cost_of(chosen) -> int:
            return sum(options[place][number].cost for place, number in enumerate(chosen) if number is not None)

        everything = itertools.product(*([None, *range(len(choices))] for choices in options))
        best = min(left_by(chosen) for chosen in everything if cost_of(chosen) <= budget)
        chosen, left = choose(damages, options, budget)
        assert cost_of(chosen) <= budget
        assert left == left_by(chosen) == best

    @settings(max_examples=40, deadline=None)
    @given(
        places=st.lists(
            st.tuples(
                st.floats(1e-3, 10),
                st.lists(
                    st.builds(Option, st.integers(1, 12), st.floats(0, 1), st.tuples(st.integers(1, 9))), max_size=3
                ),
            ),
            min_size=1,
            max_size=5,
        ),
        budget=st.integers(1, 30),
        further=st.integers(0, 20),
    )
    def test_so_it_does_under_several_budgets(self, places, budget, further):
        damages, options = [damage for damage, _ in places], [choices for _, choices in places]

        def left_by(chosen) -> float:
            left = 0.0
            for damage, choices, number in zip(damages, options, chosen, strict=True):
                left = (left + damage) * (1 - (0 if number is None else choices[number].removed))
            return left

        def is_within(chosen) -> bool:
            taken = [options[place][number] for place, number in enumerate(chosen) if number is not None]
            return sum(each.cost for each in taken) <= budget and sum(each.costs[0] for each in taken) <= further

        everything = itertools.product(*([None, *range(len(choices))] for choices in options))
        best = min(left_by(chosen) for chosen in everything if is_within(chosen))
        chosen, left = choose(damages, options, budget, [further])
        assert is_within(chosen)
        assert left == left_by(chosen)
        assert left <= best + 1e-6 * sum(damages)

    def test_several_budgets_on_crowded_places(self):
        """Cases in which most sets are out of reach and the best ones lie close together."""
        draw = random.Random(7)
        for _ in range(100):
            damages = [draw.expovariate(1) for _ in range(4)]
            options = [
                [Option(draw.randint(1, 6), draw.uniform(0.1, 0.9), (draw.randint(1, 6),)) for _ in range(2)]
                for _ in damages
            ]
            chosen, left = choose(damages, options, 9, [9])
            lefts = []
            for every in itertools.product((None, 0, 1), repeat=4):
                taken = [options[place][number] for place, number in enumerate(every) if number is not None]
                if sum(each.cost for each in taken) <= 9 and sum(each.costs[0] for each in taken) <= 9:
                    behind = 0.0
                    for damage, choices, number in zip(damages, options, every, strict=True):
                        behind = (behind + damage) * (1 - (0 if number is None else choices[number].removed))
                    lefts.append((behind, every))
            assert left <= min(behind for behind, _ in lefts) + 1e-6 * sum(damages)
            assert (left, tuple(chosen)) in lefts

    def test_a_further_budget_out_of_reach_changes_nothing(self):
        damages = [3.0, 1.0, 2.0, 0.5, 1.5]
        options = [[Option(c, r, (c,)) for c, r in ((2, 0.2), (5, 0.45), (9, 0.6))] for _ in damages]
        for budget in (2, 7, 15, 30):
            assert choose(damages, options, budget, [1000]) == choose(damages, options, budget)

    def test_a_block_behind_takes_its_share_of_what_came_before(self):
        # The damage is all done at the first place, yet the better block behind it is the one to buy.
        chosen, left = choose([1.0, 0.0], [[Option(5, 0.5)], [Option(5, 0.75)]], 5)
        assert chosen == [None, 0]
        assert left == 0.25

    def test_damage_behind_the_last_block_is_out_of_its_reach(self):
        assert choose([1.0, 4.0], [[Option(5, 1.0)], [Option(5, 0.5)]], 5) == ([None, 0], 2.5)
        assert choose([1.0, 0.5], [[Option(5, 1.0)], [Option(5, 0.5)]], 5) == ([0, None], 0.5)

    def test_the_budget_holds_where_its_steps_are_coarse(self):
        budget = 3 * RESOLUTION + 1
        just_over, just_in = Option(budget // 2 + 2, 0.5), Option(budget // 2 - 8, 0.5)
        assert choose([1.0, 1.0], [[just_over], [just_over]], budget) == ([None, 0], 1.0)
        assert choose([1.0, 1.0], [[just_in], [just_in]], budget) == ([0, 0], 0.75)

    def test_what_removes_nothing_is_not_bought(self):
        assert choose([1.0], [[Option(1, 0.0)]], 10) == ([None], 1.0)


class TestRegression:
    def test_the_share_of_noise_that_can_be_removed(self):
        generator = torch.Generator().manual_seed(1)
        clean = torch.randn(16, 3, 32, 32, generator=generator)
        own = torch.randn(16, 1, 32, 32, generator=generator)

        def removable(noise: torch.Tensor) -> tuple[float, ...]:
            regression = _Regression()
            regression.add(clean + noise, clean, images=1)
            return regression.removable()

        # As loud as the signal and of its kind: the best estimate is half of what is seen; independent channels share.
        white = removable(torch.randn(clean.shape, generator=generator))
        assert white == pytest.approx([1 / 6, 2 / 6, 3 / 6], abs=0.01)
        # One direction only: rank 1 takes all that can be had, sums of channels telling more than one channel does.
        common = removable(own.expand(-1, 3, -1, -1))
        assert common == pytest.approx([0.75] * 3, abs=0.01)
        # A constant offset costs no rank, and no noise at all leaves nothing to remove.
        assert removable(torch.full_like(clean, 0.5)) == pytest.approx([1.0] * 3)
        assert removable(torch.zeros_like(clean)) == (0.0,) * 3

    def test_shares_grow_with_the_rank_and_are_shares(self, noisy):
        for measured in measure_sensitivity(noisy, images(), STAGES).values():
            shares = measured.removable
            assert list(shares) == sorted(shares)
            assert shares[0] > 0 and shares[-1] <= 1


class TestSensitivity:
    @pytest.mark.parametrize("planted", STAGES)
    def test_the_one_noisy_layer_is_found(self, network, planted):
        measured = measure_sensitivity(on_chip(network, 1.0, f"{planted}.conv"), images(), STAGES)
        assert measured[planted].damage > 0
        # New noise, where all taps before are clean: none behind the planted layer, and none in front of it.
        assert {name for name, each in measured.items() if each.damage > 0} == {planted}
        assert measured[planted].removable[-1] > 0.1

    def test_damage_of_small_noise_is_the_mean_square_of_the_losss_change(self, network):
        model = on_chip(network, 1e-3, "stage3.conv")
        data = images(size=64)
        damage = measure_sensitivity(model, data, ["stage3"])["stage3"].damage
        inputs, labels = next(iter(data))

        def losses() -> torch.Tensor:
            return nn.functional.cross_entropy(model(inputs).double(), labels, reduction="none")

        with torch.no_grad():
            analog.restart(model, denoise.training.FIRST_IMAGE)
            loud = losses()
            with analog.quiet(model):
                change = loud - losses()
        assert damage == pytest.approx(float(change.square().mean()), rel=0.05)

    def test_the_gradient_rule_does_not_look_at_the_noise(self, network):
        quiet, loud = (
            measure_sensitivity(on_chip(network, sigma, "stage4.conv"), images(), ["stage1"], rule="gradient")
            for sigma in (0.0, 1e-4)
        )
        assert quiet["stage1"].damage > 0
        assert loud["stage1"].damage == pytest.approx(quiet["stage1"].damage, rel=0.05)

    def test_batches_do_not_matter_and_the_noise_is_left_as_it_was(self, noisy):
        analog.restart(noisy, 12)
        one, many = (measure_sensitivity(noisy, images(size=size), STAGES) for size in (64, 16))
        for name in STAGES:
            assert one[name].damage == pytest.approx(many[name].damage, rel=1e-3)
            assert one[name].removable == pytest.approx(many[name].removable, rel=1e-3)
        assert set(analog.position(noisy).values()) == {12}
        assert not any(parameter.grad is not None for parameter in noisy.parameters())

    def test_only_so_many_images_are_looked_at(self, noisy):
        served = []

        class Counting:
            def __iter__(self):
                for batch in images(size=16):
                    served.append(batch)
                    yield batch

        measure_sensitivity(noisy, Counting(), STAGES, images=20)
        assert len(served) == 2


class TestCandidates:
    def test_stages_of_a_plain_network(self, network):
        assert find_candidates(network, images().images) == STAGES

    def test_blocks_of_a_residual_network_but_nothing_inside_a_branch(self):
        torch.manual_seed(0)
        names = find_candidates(create("resnet20").eval(), torch.randn(2, 3, 32, 32))
        assert names == ["relu", *(f"layer{layer}.{block}" for layer in (1, 2, 3) for block in range(3))]

    def test_a_network_without_any(self):
        with pytest.raises(ConfigurationError, match=r"search.candidates.*by name"):
            find_candidates(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.randn(2, 1, 2, 2))


class TestSearch:
    @pytest.mark.parametrize("budget", [0.015, 0.03, 0.1, 1.0])
    def test_the_plan_stays_within_the_budget_and_says_what_it_costs(self, noisy, budget):
        plan = placement.search(noisy, images(), budget)
        backbone = sum(parameter.numel() for parameter in noisy.parameters())
        assert [tap.name for tap in plan] == STAGES
        assert plan.backbone == backbone
        assert len(plan.selected) > 0
        assert plan.parameters == sum(tap.config.parameters for tap in plan.selected) <= budget * backbone
        assert plan.overhead == plan.parameters / backbone
        # What is inserted is what was planned.
        blocks = denoise.taps(denoise.insert(noisy, plan))
        assert {name: tap.config for name, tap in blocks.items()} == {tap.name: tap.config for tap in plan.selected}
        folded = [tensor for tap in blocks.values() for stage in tap.block.folded().values() for tensor in stage]
        assert sum(tensor.numel() for tensor in folded) == plan.parameters

    def test_more_budget_never_leaves_more_damage(self, noisy):
        left = [placement.search(noisy, images(), budget).remaining for budget in (0.015, 0.03, 0.1, 1.0)]
        assert left == sorted(left, reverse=True)
        assert 0 < left[-1] < left[0] < 1

    def test_no_block_goes_in_front_of_the_only_noisy_layer(self, network):
        plan = placement.search(on_chip(network, 1.0, "stage3.conv"), images(), 0.05)
        assert plan.selected
        assert {tap.name for tap in plan.selected} <= {"stage3", "stage4"}
        assert max(plan, key=lambda tap: tap.score).name == "stage3"

    def test_the_same_search_gives_the_same_plan(self, noisy):
        assert placement.search(noisy, images()) == placement.search(noisy, images())

    def test_candidates_widths_kernel_and_mode_can_be_asked_for(self, noisy):
        plan = placement.search(
            noisy, images(), 1.0, ["stage4", "stage2"], widths=[0.5], kernel="dense", mode="sampling"
        )
        assert [tap.config for tap in plan] == [
            BlockConfig(16, 8, 8, 8, "dense", "sampling"),
            BlockConfig(32, 16, 4, 4, "dense", "sampling"),
        ]

    def test_multiplications_and_engine_cycles_are_budgets_too(self, noisy):
        free = placement.search(noisy, images(), 0.2)
        assert free.multiplications > 20_000
        tight = placement.search(noisy, images(), 0.2, multiplications=20_000)
        assert 0 < tight.multiplications <= 20_000
        assert tight.remaining >= free.remaining

        def cycles(plan: Plan) -> int:
            frames = [(tap.config, tap.config.height * tap.config.width) for tap in plan.selected]
            return sum(max(stage_cycles(REFERENCE, config).values()) * pixels for config, pixels in frames)

        fast = placement.search(noisy, images(), 0.2, multiplications=20_000, cycles=cycles(tight) - 1)
        assert 0 < cycles(fast) < cycles(tight)
        assert fast.remaining >= tight.remaining

    def test_blocks_too_large_for_the_engine_are_not_offered(self, noisy):
        small = replace(REFERENCE, channels=16)
        plan = placement.search(noisy, images(), 0.2, cycles=10**6, engine=small)
        assert {tap.name for tap in plan.selected} <= {"stage1", "stage2"}
        assert [tap.name for tap in plan] == STAGES
        with pytest.raises(ConfigurationError, match=r"placement\.engine.*large enough for one of the blocks"):
            placement.search(noisy, images(), 0.2, cycles=10**6, engine=replace(REFERENCE, channels=8))

    def test_a_budget_too_small_for_any_block_names_the_least_that_buys_one(self, noisy):
        cheapest = BlockConfig(16, 2, 8, 8).parameters
        backbone = sum(parameter.numel() for parameter in noisy.parameters())
        least = math.ceil(1e4 * cheapest / backbone) / 1e4
        with pytest.raises(
            ConfigurationError, match=rf"budget = 0.001: .*at least {least:.4f}.* {cheapest} parameters"
        ):
            placement.search(noisy, images(), 0.001)
        assert placement.search(noisy, images(), least).parameters == cheapest

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"budget": 0.0}, r"placement\.budget = 0\.0"),
            ({"budget": 2.0}, r"placement\.budget"),
            ({"budget": float("nan")}, r"placement\.budget"),
            ({"budget": "2 %"}, r"placement\.budget"),
            ({"budget": True}, r"placement\.budget"),
            ({"widths": []}, r"placement\.widths"),
            ({"widths": [0.5, -1]}, r"placement\.widths"),
            ({"images": 0}, r"placement\.images"),
            ({"multiplications": 10}, r"placement\.multiplications = 10: must be an integer from \d{4}"),
            ({"cycles": 0}, r"placement\.cycles = 0: must be an integer from \d+"),
            ({"cycles": 1.5e3}, r"placement\.cycles"),
            ({"rule": "guess"}, r"search\.rule.*noise"),
            ({"kernel": "5x5"}, r"block\.kernel"),
            ({"candidates": ["stag2"]}, r"tap = 'stag2'.*stage2"),
            ({"candidates": ["stage1", "linear"]}, r"tap\.shape = \(32, 4\).*\(N, C, H, W\), at linear"),
            ({"candidates": ["stage1", "stage1"]}, "named once"),
            ({"candidates": []}, r"placement\.candidates = \[\]: must be at least one"),
        ],
    )
    def test_bad_arguments_are_refused(self, noisy, options, message):
        with pytest.raises(ConfigurationError, match=message):
            placement.search(noisy, images(), **options)

    def test_no_data_and_no_noise_are_refused(self, noisy, network):
        with pytest.raises(ConfigurationError, match=r"placement\.data"):
            placement.search(noisy, [])
        with pytest.raises(ConfigurationError, match=r"placement\.noise.*is the model's noise on"):
            placement.search(on_chip(network, 0.0), images())


class TestTrainedSearches:
    """Searches that train blocks: the planted noisy layer is found, and budgets hold."""

    TRAINING = placement.BlockTraining(epochs=3, learning_rate=1e-2)

    @pytest.mark.parametrize(
        "search", [placement.search_jointly, placement.search_greedily, placement.search_exhaustively]
    )
    def test_what_the_plan_says_is_left_is_left(self, network, search):
        model = on_chip(network, 1.5, "stage4.*")
        cheapest = BlockConfig(16, 4, 8, 8).parameters
        one = (BlockConfig(32, 8, 4, 4).parameters + 1) / sum(parameter.numel() for parameter in model.parameters())
        plan, denoised = search(model, images(400), images(200, seed=2), one, training=self.TRAINING)
        assert cheapest <= plan.parameters <= one * plan.backbone
        assert set(denoise.taps(denoised)) == {tap.name for tap in plan.selected}
        assert 0 < plan.remaining < 1

        def loss(network: nn.Module) -> float:
            analog.restart(network)
            with torch.no_grad():
                return float(denoise.Objective()(network.eval(), *next(iter(images(200, 200, seed=2)))))

        with denoise.without_blocks(denoised):
            before = loss(denoised)
        assert loss(denoised) / before == pytest.approx(plan.remaining, rel=1e-4)

    def test_the_best_of_all_subsets_is_no_worse_than_the_descents(self, noisy, monkeypatch):
        arguments = (noisy, images(200), images(200, seed=2), 0.07)
        whole, _ = placement.search_jointly(*arguments, training=self.TRAINING)
        monkeypatch.setattr(placement.trained, "EVERY_SUBSET", 1)
        descent, _ = placement.search_jointly(*arguments, training=self.TRAINING)
        assert whole.remaining <= descent.remaining
        assert max(whole.overhead, descent.overhead) <= 0.07
        with pytest.raises(ConfigurationError, match=r"placement\.candidates = 4"):
            placement.search_exhaustively(*arguments, training=self.TRAINING)

    def test_every_set_with_none_to_add_and_none_to_widen_is_trained(self, noisy, monkeypatch):
        """Compared with a list made the slow way: all sets that fit, less those that another one contains."""
        trained, insert = [], placement.trained.insert
        monkeypatch.setattr(placement.trained, "insert", lambda model, taps, **given: (
            trained.append({tap.name: tap.hidden for tap in taps}), insert(model, taps, **given)
        )[1])  # fmt: skip
        budget, widths = 0.05, (1 / 16, 1 / 8, 1 / 4)
        training = placement.BlockTraining(1)
        plan, _ = placement.search_exhaustively(
            noisy, images(32), images(32, seed=2), budget, widths=widths, training=training
        )
        sizes = {"stage1": (16, 8), "stage2": (16, 8), "stage3": (32, 4), "stage4": (32, 4)}
        options = {
            name: {0: 0} | {
                round(width * channels): BlockConfig(channels, round(width * channels), side, side).parameters
                for width in widths
            } for name, (channels, side) in sizes.items()
        }  # fmt: skip
        affordable = int(budget * plan.backbone)
        fitting = [
            hidden for hidden in itertools.product(*options.values())
            if 0 < sum(costs[each] for costs, each in zip(options.values(), hidden, strict=True)) <= affordable
        ]  # fmt: skip
        largest = [
            {name: each for name, each in zip(options, hidden, strict=True) if each} for hidden in fitting
            if not any(other != hidden and all(a <= b for a, b in zip(hidden, other, strict=True)) for other in fitting)
        ]  # fmt: skip
        assert sorted(trained, key=repr) == sorted(largest, key=repr) and len(largest) > 5
        assert {tap.name: tap.hidden for tap in plan.selected} in largest
        assert plan.parameters <= affordable

    def test_each_greedy_step_adds_or_widens_one_block_and_the_others_go_on(self, noisy):
        tried: list[tuple[dict[str, int], dict[str, list[float]], dict[str, list[float]]]] = []

        class Watched(placement.BlockTraining):
            def __call__(self, model: nn.Module, data: Batches, dropping: float = 0.0) -> None:
                before = weights_of(model)
                super().__call__(model, data, dropping)
                hidden = {name: tap.config.hidden for name, tap in denoise.taps(model).items()}
                tried.append((hidden, before, weights_of(model)))

        def weights_of(model: nn.Module) -> dict[str, list[float]]:
            return {name: tap.block.reduce.weight.flatten().tolist() for name, tap in denoise.taps(model).items()}

        plan, denoised = placement.search_greedily(
            noisy, images(100), images(32, seed=2), 0.05, widths=(1 / 4, 1 / 16, 1 / 8), training=Watched(2, 1e-2)
        )
        offered = {"stage1": (0, 1, 2, 4), "stage2": (0, 1, 2, 4), "stage3": (0, 2, 4, 8), "stage4": (0, 2, 4, 8)}

        def is_step(hidden: dict[str, int], earlier: dict[str, int]) -> bool:
            steps = [
                all_.index(hidden.get(name, 0)) - all_.index(earlier.get(name, 0)) for name, all_ in offered.items()
            ]
            return sorted(steps)[:3] == [0, 0, 0] and max(steps) > 0

        for number, (hidden, before, _) in enumerate(tried):
            assert any(
                is_step(hidden, earlier)
                and all(before[name] == after[name] for name in earlier if earlier[name] == hidden[name])
                for earlier, _, after in [({}, {}, {}), *tried[:number]]
            )
        chosen = {tap.name: tap.hidden for tap in plan.selected}
        assert chosen in [hidden for hidden, _, _ in tried] and set(denoise.taps(denoised)) == set(chosen)
        assert any(hidden > offered[name][1] for name, hidden in chosen.items()), "a block was widened"
        assert plan.parameters <= 0.05 * plan.backbone

    def test_blocks_are_left_out_at_random_but_never_all(self, noisy):
        quiet = denoise.insert(noisy, ["stage1", "stage2"], images().images)
        found, seen = denoise.taps(quiet), []
        handle = quiet.register_forward_hook(lambda *_: seen.append(tuple(tap.enabled for tap in found.values())))
        denoise.train(quiet, images(64, 4), 2, dropping=0.7, objective=denoise.Objective(1, 0, 0), progress=False)
        handle.remove()
        assert set(seen) == {(True, True), (True, False), (False, True)}
        assert all(tap.enabled for tap in found.values())

    def test_a_training_that_stops_leaves_no_block_out(self, noisy):
        quiet = denoise.insert(noisy, ["stage1", "stage2"], images().images)
        found = denoise.taps(quiet)

        def stop(*_):
            if not all(tap.enabled for tap in found.values()):
                raise KeyboardInterrupt

        quiet.register_forward_hook(stop)
        with pytest.raises(KeyboardInterrupt):
            denoise.train(quiet, images(64, 4), 2, dropping=0.7, objective=denoise.Objective(1, 0, 0), progress=False)
        assert all(tap.enabled for tap in found.values())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"budget": 0.001}, r"placement\.budget = 0\.001: must be at least"),
            ({"budget": 2}, r"placement\.budget = 2"),
            ({"width": -1.0}, r"placement\.width"),
            ({"candidates": ["stag2"]}, r"tap = 'stag2'"),
            ({"dropping": 1.0}, r"train\.dropping = 1\.0"),
            ({"data": []}, r"placement\.data"),
            ({"scoring": []}, r"placement\.scoring"),
            ({"candidates": []}, r"placement\.candidates = \[\]: must be at least one"),
        ],
    )
    def test_bad_arguments_are_refused(self, noisy, options, message):
        given = {"data": images(32), "scoring": images(32), "training": placement.BlockTraining(1), **options}
        with pytest.raises(ConfigurationError, match=message):
            placement.search_jointly(noisy, **given)
        for fields in ({"epochs": 0}, {"learning_rate": -1.0}):
            with pytest.raises(ConfigurationError, match=f"placement.training.{next(iter(fields))}"):
                placement.BlockTraining(**fields)


class TestPlan:
    def test_it_survives_json(self, noisy):
        plan = placement.search(noisy, images(), 0.03)
        assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan

    def test_its_table_names_every_tap_and_the_totals(self, noisy):
        plan = placement.search(noisy, images(), 0.03)
        head, *rows, total = plan.table().splitlines()
        assert head.split()[0] == "tap"
        assert [row.split()[0] for row in rows] == STAGES
        assert [row.split()[-1] == "block" for row in rows] == [tap.selected for tap in plan]
        assert f"{plan.parameters:,} parameters" in total

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda plan: plan.pop("budget"), "plan = "),
            (lambda plan: plan.update(extra=1), "plan = .*extra"),
            (lambda plan: plan["taps"][1].pop("score"), r"plan\.taps\[1\]"),
            (lambda plan: plan["taps"][0]["config"].update(hidden=0), r"block\.hidden"),
        ],
    )
    def test_a_damaged_one_is_refused_by_field(self, noisy, change, message):
        values = placement.search(noisy, images(), 0.03).to_dict()
        change(values)
        with pytest.raises(ConfigurationError, match=message):
            Plan.from_dict(values)
