"""The serial link's parts: what the host packs the hardware reads, what the hardware packs the host reads."""

import importlib.util

import pytest
from amaranth.hdl import Module, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given
from hypothesis import strategies as st

from quietbar.contract.errors import ConfigurationError
from quietbar_hw.board.bitstream import NAME, Build
from quietbar_hw.board.packets import PacketReceiver, PacketSender
from quietbar_hw.board.protocol import CONTENT_BYTES, END, ESCAPE, SpoiltPacket, pack, unpack
from quietbar_hw.board.top import SerialEngine
from quietbar_hw.board.uart import UartReceiver, UartTransmitter
from quietbar_hw.board.ulx3s import BOARD_ENGINE, Pll, Ulx3s
from quietbar_hw.formal import StreamRules, prove
from quietbar_hw.simulation import run_streams

CONTENTS = [
    b"\0",
    bytes([END]),
    bytes([ESCAPE, END, 0, 0xDC, 0xDD]),
    bytes(range(CONTENT_BYTES)),
    bytes([ESCAPE] * CONTENT_BYTES),
]


class Plain(wiring.Component):
    """A part between streams of plain bits; for a proof its surroundings keep the rules that it is held to."""

    def __init__(self, part, bits_in, bits_out, proof=False):
        self.part, self.proof = part, proof
        super().__init__({"i": In(stream.Signature(bits_in)), "o": Out(stream.Signature(bits_out))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.part = part = self.part
        m.d.comb += [
            Value.cast(part.i.payload).eq(self.i.payload),
            part.i.valid.eq(self.i.valid),
            self.i.ready.eq(part.i.ready),
            self.o.payload.eq(Value.cast(part.o.payload)),
            self.o.valid.eq(part.o.valid),
            part.o.ready.eq(self.o.ready),
        ]
        if self.proof:
            StreamRules.watch(m, self.i, "rules_in", "assume")
            StreamRules.watch(m, self.o, "rules_out")
        return m


@given(st.binary(min_size=1, max_size=300))
def test_what_is_packed_is_unpacked(content):
    packet = pack(content)
    assert packet[-1] == END
    assert END not in packet[:-1]
    assert unpack(packet[:-1]) == content


@given(st.binary(min_size=1, max_size=60), st.data())
def test_every_flipped_bit_of_a_packet_shows(content, data):
    packet = bytearray(pack(content)[:-1])
    at = data.draw(st.integers(0, len(packet) - 1))
    packet[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SpoiltPacket):
        unpack(bytes(packet))


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_the_hardware_reads_what_the_host_packs(stall):
    line = b"".join(bytes([END]) * (number % 2) + pack(content) for number, content in enumerate(CONTENTS))
    count = sum(map(len, CONTENTS))
    received = run_streams(Plain(PacketReceiver(), 9, 10), {"i": list(line)}, {"o": count}, stall=stall)["o"]
    assert received == [byte | (at == len(each) - 1) << 8 for each in CONTENTS for at, byte in enumerate(each)]


@pytest.mark.parametrize("stall", [0.0, 0.3])
def test_the_host_reads_what_the_hardware_packs(stall):
    sent = [{"byte": byte, "last": at == len(each) - 1} for each in CONTENTS for at, byte in enumerate(each)]
    line = b"".join(map(pack, CONTENTS))
    assert bytes(run_streams(PacketSender(), {"i": sent}, {"o": len(line)}, stall=stall)["o"]) == line


class Loop(wiring.Component):
    """A transmitter whose line ends at a receiver."""

    i: In(stream.Signature(8))
    o: Out(stream.Signature(9))

    def __init__(self, divisor):
        self.divisor = divisor
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.send, m.submodules.receive = send, receive = (
            UartTransmitter(self.divisor),
            UartReceiver(self.divisor),
        )
        wiring.connect(m, wiring.flipped(self.i), send.i)
        m.d.comb += [
            receive.rx.eq(send.tx),
            self.o.payload.eq(Value.cast(receive.o.payload)),
            self.o.valid.eq(receive.o.valid),
        ]
        return m


@pytest.mark.parametrize("divisor", [8, 9, 20])
def test_bytes_cross_the_line_one_in_ten_bits(divisor):
    sent = [0, 255, 0x55, 0xAA, *range(16)]
    found = run_streams(Loop(divisor), {"i": sent}, {"o": len(sent)})
    assert found["o"] == sent
    assert abs(found["cycles"][0] - 10 * divisor * len(sent)) < 2 * divisor


def test_the_sender_keeps_the_rules_of_streams_for_ever():
    assert prove(Plain(PacketSender(), 9, 8, proof=True), "induction", 4).holds


def test_speeds_and_dividers_that_cannot_be_are_refused_by_name():
    assert Pll().mhz == 60
    with pytest.raises(ConfigurationError, match=r"pll.oscillator_mhz = 900"):
        Pll(output=15)
    with pytest.raises(ConfigurationError, match=r"pll.detector_mhz"):
        Pll(reference=20, feedback=48)
    with pytest.raises(ConfigurationError, match=r"board.baud = 2700000"):
        Ulx3s(BOARD_ENGINE, baud=2_700_000)
    with pytest.raises(ConfigurationError, match=r"uart.divisor = 7: must be"):
        SerialEngine(BOARD_ENGINE, 7)


def test_pins_are_those_of_the_board():
    if importlib.util.find_spec("amaranth_boards") is None:
        pytest.skip("amaranth-boards is not installed: pip install 'quietbar[board]'")
    with pytest.raises(ConfigurationError, match=r"board.device = '26F'"):
        Build(BOARD_ENGINE, "26F").files()
    files = Build(BOARD_ENGINE, "25F").files()
    constraints = files[f"{NAME}.lpf"]
    # https://github.com/emard/ulx3s/blob/master/doc/constraints/ulx3s_v20.lpf: clk_25mhz, ftdi_txd, ftdi_rxd, led[0].
    for port, site in (("clk25_0__io", "G2"), ("uart_0__rx__io", "M1"), ("uart_0__tx__io", "L4"), ("led_0__io", "B2")):
        assert f'LOCATE COMP "{port}" SITE "{site}";' in constraints
    assert 'FREQUENCY NET "engine_clock" 60000000.0 HZ;' in constraints
    assert "\\src" not in files[f"{NAME}.il"]
