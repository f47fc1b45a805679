"""Faults planted in the hardware, one at a time: each is caught, by a report that names where.

A checker that has never failed proves nothing. Every fault is one change in the source of a component; the benches'
own comparison and stream rules have to find it. Without a fault, the very same run is clean.
"""

import contextlib
import re
from unittest.mock import patch

import pytest

from quietbar.contract import SIGMA, BlockConfig
from quietbar.integer import random_parameters
from quietbar_cosim.blocks import BlockSubject, block_vectors, choose_folding, random_frames
from quietbar_cosim.build import Design, design_of
from quietbar_cosim.elaborated import run_elaborated
from quietbar_cosim.planting import planted
from quietbar_cosim.replay import Case, load
from quietbar_cosim.rules import StreamError
from quietbar_cosim.stalls import random_stalls
from quietbar_cosim.vectors import Job, Scenario
from quietbar_hw.arithmetic import Requantizer, requantize
from quietbar_hw.conv import LineBuffer, MatrixVectorUnit
from quietbar_hw.denoiser import AxiDenoiser
from quietbar_hw.denoiser.subtract import Subtract
from quietbar_hw.gaussian import GaussianSource

CONFIGURATIONS = {
    "mean": BlockConfig(4, 2, 4, 3),
    "sampling": BlockConfig(4, 2, 3, 4, mode="sampling"),
}
FRAMES = 3
QUIET = Scenario()
STALLED = Scenario("random stalls", random_stalls(0.3, 5), random_stalls(0.5, 6))


def simulate(mode, scenario):
    """The case and its comparison: a small block, every output against the reference."""
    config = CONFIGURATIONS[mode]
    folding = choose_folding(config)
    parameters, frames = random_parameters(config, 3), random_frames(config, FRAMES, 4)
    vectors = block_vectors(parameters, frames, folding.lanes, seed=9)
    job = Job(f"block {mode}", vectors, scenario, BlockSubject(parameters, frames, seed=9))
    (run,) = run_elaborated(AxiDenoiser(config, folding), [job])
    case = Case(Design("quietbar_denoiser", ""), job, "bulk")
    return case, case.compare(run)


@pytest.mark.parametrize("scenario", [QUIET, STALLED], ids=["quiet", "stalled"])
@pytest.mark.parametrize("mode", CONFIGURATIONS)
def test_without_a_fault_nothing_differs(mode, scenario):
    _, comparison = simulate(mode, scenario)
    assert comparison.equal, comparison.report()


def sigma_shifted_by_one():
    return patch("quietbar_hw.denoiser.subtract.SIGMA", (SIGMA[0], *SIGMA[:-1]))


DIFFERENCES = {
    "rounding constant dropped": (
        "mean",
        QUIET,
        lambda: planted(requantize, "round_off", "rounded.eq((value + 1) >> 1)", "rounded.eq(value >> 1)"),
    ),
    "rounding constant of the last step dropped": (
        "mean",
        QUIET,
        lambda: planted(Subtract, "elaborate", "+ (1 << (fraction - 1)) - noise", "- noise"),
    ),
    "row above the frame is not zero": (
        "mean",
        QUIET,
        lambda: planted(LineBuffer, "elaborate", "column[0].eq(0)", "column[0].eq(column[1])"),
    ),
    "row below the frame is the next frame's": (
        "mean",
        QUIET,
        lambda: planted(LineBuffer, "elaborate", 'm.If(delay(m, y.at_end, 1, "last_row"))', "m.If(0)"),
    ),
    "column left of the frame is the row before's": (
        "mean",
        QUIET,
        lambda: planted(LineBuffer, "elaborate", "Mux(edges.first_column, 0, ", "Mux(0, 0, "),
    ),
    "one weight's sign flipped": (
        "mean",
        QUIET,
        lambda: planted(
            MatrixVectorUnit,
            "_weighted_sum",
            "value * weights[lane]",
            "value * (-weights[lane] if (pe, lane, self.stage.name) == (0, 0, 'reduce') else weights[lane])",
        ),
    ),
    "sigma table shifted by one": ("sampling", QUIET, sigma_shifted_by_one),
    "random source advanced under stall": (
        "sampling",
        STALLED,
        lambda: planted(GaussianSource, "elaborate", "uniform.step.eq(launch)", "uniform.step.eq(uniform.loaded)"),
    ),
}


@pytest.mark.parametrize("fault", DIFFERENCES)
def test_a_wrong_output_is_found_and_named(fault):
    mode, scenario, plant = DIFFERENCES[fault]
    with plant():
        case, comparison = simulate(mode, scenario)
    report = case.report(comparison)
    print(f"{fault}\n{report}")
    assert not comparison.equal
    assert re.match(rf"block {mode}, {scenario.name}: \d+ of 144 outputs differ \(\d+ of 1152 bits\)\n", report)
    first = comparison.first[0]
    position = ", ".join(f"{axis} {index}" for axis, index in first.position.items())
    assert f"{position}: expected {first.expected}, got {first.got}" in report
    assert re.search(r"tap block, input \d+, seed 9\n +mean: accumulator -?\d+, multiplier \d+, shift \d+", report)


def test_the_edge_faults_differ_at_the_edges_only():
    """The report's place leads to the fault: a wrong row above the frame differs in the first row of a frame."""
    _, _, plant = DIFFERENCES["row above the frame is not zero"]
    with plant():
        _, comparison = simulate("mean", QUIET)
    assert {mismatch.position["row"] for mismatch in comparison.first} == {0}


@pytest.mark.parametrize("scenario", [QUIET, STALLED], ids=["quiet", "stalled"])
def test_tlast_one_beat_early_is_found_and_named(scenario):
    fault = planted(
        AxiDenoiser,
        "elaborate",
        "self.m_axis_tlast.eq(beat_out.at_end)",
        "self.m_axis_tlast.eq(beat_out.counter == beats - 2)",
    )
    with fault, pytest.raises(StreamError) as caught:
        simulate("mean", scenario)
    print(caught.value)
    assert re.fullmatch(r"m_axis_tlast, cycle \d+: is high on beat 11 of 12 of frame 0", str(caught.value))


def test_an_output_that_changes_while_it_waits_is_found_and_named():
    fault = planted(AxiDenoiser, "elaborate", "self.m_axis_tdata.eq(Value.cast(block.o.payload))",
                    "self.m_axis_tdata.eq(Value.cast(block.o.payload) ^ ~self.m_axis_tready)")  # fmt: skip
    with fault, pytest.raises(StreamError, match=r"m_axis_tdata, cycle \d+: changed from \w+ to \w+ while stalled"):
        simulate("mean", STALLED)


def test_a_design_that_stops_is_a_message_and_not_a_hang():
    fault = planted(Subtract, "elaborate", "going.eq(results.room &", "going.eq(0 & results.room &")
    with fault, pytest.raises(StreamError) as caught:
        simulate("mean", STALLED)
    message = r"m_axis_tvalid, cycle \d+: \d+ beats taken, 0 of 36 came, nothing moved for \d+ cycles"
    assert re.fullmatch(message, str(caught.value))


def test_a_fault_is_gone_when_its_context_is_left():
    before = requantize.round_off
    with contextlib.suppress(RuntimeError), DIFFERENCES["rounding constant dropped"][2]():
        assert requantize.round_off is not before
        raise RuntimeError
    assert requantize.round_off is before


def test_a_fault_that_no_longer_fits_the_source_is_refused():
    from quietbar.contract.errors import ConfigurationError

    with (
        pytest.raises(ConfigurationError, match=r"Requantizer.elaborate = 'no such text'"),
        planted(Requantizer, "elaborate", "no such text", ""),
    ):
        pass


def test_a_mismatch_replays_from_its_folder_as_verilog(tmp_path, capsys):
    """The faulty design's own Verilog is in the case, so it differs again, in the same places, in another simulator."""
    from quietbar.cli import main

    config = CONFIGURATIONS["mean"]
    with DIFFERENCES["rounding constant dropped"][2]():
        case, comparison = simulate("mean", QUIET)
        design = design_of(AxiDenoiser(config, choose_folding(config)), "quietbar_denoiser")
    folder = Case(design, case.job, "bulk").save(tmp_path)
    again = load(folder)
    assert again.compare(again.run()).first == comparison.first

    assert main(["replay", str(folder)]) == 1
    printed = capsys.readouterr().out
    assert f"quietbar replay {folder}" in printed
    assert printed.splitlines()[0] == case.report(comparison).splitlines()[0]

    sound = tmp_path / "sound.v"
    sound.write_text(design_of(AxiDenoiser(config, choose_folding(config)), "quietbar_denoiser").verilog)
    assert main(["replay", str(folder), "--verilog", str(sound)]) == 0
    assert "0 of 144 outputs differ" in capsys.readouterr().out
