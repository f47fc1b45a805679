"""A network of tiles in hardware: what it does with ill-framed images and misaddressed frames; foldings that fit."""

from dataclasses import replace

import pytest
import torch
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from quietbar.contract import ConfigurationError, CrossbarConfig
from quietbar.contract.tile_network import LayerConfig, to_part
from quietbar.integer.crossbar import design_converter, design_scale
from quietbar.integer.tile_network import Layer
from quietbar.integer.tile_network import TileNetwork as Reference
from quietbar.integer.tiles import Tiles
from quietbar_cosim.planting import planted
from quietbar_hw.crossbar.folding import CrossbarFolding
from quietbar_hw.crossbar.network import NetworkFolding, TileNetwork

TILE = CrossbarConfig(9, 2, noisy_programming=False, output="unsigned")
HEAD = CrossbarConfig(2, 3, noisy_programming=False)
LAYER = LayerConfig(4, 4, 1, TILE, stride=2)


def tiles(config, weights):
    scale = None if config.output == "sums" else design_scale(config, 1.0)
    return Tiles(config, torch.tensor(weights), design_converter(config, 16.0 * 127), 0, 0, scale)


NETWORK = Reference(
    (Layer(LAYER, tiles(TILE, [[0, 0]] * 4 + [[1, 0]] + [[0, 1]] * 4)),), tiles(HEAD, [[1, 0, 0], [0, 1, 0]])
)
IMAGES = torch.randint(0, 16, (4, 1, 4, 4), generator=torch.Generator().manual_seed(1))
ELEMENTS = NETWORK.config.image_elements
PART_ERRORS = 2 * 6
"""Bits of the errors of layer and head, below the network's own two."""
ILL_FRAMED, NO_PART = 1 << PART_ERRORS, 2 << PART_ERRORS


class Host:
    """The far ends of a network's streams."""

    def __init__(self, network, reset, context):
        self.network, self.reset, self.context = network, reset, context

    async def send(self, stream, words, last_at, patience=300):
        """How many of the words were taken; ``tlast`` with those whose number is in ``last_at``."""
        for number, word in enumerate(words):
            self.context.set(getattr(self.network, f"{stream}_tdata"), int(word))
            self.context.set(getattr(self.network, f"{stream}_tlast"), number in last_at)
            self.context.set(getattr(self.network, f"{stream}_tvalid"), 1)
            taken = False
            for _ in range(patience):
                taken = bool(self.context.get(getattr(self.network, f"{stream}_tready")))
                await self.context.tick()
                if taken:
                    break
            if not taken:
                self.context.set(getattr(self.network, f"{stream}_tvalid"), 0)
                return number
        self.context.set(getattr(self.network, f"{stream}_tvalid"), 0)
        return len(words)

    async def set_up(self):
        for frame in NETWORK.frames:
            assert await self.send("s_axis_cfg", frame, {len(frame) - 1}) == len(frame)

    async def image(self, number):
        """The class of an image."""
        elements = IMAGES[number].flatten().tolist()
        assert await self.send("s_axis", elements, {ELEMENTS - 1}) == ELEMENTS
        return await self.found()

    async def found(self, patience=300):
        self.context.set(self.network.m_axis_tready, 1)
        for _ in range(patience):
            valid, value = self.context.get(self.network.m_axis_tvalid), self.context.get(self.network.m_axis_tdata)
            await self.context.tick()
            if valid:
                return value
        return None

    async def begin_anew(self):
        self.context.set(self.reset, 1)
        await self.context.tick()
        self.context.set(self.reset, 0)
        assert not self.error

    @property
    def error(self):
        return self.context.get(self.network.error)


def simulate(bench):
    network, reset = TileNetwork(NETWORK.config, NetworkFolding.choose(NETWORK.config)), Signal()
    simulator = Simulator(ResetInserter(reset)(network))
    simulator.add_clock(1e-8)

    async def process(context):
        await bench(Host(network, reset, context))

    simulator.add_testbench(process)
    simulator.run()


def ill_framed(last_at, taken):
    """A bench: after a sound image one whose ``tlast`` is wrong, then a reset and a sound one again."""
    expected = NETWORK.classes(IMAGES).tolist()

    async def bench(host):
        await host.set_up()
        assert await host.image(0) == expected[0] and not host.error
        elements = IMAGES[1].flatten().tolist()
        assert await host.send("s_axis", [*elements, 0], last_at) == taken
        assert host.error == ILL_FRAMED
        assert await host.found() is None, "of an ill-framed image no class comes"
        await host.begin_anew()
        await host.set_up()
        assert await host.image(1) == expected[1] and not host.error

    return bench


# The beat that is wrong is not taken, nor any after it.
@pytest.mark.parametrize(("last_at", "taken"), [({5}, 5), ({ELEMENTS}, ELEMENTS - 1)], ids=["early", "missing"])
def test_an_ill_framed_image_stops_the_network_until_reset(last_at, taken):
    simulate(ill_framed(last_at, taken))


def absent_part():
    """A bench: frames to parts that are not there, before and between images."""
    expected = NETWORK.classes(IMAGES).tolist()

    async def bench(host):
        frame = to_part(NETWORK.frames[0], 9)
        assert await host.send("s_axis_cfg", frame, {len(frame) - 1}) == len(frame), "it is taken, and lost"
        assert host.error == NO_PART
        await host.set_up()
        assert await host.image(0) == expected[0]
        # Part 1 would be the denoiser of the layer, which has none.
        odd = to_part([1, 2, 3], 1)
        assert await host.send("s_axis_cfg", odd, {2}) == 3
        assert await host.image(1) == expected[1] and host.error == NO_PART

    return bench


def test_a_frame_to_an_absent_part_is_lost_and_told_and_harms_nothing():
    simulate(absent_part())


FAULTS = {
    "length": (
        (TileNetwork, "_take_images", "self.s_axis_tlast == element.at_end", "(self.s_axis_tlast | 1).bool()"),
        ill_framed({5}, 5),
    ),
    "part": (
        (TileNetwork, "_route_configuration", "m.d.sync += wrong.eq(1)", "m.d.sync += wrong.eq(0)"),
        absent_part(),
    ),
}
"""What is planted where, and the bench that catches it: the length unseen, the lost frame untold."""


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault):
    place, bench = FAULTS[fault]
    with planted(*place), pytest.raises(AssertionError, match="assert"):
        simulate(bench)


GOOD = NetworkFolding.choose(NETWORK.config)


@pytest.mark.parametrize(
    ("folding", "message"),
    [
        (replace(GOOD, layers=()), r"folding\.layers = 0: must be 1"),
        (replace(GOOD, layers=GOOD.layers * 2), r"folding\.layers = 2: must be 1"),
        (replace(GOOD, layers=(CrossbarFolding(3, 1, 9),)), r"folding\.layers\[0\] = \(3, 1\): must be 9 input lanes"),
        (replace(GOOD, layers=(CrossbarFolding(9, 2, 9),)), r"folding\.layers\[0\] = \(9, 2\): must be 9 input lanes"),
        (replace(GOOD, layers=(CrossbarFolding(9, 1, 4),)), r"folding\.rows = 4: must be a divisor of 9"),
        (replace(GOOD, layers=(CrossbarFolding(9, 1, 9, 3),)), r"folding\.columns = 3: must be a divisor of 2"),
        (replace(GOOD, head=CrossbarFolding(2, 1, 2)), r"folding\.head = \(2, 1\): must be 1 input lane"),
        (replace(GOOD, head=CrossbarFolding(1, 3, 2)), r"folding\.head = \(1, 3\): must be 1 input lane"),
        (replace(GOOD, head=CrossbarFolding(1, 1, 5)), r"folding\.rows = 5: must be a divisor of 2"),
    ],
)
def test_foldings_that_do_not_fit_are_refused_by_name(folding, message):
    with pytest.raises(ConfigurationError, match=message):
        folding.check(NETWORK.config)
    with pytest.raises(ConfigurationError, match=message):
        TileNetwork(NETWORK.config, folding)


def test_the_chosen_folding_fits():
    GOOD.check(NETWORK.config)
    assert GOOD.to_dict() == {
        "layers": ({"input_lanes": 9, "output_lanes": 1, "rows": 9, "columns": 1},),
        "head": {"input_lanes": 1, "output_lanes": 1, "rows": 2, "columns": 1},
    }
