"""Estimates of what a design takes of an FPGA: its words, the rules of memories and products, and the error band."""

import copy

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from quietbar.contract import ConfigurationError
from quietbar_hw.engine.top import AxiEngine
from quietbar_hw.synthesis.devices import DEVICES, FAMILIES, RESOURCES, device_by_name, places_of
from quietbar_hw.synthesis.estimate import (
    BAND,
    RULES,
    data,
    estimate,
    memory_places,
    multipliers_of,
    outside,
    words_from_dict,
    words_to_dict,
)
from quietbar_hw.synthesis.fit import ONE, SAMPLES, TINY, Sample, errors, fit, refit, sample_of, synthesize
from quietbar_hw.synthesis.words import Memory, Words, count_words


class Part(wiring.Component):
    """A product, a sum, a choice and a memory, each with a register."""

    def __init__(self):
        super().__init__({"a": In(9), "b": In(8), "choose": In(1), "address": In(5), "o": Out(20)})

    def elaborate(self, platform):
        m = Module()
        product, total, chosen = Signal(17), Signal(18), Signal(18)
        m.submodules.ram = ram = memory.Memory(shape=12, depth=32, init=[])
        write, read = ram.write_port(), ram.read_port()
        m.d.comb += [write.addr.eq(self.address), write.data.eq(self.a), write.en.eq(self.choose)]
        m.d.comb += read.addr.eq(self.address)
        m.d.sync += [product.eq(self.a * self.b), total.eq(product + read.data)]
        with m.If(self.choose):
            m.d.comb += chosen.eq(total)
        with m.Else():
            m.d.comb += chosen.eq(product)
        m.d.sync += self.o.eq(chosen)
        return m


class Behind(wiring.Component):
    """A memory without a clock for its address, and a register behind it; ``also``: its data goes out as it is, too."""

    def __init__(self, also):
        self.also = also
        super().__init__({"address": In(5), "data": In(12), "o": Out(12), "now": Out(12)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.ram = ram = memory.Memory(shape=12, depth=32, init=[])
        write, read = ram.write_port(), ram.read_port(domain="comb")
        m.d.comb += [write.addr.eq(self.address), write.data.eq(self.data), write.en.eq(1), read.addr.eq(self.address)]
        m.d.sync += self.o.eq(read.data)
        if self.also:
            m.d.comb += self.now.eq(~read.data)
        return m


def test_the_words_of_a_design_are_counted():
    words = count_words(Part())
    assert words.products == {(9, 8): 1}
    assert words.bits["arithmetic"] == 18
    assert words.bits["choices"] == 17, "the highest bit of the product is 0: no choice, but logic"
    assert words.bits["flip_flops"] == 17 + 18 + 18
    (ram,) = words.memories
    assert (ram.bits, ram.rows, ram.readers, ram.writers, ram.clocked) == (12, 32, 1, 1, True)


@pytest.mark.parametrize(("also", "clocked"), [(False, True), (True, False)])
def test_a_register_that_is_all_that_reads_a_memory_is_its_own(also, clocked):
    words = count_words(Behind(also))
    assert [each.clocked for each in words.memories] == [clocked]
    assert words.bits["flip_flops"] == (0 if clocked else 12)


def test_words_are_stored_and_read_back():
    words = count_words(Part())
    assert words_from_dict(words_to_dict(words)) == words


@pytest.mark.parametrize(
    ("family", "kept", "expected"),
    [
        # What Yosys 0.70 makes of a memory with one port to write and one to read.
        ("ecp5", Memory(22, 16, 1, 1, True), {"LUT": 36, "FF": 22, "RAM": 0}),
        ("ecp5", Memory(22, 64, 1, 1, True), {"LUT": 0, "FF": 0, "RAM": 1}),
        ("ecp5", Memory(8, 128, 1, 1, True), {"RAM": 0}),
        ("ecp5", Memory(33, 32, 1, 1, True), {"FF": 33, "RAM": 0}),
        ("ecp5", Memory(8, 256, 1, 1, True), {"RAM": 1}),
        ("ecp5", Memory(22, 1024, 1, 1, True), {"RAM": 2}),
        ("ecp5", Memory(22, 2048, 1, 1, True), {"RAM": 3}),
        ("ecp5", Memory(32, 2048, 1, 1, True), {"RAM": 4}),
        ("ecp5", Memory(48, 16, 1, 1, False), {"LUT": 72, "FF": 0, "RAM": 0}),
        ("xilinx7", Memory(22, 32, 1, 1, True), {"LUT": 16, "FF": 22, "RAM": 0}),
        ("xilinx7", Memory(32, 64, 1, 1, True), {"LUT": 44, "FF": 32, "RAM": 0}),
        ("xilinx7", Memory(22, 128, 1, 1, True), {"LUT": 0, "FF": 0, "RAM": 1}),
        ("xilinx7", Memory(32, 1024, 1, 1, True), {"RAM": 2}),
        ("xilinx7", Memory(31, 64, 1, 0, True), {"LUT": 31, "FF": 31, "RAM": 0}),
        ("xilinx7", Memory(25, 512, 1, 0, True), {"LUT": 0, "RAM": 1}),
    ],
)
def test_memories_follow_the_rules_of_their_family(family, kept, expected):
    found = memory_places(RULES[family], kept)
    assert {name: found[name] for name in expected} == expected


def test_products_follow_the_rules_of_their_family():
    assert [multipliers_of(RULES[family], 9, 8) for family in ("ecp5", "xilinx7", "ice40")] == [1, 1, 0]
    assert [multipliers_of(RULES["ecp5"], wide, 18) for wide in (18, 19, 20)] == [1, 1, 2]
    assert multipliers_of(RULES["xilinx7"], 25, 18) == 1
    assert multipliers_of(RULES["xilinx7"], 3, 2) == 0


def test_every_synthesis_is_within_the_band_of_its_estimate():
    """Those on which nothing was fitted, too: whole engines."""
    found = errors(data())
    assert len(found) == len(data()["samples"])
    assert {name: lines for name, lines in found.items() if lines} == {}
    held_out = [sample_of(each) for each in data()["samples"] if each["held_out"]]
    for family in ("ecp5", "xilinx7"):
        assert any(each.family == family and each.part == "engine" for each in held_out)


def test_a_synthesis_outside_of_the_band_is_told():
    spoilt = copy.deepcopy(data())
    spoilt["samples"][0]["synthesis"]["LUT"] = round(1.3 * spoilt["samples"][0]["synthesis"]["LUT"])
    (lines,) = [lines for lines in errors(spoilt).values() if lines]
    assert "LUT: estimate" in lines[0] and "band 15%" in lines[0]
    assert outside(dict.fromkeys(RESOURCES, 0), {"LUT": 0, "FF": 0, "DSP": 0, "RAM": 2}) == [
        "RAM: estimate 0, synthesis 2 (-100.0%, band 10%)"
    ]


def test_weights_are_those_that_the_syntheses_give_and_held_out_ones_have_no_say():
    assert fit(data()["samples"]) == data()["weights"]
    without = [each for each in data()["samples"] if not each["held_out"]]
    assert fit(without) == data()["weights"]


def test_an_engine_synthesised_now_is_within_the_band():
    """Where this fails after a change of the hardware, `quietbar fold --refit` is due."""
    sample = Sample("xilinx7", ONE)
    assert outside(estimate("xilinx7", count_words(AxiEngine(ONE))), synthesize(sample)) == []


@pytest.mark.slow
@pytest.mark.parametrize("sample", [each for each in SAMPLES if each.held_out], ids=lambda each: each.name)
def test_engines_synthesised_now_are_within_the_band(sample):
    assert outside(estimate(sample.family, count_words(AxiEngine(sample.engine))), synthesize(sample)) == []


def test_a_refit_keeps_what_was_synthesised(tmp_path, monkeypatch):
    """An interrupted one goes on where it stopped, and the file comes whole."""
    done = []

    def once(sample):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(sample)
        return {"LUT": 2000, "FF": 2000, "DSP": 17, "RAM": 0}

    monkeypatch.setattr("quietbar_hw.synthesis.fit.synthesize", once)
    samples = [Sample("xilinx7", ONE), Sample("xilinx7", TINY, held_out=True)]
    target = tmp_path / "estimate.json"
    with pytest.raises(KeyboardInterrupt):
        refit(tmp_path / "kept", samples, target, tell=lambda line: None)
    assert not target.exists()
    monkeypatch.setattr("quietbar_hw.synthesis.fit.synthesize", lambda sample: dict.fromkeys(RESOURCES, 7))
    content = refit(tmp_path / "kept", samples, target, tell=lambda line: None)
    assert [each["synthesis"]["LUT"] for each in content["samples"]] == [2000, 7]
    assert target.exists()


def test_devices_have_all_resources_and_a_source():
    for device in DEVICES.values():
        assert set(device.has) == set(RESOURCES) and min(device.has.values()) > 0
        assert device.family in FAMILIES and device.source
    with pytest.raises(ConfigurationError, match="device = 'ecp5': must be one of 'ecp5-25', "):
        device_by_name("ecp5")


def test_cells_are_counted_as_the_places_that_they_take():
    cells = {"LUT4": 10, "CCU2C": 3, "TRELLIS_DPR16X4": 1, "TRELLIS_FF": 5, "DP16KD": 2, "PFUMX": 9}
    assert places_of(FAMILIES["ecp5"], cells) == {"LUT": 22, "FF": 5, "DSP": 0, "RAM": 2}
    assert set(BAND) == set(RESOURCES)


def test_an_empty_design_takes_nothing():
    assert not any(estimate("ecp5", Words(dict.fromkeys(("flip_flops", "arithmetic", "choices", "shifts", "logic"), 0),
                                          {}, ())).values())  # fmt: skip
