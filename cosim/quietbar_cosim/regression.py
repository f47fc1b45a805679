"""Run jobs on a design in either tier of simulation, and record what was compared."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from quietbar.contract.errors import QuietbarError, require

from .build import Design, build_root, cocotb_program, coverage_folder
from .bulk import PATIENCE, Simulator
from .stalls import Stalls
from .vectors import Job, Run

BENCH = "quietbar_cosim.benches.vectors"


class BenchFailure(QuietbarError):
    """A cocotb bench failed; the message is the bench's own."""


def run_cocotb(design: Design, jobs: Sequence[Job], seed: int = 1) -> list[Run]:
    """Run jobs under cocotb, one simulator for all of them.

    Args:
        seed: of registers and memories before the first reset, and of cocotb's own random numbers.

    Raises:
        BenchFailure: a stream broke its rules, nothing moved, a reset left something, or the bench itself failed.
    """
    folder = Path(tempfile.mkdtemp(prefix="quietbar-jobs-"))
    try:
        names: dict[int, str] = {}
        listed = []
        for job in jobs:
            if id(job.vectors) not in names:
                names[id(job.vectors)] = f"vectors{len(names)}.npz"
                job.vectors.save(folder / names[id(job.vectors)])
            listed.append({"name": job.name, "vectors": names[id(job.vectors)], "scenario": job.scenario.to_dict()})
        (folder / "jobs.json").write_text(json.dumps(listed))
        run_bench(design, BENCH, folder, seed, {"QUIETBAR_JOBS": str(folder)})
        runs = [_load(folder / f"run{number}.npz") for number in range(len(jobs))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _same_pace_after_a_reset(jobs, runs)
    return runs


def _same_pace_after_a_reset(jobs: Sequence[Job], runs: Sequence[Run]) -> None:
    """A job with a reset in between takes the cycles after it that the same job takes without: nothing that was under
    way is left, such as room that it took. Told of those of which both were run.
    """
    without = {_circumstances(job): run.cycles for job, run in zip(jobs, runs, strict=True) if not _is_reset(job)}
    for job, run in zip(jobs, runs, strict=True):
        wanted = without.get(_circumstances(job), run.cycles)
        if run.cycles != wanted:
            raise BenchFailure(f"{job.name}, {job.scenario.name}: {run.cycles} cycles, and without it {wanted}")


def _is_reset(job: Job) -> bool:
    return job.scenario.reset_after is not None


def _circumstances(job: Job) -> tuple[int, Stalls, Stalls]:
    return id(job.vectors), job.scenario.input_stalls, job.scenario.output_stalls


def run_bench(design: Design, module: str, folder: Path, seed: int = 1, settings: dict[str, str] | None = None) -> None:
    """Run every cocotb test of ``module`` on ``design`` through cocotb's runner, in ``folder``.

    Raises:
        BenchFailure: a test failed or none ran. The simulator's log then stays in ``build/cosim/logs``.
    """
    from cocotb_tools.runner import get_runner

    program = cocotb_program(design)
    logs = build_root() / "cosim" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log, results = logs / f"{design.top}-{folder.name}.log", folder / "results.xml"
    try:
        get_runner("verilator").test(
            test_module=module,
            hdl_toplevel=design.top,
            hdl_toplevel_lang="verilog",
            build_dir=program.parent,
            test_dir=folder,
            results_xml=str(results),
            seed=seed,
            plusargs=["+verilator+rand+reset+2", f"+verilator+seed+{seed}"],
            extra_env={"COCOTB_ANSI_OUTPUT": "0", **(settings or {})},
            log_file=log,
        )
    except SystemExit as exit_:
        # Under pytest the runner leaves the process where a test failed; what failed is told below.
        if not results.is_file():
            raise BenchFailure(
                f"{module} on {design.top}: the simulator left with status {exit_.code}; see {log}"
            ) from None
    covered, into = folder / "coverage.dat", coverage_folder()
    if into is not None and covered.is_file():
        shutil.move(covered, into / f"cocotb-{folder.name}.dat")
    if not results.is_file():
        raise BenchFailure(f"{module} on {design.top}: no test ran; see {log}")
    cases = list(ElementTree.parse(results).iter("testcase"))
    for case in cases:
        for kind in ("failure", "error"):
            found = case.find(kind)
            if found is not None:
                raise BenchFailure(
                    found.get("error_msg") or found.get("message") or f"{case.get('name')} failed; see {log}"
                )
    require(bool(cases), "bench", module, "a module with cocotb tests")
    log.unlink()


def run_bulk(design: Design, jobs: Sequence[Job], patience: int = PATIENCE, resets: int | None = None) -> list[Run]:
    """Run jobs on the bulk runner, one instance for all of them; see :meth:`quietbar_cosim.bulk.Simulator.run`.

    A reset comes before each of the first ``resets`` jobs, before all by default.

    Raises:
        StreamError: a stream broke its rules or nothing moved.
        ConfigurationError: a scenario asks for a reset in between, which only cocotb gives.
    """
    runs = []
    with Simulator(design) as simulator:
        for number, job in enumerate(jobs):
            vectors, scenario = job.vectors, job.scenario
            require(
                scenario.reset_after is None, "scenario.reset_after", scenario.reset_after, "None on the bulk runner"
            )
            clock = time.perf_counter()
            run = simulator.run(
                vectors.configuration,
                vectors.inputs,
                frame_beats=vectors.frame_beats,
                output_beats=len(vectors.expected),
                output_frame_beats=vectors.output_frame_beats,
                input_stalls=scenario.input_stalls,
                output_stalls=scenario.output_stalls,
                reset=resets is None or number < resets,
                patience=patience,
            )
            runs.append(Run(run.output, run.cycles, time.perf_counter() - clock))
    return runs


def _load(path: Path) -> Run:
    with np.load(path) as file:
        return Run(file["output"], int(file["cycles"]), float(file["seconds"]))
