# amaranth: UnusedElaboratable=no
"""The denoiser equals the integer reference bit by bit, keeps to its cycle model, and is not confused by its users."""

import itertools
import random

import pytest
import torch
from amaranth.sim import Simulator

from quietbar.contract import BlockConfig, ConfigurationError
from quietbar.contract.seeds import derive_seed
from quietbar.contract.stream import FrameKind, seed_frame
from quietbar.integer import parameter_frame, random_parameters, run_block
from quietbar_hw.conv.folding import StageFolding
from quietbar_hw.denoiser import AxiDenoiser, Error, Folding
from quietbar_hw.denoiser.timing import cycles, output_times, skip_depth
from quietbar_hw.simulation import AxiStream, pack, run_streams

SEED = 11


def chosen(config, lanes, **options):
    return config, Folding.choose(config, lanes, **options)


CASES = {
    "depthwise mean": chosen(BlockConfig(8, 2, 4, 3), 4),
    "dense mean, one lane": chosen(BlockConfig(4, 2, 3, 3, kernel="dense"), 1),
    "sampling, signed": chosen(BlockConfig(8, 2, 3, 4, mode="sampling", signed=True), 4),
    "sampling, dense, two lanes": chosen(BlockConfig(4, 2, 2, 5, kernel="dense", mode="sampling"), 2),
    "sampling, one lane, one pixel": chosen(BlockConfig(5, 3, 1, 1, mode="sampling", fraction_bits=1), 1),
    "one column": chosen(BlockConfig(4, 4, 5, 1, signed=True, fraction_bits=7), 4),
    "one row": chosen(BlockConfig(6, 2, 1, 6), 2),
    "slow": chosen(BlockConfig(8, 4, 2, 3), 4, cycles_per_pixel=12),
    "uneven": (
        BlockConfig(12, 6, 2, 3, kernel="depthwise", mode="sampling", signed=True, fraction_bits=2),
        Folding(2, StageFolding(4, 2), StageFolding(3, 3), StageFolding(3, 4)),
    ),
}


class Case:
    """A block with random parameters and frames, and what must come of them."""

    def __init__(self, config, folding, frames=3, name="case"):
        seed = derive_seed(1, name)
        self.config, self.folding = config, folding
        self.parameters = random_parameters(config, seed)
        generator = torch.Generator().manual_seed(seed % (1 << 63))
        shape = (frames, config.channels, config.height, config.width)
        self.frames = torch.randint(config.activation.low, config.activation.high + 1, shape, generator=generator)
        self.expected = run_block(config, self.parameters, self.frames, SEED)
        self.top = AxiDenoiser(config, folding)

    @property
    def configuration(self):
        """The configuration frames."""
        frames = [parameter_frame(self.config, self.parameters)]
        return frames + [seed_frame(SEED, self.top.noise_lanes)] * (self.config.mode == "sampling")

    def beats(self, tensor):
        """Frames as payloads of data beats, ``tlast`` on top."""
        lanes = self.folding.lanes
        for frame in tensor.permute(0, 2, 3, 1).flatten(1).tolist():
            groups = [frame[start : start + lanes] for start in range(0, len(frame), lanes)]
            yield from (pack(group, 8) | (place == len(groups) - 1) << 8 * lanes for place, group in enumerate(groups))

    def run(self, **options):
        words = [word for frame in self.configuration for word in with_last(frame)]
        expected = list(self.beats(self.expected))
        found = run_streams(
            self.top,
            {"s_axis_cfg": words, "s_axis": self.beats(self.frames)},
            {"m_axis": len(expected)},
            load=["s_axis_cfg"],
            **options,
        )
        return found["m_axis"], expected


def with_last(words):
    """Configuration words as payloads, ``tlast`` on top of the last."""
    return [word | (place == len(words) - 1) << 32 for place, word in enumerate(words)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_equals_the_reference(name, stall):
    case = Case(*CASES[name], name=name)
    found, expected = case.run(stall=stall, seed=2)
    assert found == expected
    assert case.expected.unique().numel() > 3, "an expectation that hardly varies proves little"
    assert (case.expected != case.frames).any()


def test_lanes_do_not_change_the_samples():
    config = BlockConfig(4, 2, 2, 2, mode="sampling")
    for lanes in (1, 2, 4):
        found, expected = Case(config, Folding.choose(config, lanes), name="lanes").run()
        assert found == expected


class Host:
    """Whoever uses a denoiser, doing one thing after the other."""

    def __init__(self, case, context):
        self.case, self.context = case, context
        self.data, self.configuration, self.out = (
            AxiStream(case.top, name) for name in ("s_axis", "s_axis_cfg", "m_axis")
        )

    async def send(self, port, payloads, patience=400):
        """Send all payloads; how many were taken before patience ended."""
        for count, payload in enumerate(payloads):
            self.context.set(port.payload, payload)
            self.context.set(port.valid, 1)
            for waited in itertools.count():
                taken = self.context.get(port.ready)
                if not taken and waited == patience:
                    self.context.set(port.valid, 0)
                    return count
                await self.context.tick()
                if taken:
                    break
        self.context.set(port.valid, 0)
        return len(payloads)

    async def configure(self, frames=None):
        for frame in self.case.configuration if frames is None else frames:
            await self.send(self.configuration, with_last(frame))

    async def receive(self, count, patience=400):
        """Up to ``count`` payloads; fewer when patience ends."""
        found, waited = [], 0
        self.context.set(self.out.ready, 1)
        while len(found) < count and waited < patience:
            if self.context.get(self.out.valid):
                found.append(self.context.get(self.out.payload))
            waited += 1
            await self.context.tick()
        self.context.set(self.out.ready, 0)
        return found

    async def exchange(self, tensor):
        """Send frames and receive as many, one by one."""
        found = []
        for frame in tensor.split(1):
            payloads = list(self.case.beats(frame))
            assert await self.send(self.data, payloads) == len(payloads)
            found += await self.receive(len(payloads))
        return found

    async def reset(self, signal):
        self.context.set(signal, 1)
        await self.context.tick()
        self.context.set(signal, 0)

    @property
    def error(self):
        return Error(self.context.get(self.case.top.error))


def scenario(case, act):
    """Run ``await act(host, reset)`` on a denoiser with a reset."""
    from amaranth.hdl import ResetInserter, Signal

    reset = Signal()

    async def bench(context):
        await act(Host(case, context), reset)

    simulator = Simulator(ResetInserter(reset)(case.top))
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()


def small(name, mode="sampling", frames=2):
    config = BlockConfig(4, 2, 2, 2, mode=mode)
    return Case(config, Folding.choose(config, 2), frames, name)


@pytest.mark.parametrize("moment", [1, 3, 5, 8])
def test_reset_in_the_middle_of_a_frame(moment):
    """After reset and configuration all is as at first, sampling included, whatever was under way."""
    case = small("reset")

    async def act(host, reset):
        await host.configure()
        await host.send(host.data, list(case.beats(case.frames))[:moment])
        await host.context.tick().repeat(5 * moment)
        await host.reset(reset)
        assert not host.context.get(host.out.valid)
        await host.configure()
        assert await host.exchange(case.frames) == list(case.beats(case.expected))
        assert not host.error

    scenario(case, act)


def test_configuration_between_frames():
    """New parameters and a new seed hold for the frames after them, and for those only, with no pause asked for."""
    case, other = small("first"), small("second")
    expected = [*case.beats(case.expected), *other.beats(other.expected)]

    async def act(host, reset):
        found = []
        await host.configure()
        assert await host.send(host.data, list(case.beats(case.frames))) == 16
        # The frames are still inside: the first word of the next configuration has to wait for them.
        assert await host.send(host.configuration, with_last(other.configuration[0]), patience=100) == 0
        found += await host.receive(16)
        await host.configure(other.configuration)
        found += await host.exchange(other.frames)
        assert found == expected
        assert not host.error

    scenario(case, act)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_new_seed_begins_with_its_first_sample(channels):
    """Also where a frame of an odd number of outputs has left half a pair of samples behind."""
    config = BlockConfig(channels, 2, 1, 1, mode="sampling", fraction_bits=7)
    case = Case(config, Folding.choose(config, 1), 3, "seeds")

    async def act(host, reset):
        await host.configure()
        for _ in range(3):
            assert await host.exchange(case.frames) == list(case.beats(case.expected))
            await host.configure(case.configuration[1:])
        assert not host.error

    scenario(case, act)


def test_data_waits_for_its_configuration():
    case = small("waiting")
    beats = list(case.beats(case.frames[:1]))

    async def act(host, reset):
        assert await host.send(host.data, beats, patience=20) == 0
        assert host.error == Error.NOT_CONFIGURED
        await host.configure(case.configuration[:1])
        assert await host.send(host.data, beats, patience=20) == 0
        await host.configure(case.configuration[1:])
        assert await host.exchange(case.frames) == list(case.beats(case.expected))
        await host.reset(reset)
        assert not host.error

    scenario(case, act)


@pytest.mark.parametrize("wrong", ["early", "missing"])
def test_a_wrong_end_of_frame_is_told_and_nothing_wrong_comes_out(wrong):
    case = small("ends", frames=3)
    good, bad = list(case.beats(case.frames[:1])), list(case.beats(case.frames[1:2]))
    last = 1 << 16
    if wrong == "early":
        bad[4] |= last
    else:
        bad[-1] &= last - 1

    async def act(host, reset):
        await host.configure()
        assert await host.send(host.data, good + bad + good, patience=50) == 8 + (5 if wrong == "early" else 8)
        assert host.error == Error.FRAME_LENGTH
        assert await host.receive(100, patience=200) == list(case.beats(case.expected[:1]))
        await host.reset(reset)
        assert not host.error
        await host.configure()
        assert await host.exchange(case.frames) == list(case.beats(case.expected))

    scenario(case, act)


def broken_frames(case):
    parameters, seed = case.configuration
    yield "unknown kind", [99, 1, 2, 3], Error.CONFIGURATION_KIND
    yield "unknown kind alone", [0], Error.CONFIGURATION_KIND
    yield "another component's kind", [FrameKind.PROGRAM, *parameters[1:]], Error.CONFIGURATION_KIND
    yield "kind alone", parameters[:1], Error.CONFIGURATION_LENGTH
    yield "parameters too short", parameters[:-1], Error.CONFIGURATION_LENGTH
    yield "parameters end within a stage", parameters[:5], Error.CONFIGURATION_LENGTH
    yield "parameters too long", [*parameters, 0, 0], Error.CONFIGURATION_LENGTH
    yield "seed too short", seed[:-3], Error.CONFIGURATION_LENGTH
    yield "seed too long", [*seed, 5], Error.CONFIGURATION_LENGTH
    for component in range(5):
        word = 1 + 2 * component
        yield f"seed without component {component}", [*seed[:word], 1, 0, *seed[word + 2 :]], Error.PARAMETER_RANGE
    for place, word, what in (
        (1, 128, "weight"),
        (1, (1 << 32) - 128, "weight"),
        (9, 1 << 23, "bias"),
        (11, (1 << 15) - 1, "multiplier"),
        (13, 48, "shift"),
        (13, 0, "shift"),
        (len(parameters) - 1, 0, "last shift"),
    ):
        yield f"{what} {word}", [*parameters[:place], word, *parameters[place + 1 :]], Error.PARAMETER_RANGE


def test_a_broken_configuration_is_told_and_mended():
    """Each kind of broken frame sets its bit; data then waits, unless the frame was ignored; good frames mend it."""
    case = small("broken", frames=1)
    beats = list(case.beats(case.frames))

    async def act(host, reset):
        for name, frame, error in broken_frames(case):
            await host.reset(reset)
            await host.configure()
            await host.configure([frame])
            await host.context.tick().repeat(3)
            assert host.error == error, name
            ignored = error == Error.CONFIGURATION_KIND
            if not ignored:
                assert await host.send(host.data, beats, patience=10) == 0, name
                assert host.error == error | Error.NOT_CONFIGURED, name
                await host.configure()
            assert await host.exchange(case.frames) == list(case.beats(case.expected)), name

    scenario(case, act)


def random_block(source):
    """A small configuration and a folding that fits it, both at random."""

    def divisor(number):
        return source.choice([candidate for candidate in range(1, number + 1) if number % candidate == 0])

    while True:
        config = BlockConfig(
            source.choice([1, 2, 4, 6, 8]), source.randint(1, 4), source.randint(1, 5), source.randint(1, 5),
            source.choice(["depthwise", "dense"]), source.choice(["mean", "sampling"]), source.random() < 0.5,
        )  # fmt: skip
        stages = [StageFolding(divisor(stage.inputs), divisor(stage.outputs)) for stage in config.stages[:3]]
        folding = Folding(divisor(config.channels), *stages)
        try:
            folding.check(config)
        except ConfigurationError:
            continue
        return config, folding


@pytest.mark.parametrize("number", range(12))
def test_random_blocks_equal_reference_and_cycle_model(number):
    source = random.Random(number)
    config, folding = random_block(source)
    frames = source.randint(1, 4)
    case = Case(config, folding, frames, f"random {number}")
    arrivals = arrival_times(case)
    expected = list(case.beats(case.expected))
    assert [payload for _, payload in arrivals] == expected, (config, folding)
    assert [cycle for cycle, _ in arrivals] == output_times(config, folding, frames).tolist(), (config, folding)


def arrival_times(case):
    """Cycle (from the first data beat's on) and payload of each output beat, without stalls."""
    found, beats = [], list(case.beats(case.frames))

    async def act(host, reset):
        await host.configure()
        await host.context.tick().repeat(60)
        host.context.set(host.out.ready, 1)
        waiting = beats[::-1]
        for cycle in itertools.count():
            host.context.set(host.data.valid, bool(waiting))
            if waiting:
                host.context.set(host.data.payload, waiting[-1])
            if host.context.get(host.out.valid):
                found.append((cycle, host.context.get(host.out.payload)))
            if len(found) == len(beats):
                return
            if waiting and host.context.get(host.data.ready):
                waiting.pop()
            await host.context.tick()

    scenario(case, act)
    return found


@pytest.mark.parametrize(
    ("channels", "hidden", "size"), [(16, 4, 32), (32, 8, 16), (64, 16, 8)], ids=["16", "32", "64"]
)
@pytest.mark.parametrize("mode", ["mean", "sampling"])
def test_a_balanced_block_uses_every_multiplier_in_every_cycle(channels, hidden, size, mode):
    """The taps of the CIFAR-10 networks: frames follow each other as fast as the data streams carry them."""
    config = BlockConfig(channels, hidden, size, size, mode=mode)
    folding = Folding.choose(config, lanes=4)
    assert cycles(config, folding).per_frame == channels // 4 * size * size
    assert folding.utilization(config) == 1.0
    assert skip_depth(config, folding) < (size + 12) * channels // 4 + 60, "a row and a little"


@pytest.mark.parametrize(
    ("lanes", "reduce", "spatial", "head", "message"),
    [
        (3, (1, 1), (9, 1), (1, 1), "folding.lanes = 3: must be a divisor of 8 channels"),
        (4, (3, 1), (9, 1), (1, 1), "reduce.simd = 3: must be a divisor of 8 inputs"),
        (4, (1, 1), (9, 4), (1, 1), "spatial.pe = 4: must be a divisor of 6 outputs"),
        (4, (8, 2), (9, 3), (1, 1), "folding.spatial.pe = 3: must be a divisor or a multiple of 2"),
        (4, (8, 2), (9, 2), (6, 0), "folding.pe = 0: must be an integer from 1"),
        (1, (8, 2), (9, 2), (3, 1), "folding.head.simd = 3: must be a divisor or a multiple of 2"),
    ],
)
def test_refuses_a_folding_that_does_not_fit(lanes, reduce, spatial, head, message):
    with pytest.raises(ConfigurationError, match=message):
        Folding(lanes, *(StageFolding(*pair) for pair in (reduce, spatial, head))).check(BlockConfig(8, 6, 2, 2))


def test_refuses_lanes_that_split_pairs_of_samples():
    config = BlockConfig(9, 3, 2, 2, mode="sampling")
    with pytest.raises(ConfigurationError, match=r"folding.lanes = 3: must be 1 or even: samples come in pairs"):
        Folding.choose(config, 3)
    with pytest.raises(ConfigurationError, match=r"folding.cycles_per_pixel = 0: must be an integer from"):
        Folding.choose(config, 1, cycles_per_pixel=0)


def test_folding_survives_a_manifest():
    folding = CASES["uneven"][1]
    assert Folding.from_dict(folding.to_dict()) == folding
    with pytest.raises(ConfigurationError, match="folding = "):
        Folding.from_dict({"lanes": 2})
