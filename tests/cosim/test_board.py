"""A whole board but its pins in simulation: the host's own program at one end of the line, the engine at the other."""

import json
import random

import numpy as np
import pytest
import torch

from quietbar.cli import main
from quietbar.contract import BlockConfig
from quietbar.contract.engine import EngineConfig, EngineError, Section
from quietbar.contract.errors import ConfigurationError, QuietbarError
from quietbar.integer import Bundle, IntegerTap, Scales, random_parameters
from quietbar.integer.image import engine_image
from quietbar_cosim import board as board_module
from quietbar_cosim.blocks import random_frames
from quietbar_cosim.board import BoardEngine, serial_design, simulated
from quietbar_cosim.engine import to_engine_beats
from quietbar_cosim.planting import planted
from quietbar_cosim.serial_line import SimulatedPort
from quietbar_hw.board.bridge import Bridge
from quietbar_hw.board.link import Link, LinkError
from quietbar_hw.board.protocol import CONTENT_BYTES, END, ESCAPE, NO_TAG, Request, Status, pack, unpack
from quietbar_hw.registers.driver import BusError

ENGINE = EngineConfig(
    lanes=2, group=2, channels=8, hidden=4, height=6, width=6, blocks=4, matrix_rows=32, window_rows=32, hidden_rows=8,
    channel_rows=16,
)  # fmt: skip
BLOCKS = {
    "mean": BlockConfig(8, 4, 6, 5),
    "padded": BlockConfig(5, 3, 4, 3, "dense", signed=True),
    "sampling": BlockConfig(6, 2, 3, 3, mode="sampling", signed=True),
}


def bundle_of(blocks):
    scales = Scales(activation=0.1, reduce=0.1, spatial=0.1)
    return Bundle({name: IntegerTap(name, random_parameters(block, 3), scales) for name, block in blocks.items()})


@pytest.fixture(scope="module")
def bundle():
    return bundle_of(BLOCKS)


@pytest.fixture
def port():
    found = simulated(ENGINE)
    yield found
    found.close()


@pytest.fixture
def board(bundle, port):
    return BoardEngine(port, engine_image(bundle, ENGINE))


def equal(board, bundle, tap, count=3, **changed):
    frames = random_frames(BLOCKS[tap], count, seed=1)
    return torch.equal(board.denoise(tap, frames, **changed), bundle.run(tap, frames, **changed))


@pytest.mark.parametrize("drift", [0.0, 0.02, -0.02])
def test_every_output_is_the_references_though_the_clocks_differ(bundle, drift):
    port = simulated(ENGINE, drift=drift)
    board = BoardEngine(port, engine_image(bundle, ENGINE))
    for tap in BLOCKS:
        assert equal(board, bundle, tap, seed=11)
        assert equal(board, bundle, tap, seed=11, start_frame=3)
    assert (port.spoilt, board.link.repeated) == (0, 0)
    assert not board.driver.errors()
    port.close()


def test_a_clock_far_off_is_told_not_waited_for(bundle):
    port = simulated(ENGINE, drift=0.3)
    with pytest.raises(LinkError, match="speed right"):
        BoardEngine(port, engine_image(bundle, ENGINE))
    port.close()


SMALL = EngineConfig(
    lanes=1, group=1, channels=2, hidden=2, height=4, width=4, blocks=2, matrix_rows=8, window_rows=8, hidden_rows=8,
    channel_rows=8, noise=False, kernels="depthwise",
)  # fmt: skip


@pytest.mark.parametrize(("fault", "same"), [("data", True), ("data ^ 1", False)])
def test_a_bit_flipped_in_the_bridge_shows(fault, same):
    bundle = bundle_of({"tap": BlockConfig(2, 2, 4, 4)})
    with planted(Bridge, "_send_beats", "waiting_in.i.p.data.eq(data)", f"waiting_in.i.p.data.eq({fault})"):
        port = SimulatedPort(serial_design.__wrapped__(SMALL, 8), 8)
    frames = random_frames(BlockConfig(2, 2, 4, 4), 2, 5)
    denoised = BoardEngine(port, engine_image(bundle, SMALL)).denoise("tap", frames)
    assert torch.equal(denoised, bundle.run("tap", frames)) == same
    port.close()


def test_another_engine_and_bad_arguments_are_refused_by_name(bundle, port, board):
    other = EngineConfig(**{**ENGINE.to_dict(), "blocks": 5})
    with pytest.raises(ConfigurationError, match=r"engine.blocks.count = 4: must be 5"):
        BoardEngine(port, engine_image(bundle, other))
    with pytest.raises(ConfigurationError, match=r"board.tap = 'nowhere'"):
        board.denoise("nowhere", random_frames(BLOCKS["mean"], 1, 0))
    with pytest.raises(ConfigurationError, match=r"mean.activations.shape"):
        board.denoise("mean", random_frames(BLOCKS["padded"], 1, 0))


def test_what_the_engine_refuses_is_told_word_by_word(board):
    with pytest.raises(QuietbarError, match=r"refused 0x00000000 at word .*: WRITE_BUSY"):
        board.driver.write([(ENGINE.address(Section.REDUCE), 0)])
    board.driver.stop()
    first = ENGINE.address(Section.REDUCE)
    with pytest.raises(QuietbarError, match=rf"refused 0x00000080 at word {first + 2:#x}: PARAMETER_RANGE"):
        board.driver.write([(first, 1), (first + 1, 2), (first + 2, 0x80), (first + 3, 3)])
    with pytest.raises(BusError, match="read at 0x3f0 is refused"):
        board.link.read(0x3F0)
    for address in (1 << 31, 0xFFFF_FFFC):
        with pytest.raises(BusError, match="is refused"):
            board.link.read(address)
        with pytest.raises(BusError, match="is refused"):
            board.link.write_words(address, [1, 2])


def ask(port, sent, spoilt=frozenset()):
    """The content of the answer to bytes on the line, None where there is none."""
    port.write(sent, spoilt)
    found = bytearray()
    while byte := port.read(1):
        if byte[0] == END:
            return unpack(bytes(found))
        found += byte
    return None


SPOILT = bytes([NO_TAG, Status.SPOILT])
READ = bytes([7, Request.READ, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("sent", "spoilt"),
    [
        (pack(READ)[:-2] + bytes([pack(READ)[-2] ^ 1, END]), ()),
        (pack(READ), (3,)),
        (pack(READ), (len(pack(READ)) - 1,)),
        (bytes([7, ESCAPE, 1, END]), ()),
        (bytes([7, ESCAPE, END]), ()),
        (bytes([7, END]), ()),
        (pack(bytes(CONTENT_BYTES + 1)), ()),
        (bytes(5000) + bytes([END]), ()),
    ],
    ids=["checksum", "stop bit", "stop bit of the end", "escape", "cut escape", "no checksum", "long", "overrun"],
)
def test_a_spoilt_packet_is_answered_as_such_and_the_next_is_fine(port, sent, spoilt):
    assert ask(port, pack(READ))[:2] == bytes([7, Status.OK])
    assert ask(port, sent, frozenset(spoilt)) == SPOILT
    assert ask(port, pack(READ))[:2] == bytes([7, Status.OK])


@pytest.mark.parametrize(
    "content",
    [
        [7],
        [7, 0],
        [7, 99],
        [7, 9, 1, 2, 3],
        [7, Request.READ],
        [7, Request.READ, 0, 0, 0],
        [7, Request.READ, 0, 0, 0, 0, 0],
        [7, Request.WRITE, 0, 0, 0, 0],
        [7, Request.WRITE, 0, 0, 0, 0, 1, 2, 3],
        [7, Request.SEND, 0, 1],
        [7, Request.SEND, 0, 1, 5],
        [7, Request.RECEIVE, 0],
        [7, Request.CLEAR, 0],
    ],
)
def test_a_request_that_is_none_is_answered_and_does_nothing(port, content):
    assert ask(port, pack(bytes(content))) == bytes([7, Status.UNKNOWN])
    assert ask(port, pack(bytes([8, Request.RECEIVE]))) == bytes([8, Status.OK, 0, 0])
    assert ask(port, pack(READ))[:2] == bytes([7, Status.OK])


def test_no_noise_on_the_line_hangs_the_board(bundle, port):
    source = random.Random(5)
    for _ in range(40):
        noise = source.randbytes(source.randrange(1, 400))
        port.write(noise, frozenset(at for at in range(len(noise)) if source.random() < 0.1))
    board = BoardEngine(port, engine_image(bundle, ENGINE))
    assert equal(board, bundle, "padded")


class SpoilingPort:
    """A line that flips a bit of one byte that is written, or read."""

    def __init__(self, port, of_write=None, of_read=None):
        self.port, self.of_write, self.of_read, self.written, self.read_so_far = port, of_write, of_read, 0, 0

    def write(self, data):
        changed = bytearray(data)
        if self.of_write is not None and self.written <= self.of_write < self.written + len(data):
            changed[self.of_write - self.written] ^= 4
        self.written += len(data)
        self.port.write(bytes(changed))

    def read(self, size):
        data = bytearray(self.port.read(size))
        if self.of_read is not None and self.read_so_far <= self.of_read < self.read_so_far + len(data):
            data[self.of_read - self.read_so_far] ^= 4
        self.read_so_far += len(data)
        return bytes(data)


def test_a_byte_spoilt_on_its_way_to_the_board_costs_a_repetition(bundle, port):
    spoiling = SpoilingPort(port, of_write=1000)
    board = BoardEngine(spoiling, engine_image(bundle, ENGINE))
    spoiling.of_write = spoiling.written + 30
    assert equal(board, bundle, "mean")
    assert board.link.repeated == 2


def test_a_byte_spoilt_on_its_way_back_is_told_and_recovered_from(bundle, port, board):
    spoiling = SpoilingPort(port)
    board = BoardEngine(spoiling, engine_image(bundle, ENGINE))
    spoiling.of_read = spoiling.read_so_far + 300
    with pytest.raises(LinkError, match="came spoilt"):
        equal(board, bundle, "mean")
    board.recover()
    assert equal(board, bundle, "mean")


def test_a_board_that_is_not_there_is_told():
    class Silent:
        def write(self, data):
            pass

        def read(self, size):
            return b""

    with pytest.raises(LinkError, match="did not answer READ in time"):
        Link(Silent()).read(0)


def test_where_there_is_no_room_nothing_is_taken_and_nothing_lost(bundle, board):
    frames = random_frames(BLOCKS["mean"], 12, seed=4)
    data = to_engine_beats(frames, board.image.taps["mean"], ENGINE).tobytes()
    board.driver.stop()
    parts = [(data[at : at + 240], at % 240 == 0) for at in range(0, len(data), 240)]
    sent = 0
    while board.link.send(0, *parts[sent]):
        sent += 1
    assert 2 <= sent < len(parts)
    board.driver.start()
    found = bytearray()
    while len(found) < len(data):
        sent += sent < len(parts) and board.link.send(0, *parts[sent])
        found += board.link.receive().data
    assert bytes(found) == to_engine_beats(bundle.run("mean", frames), board.image.taps["mean"], ENGINE).tobytes()


def test_frames_that_come_to_nothing_are_told_and_recovered_from(bundle, board, monkeypatch):
    monkeypatch.setattr(board_module, "PATIENCE", 5)
    data = bytes(240)
    with pytest.raises(QuietbarError, match=r"gives nothing for 6 requests; it tells of BLOCK_UNKNOWN"):
        board.exchange(data, 240, 3)
    with pytest.raises(QuietbarError, match=r"marks a frame as bad; it tells of FRAME_SHORT"):
        board.exchange(data[:100], 100, 0)
    assert board.driver.errors() == EngineError(0)
    assert equal(board, bundle, "mean")


def test_the_command_denoises_on_a_simulated_board_and_compares(bundle, tmp_path, capsys):
    bundle.save(tmp_path / "bundle")
    (tmp_path / "engine.json").write_text(json.dumps(ENGINE.to_dict()))
    words = ["board", str(tmp_path / "bundle"), "--simulate", "--engine", str(tmp_path / "engine.json")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert all(f"{tap}: 2 frames" in said for tap in BLOCKS)
    assert said.count("0 of") == len(BLOCKS)

    frames = random_frames(BLOCKS["mean"], 2, 7)
    np.save(tmp_path / "frames.npy", frames.numpy())
    files = ["--frames", str(tmp_path / "frames.npy"), "--output", str(tmp_path / "denoised.npy")]
    assert main([*words, "--tap", "mean", *files]) == 0
    assert (np.load(tmp_path / "denoised.npy") == bundle.run("mean", frames).numpy()).all()
    assert main([*words, *files]) == 2
    assert "--frames = 3: must be with one --tap" in capsys.readouterr().err
