"""Both tiers of simulation on a design small enough to be read: equal to the cycle, and strict in the same way."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quietbar.contract.errors import ConfigurationError
from quietbar.contract.number import UINT8, IntegerFormat
from quietbar_cosim.build import BuildError, Design, cocotb_program, shared_library
from quietbar_cosim.bulk import Simulator
from quietbar_cosim.mismatch import MismatchError
from quietbar_cosim.regression import BenchFailure, run_bulk, run_cocotb
from quietbar_cosim.replay import load, verify
from quietbar_cosim.rules import StreamError
from quietbar_cosim.stalls import PATIENT, random_stalls
from quietbar_cosim.vectors import Job, Scenario, Vectors, jobs, pack, scenarios

FRAME = 8
FRAMES = 25
ADDEND = 1000
STALLED = Scenario("random stalls", random_stalls(0.3, 5), random_stalls(0.5, 6))
NAMES = ("none", "data moves", "valid falls", "last early", "hangs", "surplus", "waits for ready", "looks when idle",
         "raises error", "last moves", "slow after a reset")  # fmt: skip


@pytest.fixture(scope="session")
def adder():
    return Design("adder", (Path(__file__).parent / "adder.v").read_text())


def adder_vectors(fault="none"):
    """Counting numbers, and their sums with the addend; the last beat of a frame has 7 in its low bits."""
    numbers = np.arange(FRAME * FRAMES).reshape(-1, 1)
    word = NAMES.index(fault) << 16 | ADDEND
    sums = pack(numbers + ADDEND, 16)
    axes = (("frame", FRAMES), ("beat", FRAME))
    return Vectors(((word,),), pack(numbers, 16), FRAME, sums, FRAME, 1, IntegerFormat(16, False), axes)


def test_both_tiers_agree_to_the_bit_and_to_the_cycle(adder):
    *same, reset = jobs("adder", adder_vectors(), scenarios(3, FRAME))
    slow = run_cocotb(adder, [*same, reset])
    fast = run_bulk(adder, same)
    for job, run in zip([*same, reset], slow, strict=True):
        assert np.array_equal(run.output, job.vectors.expected), job.scenario.name
    for job, left, right in zip(same, slow, fast, strict=False):
        assert np.array_equal(left.output, right.output), job.scenario.name
        assert left.cycles == right.cycles, job.scenario.name


def test_the_adder_takes_a_beat_a_cycle(adder):
    (run,) = run_bulk(adder, [Job("adder", adder_vectors())])
    # One cycle to offer the first beat, one from a beat to its sum.
    assert run.cycles == FRAME * FRAMES + 2


BROKEN = [
    ("data moves", STALLED, r"m_axis_tdata, cycle \d+: changed"),
    ("valid falls", STALLED, r"m_axis_tvalid, cycle \d+: fell before the waiting beat was taken"),
    ("last moves", STALLED, r"m_axis_tlast, cycle \d+: (changed|is)"),
    ("last early", Scenario(), r"m_axis_tlast, cycle \d+: is .*beat 7 of 8 of frame 0"),
    ("hangs", Scenario(), r"m_axis_tvalid, cycle \d+: .*40 of 200 (beats )?came"),
    (
        "waits for ready",
        Scenario("patient", output_stalls=PATIENT),
        r"m_axis_tvalid, cycle \d+: .*0 of 200 (beats )?came",
    ),
]


@pytest.mark.parametrize(("fault", "scenario", "message"), BROKEN, ids=[case[0] for case in BROKEN])
@pytest.mark.parametrize("tier", [run_bulk, run_cocotb], ids=["bulk", "cocotb"])
def test_a_broken_stream_is_caught(adder, tier, fault, scenario, message):
    with pytest.raises((StreamError, BenchFailure)) as caught:
        tier(adder, [Job(fault, adder_vectors(fault), scenario)])
    assert re.search(message, str(caught.value)), str(caught.value)


def test_the_faults_that_need_stalls_hide_without_them(adder):
    """Why every bench stalls: these three faults pass a bench that never does."""
    for fault in ("data moves", "valid falls", "waits for ready"):
        vectors = adder_vectors(fault)
        (run,) = run_bulk(adder, [Job(fault, vectors)])
        assert np.array_equal(run.output, vectors.expected), fault


def test_a_raised_error_ends_the_run(adder):
    with pytest.raises(StreamError, match=r"error, cycle \d+: is 0x1: 4\d of 200 beats taken"):
        run_bulk(adder, [Job("error", adder_vectors("raises error"))])


def test_a_reset_that_leaves_something_behind_is_caught(adder):
    """It is of a single cycle, as a second one would clear what this design leaves; and what follows takes its time."""
    stalled, reset = (scenarios(3, FRAME)[number] for number in (1, -1))
    listed = jobs("adder", adder_vectors("slow after a reset"), (stalled, reset))
    (alone,) = run_cocotb(adder, listed[1:])
    assert np.array_equal(alone.output, listed[1].vectors.expected), "nothing but the cycles tells"
    with pytest.raises(BenchFailure, match=r"adder, reset in mid-frame: \d+ cycles, and without it \d+"):
        run_cocotb(adder, listed)


def test_a_beat_too_many_is_caught(adder):
    vectors = adder_vectors("surplus")
    short = replace(vectors, inputs=vectors.inputs[:FRAME], expected=vectors.expected[:FRAME], axes=(("beat", FRAME),))
    for tier in (run_bulk, run_cocotb):
        with pytest.raises((StreamError, BenchFailure), match=r"offers a beat after the last expected one|is low on"):
            tier(adder, [Job("surplus", short)])


def test_a_design_that_looks_at_idle_data_is_caught_and_its_case_replays(adder, tmp_path):
    job = Job("adder", adder_vectors("looks when idle"), STALLED)
    with pytest.raises(MismatchError) as caught:
        verify("looks when idle", adder, [job], tier="bulk", folder=tmp_path)
    message = str(caught.value)
    assert re.search(r"adder, random stalls: \d+ of 200 outputs differ \(\d+ of 3200 bits\)", message)
    assert re.search(r"frame 0, beat \d: expected 100\d, got \d+", message)
    (folder,) = (tmp_path / "replay").iterdir()
    assert f"replay: quietbar replay {folder}" in message
    (line,) = (tmp_path / "cosim" / "looks when idle.jsonl").read_text().splitlines()
    assert json.loads(line)["differing"] == caught.value.comparison.differing

    case = load(folder)
    assert case.compare(case.run()).first == caught.value.comparison.first


def test_instances_in_threads_do_not_disturb_one_another(adder):
    vectors = adder_vectors()

    def run(seed):
        scenario = Scenario("random stalls", random_stalls(0.3, seed), random_stalls(0.5, seed))
        return run_bulk(adder, [Job("adder", vectors, scenario)])[0].output

    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(output, vectors.expected) for output in pool.map(run, range(8)))


def test_a_build_is_made_once(adder):
    first, again = shared_library(adder), shared_library(Design(adder.top, adder.verilog))
    assert first == again
    assert cocotb_program(adder) == cocotb_program(adder)


def test_verilog_that_does_not_compile_is_refused_with_the_tools_own_words(tmp_path, monkeypatch):
    monkeypatch.setenv("QUIETBAR_BUILD", str(tmp_path))
    with pytest.raises(BuildError, match=r"verilator failed(.|\n)*nowhere"):
        shared_library(Design("broken", "module broken(\n  input clk\n);\n  assign nowhere.x = clk;\nendmodule\n"))
    assert not [path for path in (tmp_path / "simulators").iterdir() if path.suffix != ".lock"]


def test_ports_are_read_from_the_text(adder):
    assert adder.ports["s_axis_tdata"].bits == 16
    assert adder.ports["m_axis_tvalid"].direction == "output"
    with pytest.raises(ConfigurationError, match=r"stream = 'm_axi': must be one of s_axis, s_axis_cfg, m_axis"):
        adder.stream_bits("m_axi")
    with pytest.raises(ConfigurationError, match=r"design.top = 'other': must be a module of the Verilog text"):
        _ = Design("other", adder.verilog).ports


def test_beats_of_the_wrong_width_are_refused(adder):
    with Simulator(adder) as simulator, pytest.raises(ConfigurationError, match=r"uint8 of shape \(beats, 2\)"):
        simulator.run(beats=np.zeros((4, 3), np.uint8), frame_beats=1)


@pytest.mark.parametrize("damage", ["case.json", "vectors.npz"])
def test_a_damaged_case_is_refused_by_name(adder, tmp_path, damage):
    from quietbar_cosim.replay import Case

    folder = Case(adder, Job("adder", adder_vectors()), "bulk").save(tmp_path)
    (folder / damage).write_bytes((folder / damage).read_bytes()[:40])
    with pytest.raises(ConfigurationError, match=str(folder)):
        load(folder)


def test_a_folder_without_a_case_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"must be a folder with a case.json"):
        load(tmp_path)


@pytest.mark.parametrize("number", [UINT8, IntegerFormat(5, True), IntegerFormat(16, True), IntegerFormat(12, False)])
@pytest.mark.parametrize("lanes", [1, 3])
def test_packing_is_undone_by_unpacking(number, lanes):
    from quietbar_cosim.vectors import unpack

    elements = np.random.default_rng(1).integers(number.low, number.high, (50, lanes), endpoint=True)
    elements[0], elements[1] = number.low, number.high
    beats = pack(elements, number.bits)
    assert np.array_equal(unpack(beats, lanes, number), elements)
    first = sum((int(value) & (2**number.bits - 1)) << (number.bits * lane) for lane, value in enumerate(elements[5]))
    assert int.from_bytes(beats[5].tobytes(), "little") == first
