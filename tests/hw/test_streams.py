# amaranth: UnusedElaboratable=no
"""The stream parts deliver everything, in order, at full speed, and keep what they offer until it is taken."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from quietbar.contract import ConfigurationError
from quietbar_hw.conv.replay import Replay
from quietbar_hw.simulation import run_streams
from quietbar_hw.stream import Fork, Queue, Resize, ResultQueue, delay

NUMBERS = [random.Random(1).randrange(256) for _ in range(96)]


def groups(numbers, size):
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


@pytest.mark.parametrize(("before", "after"), [(1, 1), (4, 4), (1, 4), (2, 6), (6, 2), (8, 1)])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_resize_keeps_order_and_speed(before, after, stall):
    resize = Resize(8, before, after)
    found = run_streams(resize, {"i": groups(NUMBERS, before)}, {"o": len(NUMBERS) // after}, stall=stall)
    assert found["o"] == groups(NUMBERS, after)
    if not stall:
        assert found["cycles"] == [len(NUMBERS) // min(before, after)]


def test_resize_refuses_uneven_sizes():
    with pytest.raises(ConfigurationError, match=r"resize.after = 4: must be a divisor or multiple of 6"):
        Resize(8, 6, 4)


@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_fork_gives_all_to_each(stall):
    found = run_streams(Fork(8, 3), {"i": NUMBERS}, {f"o_{index}": len(NUMBERS) for index in range(3)}, stall=stall)
    assert all(found[f"o_{index}"] == NUMBERS for index in range(3))
    assert stall or found["cycles"] == [len(NUMBERS)]


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_queue_keeps_order(block, stall):
    assert run_streams(Queue(8, 3, block=block), {"i": NUMBERS}, {"o": len(NUMBERS)}, stall=stall)["o"] == NUMBERS


@pytest.mark.parametrize(("length", "repeats"), [(1, 1), (1, 3), (4, 1), (4, 3)])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_replay_repeats_each_vector(length, repeats, stall):
    expected = [number for vector in groups(NUMBERS, length) for number in vector * repeats]
    found = run_streams(Replay(8, length, repeats), {"i": NUMBERS}, {"o": len(expected)}, stall=stall)
    assert found["o"] == expected
    assert stall or found["cycles"] == [len(expected) + length], "the first vector comes in, then all goes out"


class Squarer(wiring.Component):
    """A pipeline that cannot stop, made elastic: squares in ``latency`` cycles, ``burst`` times each."""

    def __init__(self, latency, burst, interval):
        self.latency, self.burst, self.interval = latency, burst, interval
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(16))})

    def elaborate(self, platform):
        m = Module()
        depth = ResultQueue.credit(self.latency, self.burst, self.interval)
        m.submodules.results = results = ResultQueue(16, depth, self.burst)
        wait, part = Signal(range(self.interval)), Signal(range(self.burst + 1))
        going = Signal()
        m.d.comb += [
            going.eq(self.i.valid & results.room & (wait == 0)),
            self.i.ready.eq(results.room & (wait == 0)),
            results.launch.eq(going),
            results.arrivals.payload.eq(delay(m, self.i.payload * self.i.payload, self.latency, "square")),
        ]
        with m.If(going):
            m.d.sync += wait.eq(self.interval - 1)
        with m.Elif(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        arriving = delay(m, going, self.latency, "arriving", reset_less=False)
        square = Signal(16)
        with m.If(arriving):
            m.d.sync += [part.eq(self.burst - 1), square.eq(results.arrivals.payload)]
        with m.Elif(part != 0):
            m.d.sync += part.eq(part - 1)
            m.d.comb += results.arrivals.payload.eq(square)
        m.d.comb += results.arrivals.valid.eq(arriving | (part != 0))
        wiring.connect(m, results.o, wiring.flipped(self.o))
        return m


@pytest.mark.parametrize(("latency", "burst", "interval"), [(1, 1, 1), (7, 1, 1), (7, 1, 5), (5, 3, 4), (9, 4, 4)])
def test_credit_suffices_for_full_speed_and_never_overflows(latency, burst, interval):
    squarer = Squarer(latency, burst, interval)
    expected = [number * number for number in NUMBERS for _ in range(burst)]
    full = run_streams(squarer, {"i": NUMBERS}, {"o": len(expected)})
    assert full["o"] == expected
    assert full["cycles"] == [(len(NUMBERS) - 1) * interval + latency + burst + Queue.LATENCY]
    assert run_streams(squarer, {"i": NUMBERS}, {"o": len(expected)}, stall=0.6)["o"] == expected


@pytest.mark.parametrize(
    ("component", "inputs"),
    [
        (Resize(8, 2, 4), groups(NUMBERS, 2)),
        (Resize(8, 4, 2), groups(NUMBERS, 4)),
        (Fork(8, 2), NUMBERS),
        (Queue(8, 2), NUMBERS),
        (Replay(8, 2, 2), NUMBERS),
        (Squarer(3, 1, 1), NUMBERS),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_offered_stays_until_taken(component, inputs):
    """The rule of streams: once valid, payload and valid stay until the transfer, whatever ready does meanwhile."""
    source, offers = random.Random(2), 0
    outputs = [port for name, port in vars(component).items() if name.startswith("o")]

    async def feed(context):
        for payload in inputs:
            context.set(component.i.payload, payload)
            context.set(component.i.valid, 1)
            taken = False
            while not taken:
                *_, taken = await context.tick().sample(component.i.ready)
            context.set(component.i.valid, 0)
            for _ in range(source.randrange(1, 3)):
                await context.tick()

    async def watch(context):
        nonlocal offers
        kept = [None] * len(outputs)
        for _ in range(300):
            for index, port in enumerate(outputs):
                valid, payload = context.get(port.valid), context.get(port.payload)
                # Also a consumer that asks for nothing before it is offered must be served.
                ready = valid and source.random() < 0.3
                context.set(port.ready, ready)
                payload = list(payload) if isinstance(payload, data.Const) else payload
                assert kept[index] is None or (valid and payload == kept[index])
                kept[index] = payload if valid and not ready else None
                offers += valid
            await context.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-8)
    simulator.add_testbench(feed, background=True)
    simulator.add_testbench(watch)
    simulator.run()
    assert offers > 50
