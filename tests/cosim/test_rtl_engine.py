"""The engine's RTL as modules: all blocks of a bundle in one engine, the reference's integers bit for bit."""

import contextlib
from dataclasses import replace

import pytest
import torch

from quietbar.contract import BlockConfig
from quietbar.contract.engine import EngineConfig, EngineError, Section
from quietbar.contract.errors import ConfigurationError, QuietbarError
from quietbar.integer import Bundle, IntegerTap, Scales, random_parameters
from quietbar.integer.engine import seed_writes
from quietbar_cosim.blocks import random_frames
from quietbar_cosim.engine import BulkBus, RTLEngine, open_engine, to_engine_beats
from quietbar_cosim.rules import StreamError
from quietbar_hw.engine.driver import EngineDriver, EngineStuck
from quietbar_hw.registers.driver import BusError, SerialBus

ENGINE = EngineConfig(
    lanes=2, group=2, channels=8, hidden=4, height=6, width=6, blocks=4, matrix_rows=32, window_rows=32, hidden_rows=8,
    channel_rows=16,
)  # fmt: skip
BLOCKS = {
    "mean": BlockConfig(8, 4, 6, 5),
    "padded": BlockConfig(5, 3, 4, 3, "dense", signed=True),
    "sampling": BlockConfig(6, 2, 3, 3, mode="sampling", signed=True),
}


@pytest.fixture(scope="module")
def bundle():
    scales = Scales(activation=0.1, reduce=0.1, spatial=0.1)
    return Bundle({name: IntegerTap(name, random_parameters(block, 3), scales) for name, block in BLOCKS.items()})


@pytest.fixture(scope="module")
def engine(bundle):
    found = RTLEngine(bundle, ENGINE, threads=2)
    yield found
    found.close()


def test_an_engine_with_the_inverse_cdf_draws_its_samples(bundle):
    """Any number of samples may have been drawn before; those of Box-Muller, or of another seed, give other outputs."""
    engine = RTLEngine(bundle, replace(ENGINE, source="inverse-cdf"), threads=1)
    frames, start = random_frames(BLOCKS["sampling"], 5, seed=1), 3
    denoised = engine.tap(bundle, "sampling")(frames, seed=11, start_frame=start)
    assert torch.equal(denoised, bundle.run("sampling", frames, 11, start, source="inverse-cdf"))
    wrong_seed = engine.tap(bundle, "sampling")(frames, seed=12, start_frame=start)
    engine.close()
    assert not torch.equal(wrong_seed, denoised)
    assert not torch.equal(bundle.run("sampling", frames, 11, start), denoised)


@pytest.mark.parametrize("tap", list(BLOCKS))
@pytest.mark.parametrize("start_frame", [0, 3])
def test_every_output_is_the_references(bundle, engine, tap, start_frame):
    frames = random_frames(BLOCKS[tap], 5, seed=1)
    denoised = engine.tap(bundle, tap)(frames, seed=11, start_frame=start_frame)
    assert torch.equal(denoised, bundle.run(tap, frames, seed=11, start_frame=start_frame))
    assert denoised.dtype == frames.dtype


def test_a_batch_may_be_cut_at_will(bundle, engine, monkeypatch):
    monkeypatch.setattr("quietbar_cosim.engine.CHUNK_BEATS", 100)
    for tap in BLOCKS:
        frames = random_frames(BLOCKS[tap], 7, seed=2)
        assert torch.equal(engine.tap(bundle, tap)(frames, seed=3), bundle.run(tap, frames, seed=3))


def test_a_word_flipped_in_memory_shows(bundle, engine):
    """The comparison of the tests above can fail."""
    simulator, driver = open_engine(engine.design, engine.image)
    address, word = next(write for write in engine.image.writes if write[0] == ENGINE.address(Section.MEAN_SCALE))
    driver.load([(address, word ^ 1 << 20)])
    frames = random_frames(BLOCKS["mean"], 5, seed=1)
    spoilt, *_ = engine._run("mean", frames, 0, 0, simulator, driver)
    simulator.close()
    assert not torch.equal(spoilt, bundle.run("mean", frames))


def test_a_seed_that_cannot_be_is_refused():
    with pytest.raises(ConfigurationError, match="start = 3: must be even"):
        list(seed_writes(ENGINE, 1, 3))
    assert len(list(seed_writes(replace(ENGINE, source="inverse-cdf"), 1, 3))) == 10
    with pytest.raises(ConfigurationError, match=r"engine.noise = False: must be True"):
        list(seed_writes(replace(ENGINE, noise=False), 1))


def test_bad_input_is_refused(bundle, engine):
    tap = engine.tap(bundle, "mean")
    with pytest.raises(ConfigurationError, match="mean"):
        tap(random_frames(BLOCKS["padded"], 1, 0))
    with pytest.raises(ConfigurationError, match=r"bundle.tap = 'nowhere'"):
        engine.tap(bundle, "nowhere")
    with pytest.raises(QuietbarError, match="another bundle"):
        engine.tap(Bundle(bundle.taps), "mean")
    with pytest.raises(ConfigurationError, match=r"rtl_engine.threads = 0"):
        RTLEngine(bundle, ENGINE, threads=0)


@pytest.fixture
def opened(engine):
    simulator, driver = open_engine(engine.design, engine.image)
    yield simulator, driver
    simulator.close()


def send(engine, simulator, tap, count=2, **changed):
    beats = to_engine_beats(random_frames(BLOCKS[tap], count, 5), engine.image.taps[tap], ENGINE)
    size = len(beats) // count
    arguments = {"frame_beats": size, "output_beats": len(beats), "output_frame_beats": size, "patience": 5000}
    return simulator.run(beats=beats, identifier=engine.image.block(tap), **{**arguments, **changed})


def test_the_bare_loop_gives_the_same_outputs(engine, opened):
    beats = to_engine_beats(random_frames(BLOCKS["mean"], 2, 5), engine.image.taps["mean"], ENGINE)
    checked = send(engine, opened[0], "mean")
    bare = opened[0].bare(beats, frame_beats=len(beats) // 2)
    assert (bare.output == checked.output).all()


def test_counters_and_events_are_read_through_the_driver(engine, opened):
    simulator, driver = opened
    send(engine, simulator, "mean", 3)
    assert driver.counters()["frames"] == 3
    assert driver.device.events.finished
    driver.clear_counters()
    assert driver.counters()["frames"] == 0
    assert driver.device.control.run, "still running"
    assert not driver.errors()


def test_a_frame_marked_bad_ends_the_run_and_is_recovered_from(engine, opened):
    simulator, driver = opened
    with pytest.raises(StreamError, match="m_axis_tuser"):
        send(engine, simulator, "mean", frame_beats=7)
    assert EngineError.FRAME_SHORT in driver.errors()
    assert EngineError.FRAME_SHORT in driver.recover()
    assert not driver.errors()
    driver.load([])
    send(engine, simulator, "mean")


def test_the_memory_of_a_running_engine_is_refused_by_name(opened):
    driver = opened[1]
    with pytest.raises(QuietbarError, match=r"refused 0x00000000 at word .*: WRITE_BUSY"):
        driver.write([(ENGINE.address(Section.REDUCE), 0)])
    driver.stop()
    with pytest.raises(QuietbarError, match="PARAMETER_RANGE"):
        driver.write([(ENGINE.address(Section.REDUCE), 0x80)])
    driver.write([(ENGINE.address(Section.REDUCE), 0x81)])


class Bridge:
    """The far end of a serial line: takes UARTBone's messages to a bus, and says nothing of what the bus refuses."""

    def __init__(self, bus):
        self.bus, self.came, self.answers = bus, b"", b""

    def write(self, data):
        self.came += data
        while self.came and len(self.came) >= (10 if self.came[0] == 1 else 6):
            (command, count), address = self.came[:2], int.from_bytes(self.came[2:6], "big") * 4
            assert count == 1
            if command == 1:
                with contextlib.suppress(BusError):
                    self.bus.write(address - BASE, int.from_bytes(self.came[6:10], "big"))
                self.came = self.came[10:]
            else:
                self.answers += self.bus.read(address - BASE).to_bytes(4, "big")
                self.came = self.came[6:]

    def read(self, size):
        """As a line does: what is there, but never all at once."""
        size = min(size, 3)
        answer, self.answers = self.answers[:size], self.answers[size:]
        return answer


BASE = 0x4000_0000


def test_the_same_driver_works_over_a_serial_bridge(engine, bundle):
    simulator, _ = open_engine(engine.design, engine.image)
    driver = EngineDriver(SerialBus(Bridge(BulkBus(simulator)), BASE), ENGINE)
    driver.stop()
    with pytest.raises(QuietbarError, match="the engine refused words of its memory: PARAMETER_RANGE"):
        driver.write([(ENGINE.address(Section.REDUCE), 0x80)])
    assert not driver.errors(), "told, and cleared"
    driver.load(engine.image.writes)
    frames = random_frames(BLOCKS["mean"], 5, seed=1)
    denoised, *_ = engine._run("mean", frames, 0, 0, simulator, driver)
    simulator.close()
    assert torch.equal(denoised, bundle.run("mean", frames))


def test_a_serial_line_that_falls_silent_is_a_bus_error():
    class Silent:
        def write(self, data):
            pass

        def read(self, size):
            return b""

    with pytest.raises(BusError, match="read of 0x40: 0 of 4 bytes came"):
        SerialBus(Silent()).read(0x40)


def test_frames_without_streams_are_refused(opened, engine):
    frames = random_frames(BLOCKS["mean"], 1, 5).numpy()
    with pytest.raises(QuietbarError, match="made without streams"):
        opened[1].denoise(engine.image.taps["mean"], 0, frames)


def test_an_engine_that_cannot_let_go_of_its_frames_is_told(engine, opened):
    simulator, driver = opened
    beats = to_engine_beats(random_frames(BLOCKS["mean"], 1, 5), engine.image.taps["mean"], ENGINE)
    simulator.run(beats=beats[:5], frame_beats=len(beats), identifier=0)
    with pytest.raises(EngineStuck, match="still busy after 20 reads"):
        driver.stop(polls=20)
    driver.recover()
    driver.stop(polls=20)


def test_another_engine_is_told_by_its_register(opened):
    other = EngineConfig(**{**ENGINE.to_dict(), "blocks": 5})
    with pytest.raises(ConfigurationError, match=r"engine.blocks.count = 4: must be 5"):
        EngineDriver(BulkBus(opened[0]), other)
    with pytest.raises(ConfigurationError, match=r"engine.shape.inverse_cdf = 0: must be 1"):
        EngineDriver(BulkBus(opened[0]), replace(ENGINE, source="inverse-cdf"))


def test_an_address_with_nothing_behind_it_is_a_bus_error(opened):
    with pytest.raises(BusError, match=r"the read at 0x3f0 is refused with response 2"):
        BulkBus(opened[0]).read(0x3F0)
