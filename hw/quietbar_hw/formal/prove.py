"""Assertions of a component proven, or a trace found that breaks one, by the SAT solver inside Yosys."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from amaranth.back import rtlil

from quietbar import toolchain
from quietbar.contract import QuietbarError, require_choice, require_integer

from ..verilog import port_signals

Method = Literal["induction", "bounded"]


class ProofError(QuietbarError):
    """Yosys could not read the design, or gave no verdict; the message ends with its last lines."""


@dataclass(frozen=True)
class Verdict:
    """What came of a proof.

    Attributes:
        holds: whether the assertions hold: in every reachable state by induction, within ``depth`` cycles if bounded.
        method: ``induction`` or ``bounded``.
        depth: cycles unrolled: the bound, or the length of the induction that succeeded.
        trace: the solver's table of a run that breaks an assertion; empty where they hold.
    """

    holds: bool
    method: Method
    depth: int
    trace: str = ""


def prove(component: Any, method: Method, depth: int) -> Verdict:
    """Prove all assertions in ``component`` under its assumptions, from its state after reset.

    Inputs are free in every cycle, ``rst`` stays low. By induction: no run of up to ``depth`` cycles breaks an
    assertion, and for some k up to ``depth`` no k good cycles, from any state whatever, are followed by a bad one. Then
    the assertions hold for ever.

    Raises:
        MissingToolError: there is no Yosys that will do.
        ProofError: there was no verdict. Also where induction found neither a proof nor a counterexample from reset.
    """
    require_choice("method", method, ("induction", "bounded"))
    return prove_text(
        rtlil.convert(component, name="top", ports=port_signals(component), emit_src=False), method, depth
    )


def prove_text(text: str, method: Method, depth: int) -> Verdict:
    """Prove all assertions of RTLIL whose top module is called ``top``; see :func:`prove`."""
    require_choice("method", method, ("induction", "bounded"))
    require_integer("depth", depth, 1, 1000)
    yosys = str(toolchain.yosys().require())
    only_base = "-tempinduct-baseonly " if method == "bounded" else ""
    script = [
        "read_rtlil design.il",
        "hierarchy -top top",
        "proc",
        "flatten",
        "chformal -lower",
        "memory_map",
        "async2sync",
        "opt -fast",
        f"tee -q -o sat.txt sat -set rst 0 -set-assumes -prove-asserts -seq 1 -tempinduct {only_base}-maxsteps {depth} "
        "-show-inputs -show-outputs -show-regs",
    ]
    with tempfile.TemporaryDirectory(prefix="quietbar-proof-") as folder:
        (Path(folder) / "design.il").write_text(text)
        done = subprocess.run(
            [yosys, "-Q", "-p", "; ".join(script)],
            cwd=folder,
            env=toolchain.environment(),
            capture_output=True,
            text=True,
        )
        report = Path(folder) / "sat.txt"
        said = report.read_text() if report.exists() else ""
    if "SUCCESS!" in said:
        steps = re.findall(r"\[induction step (\d+)\]", said)
        return Verdict(True, method, int(steps[-1]) if steps else depth)
    if "model found for base case: FAIL!" in said:
        return Verdict(False, method, depth, said[said.rindex("  Time Signal Name") :])
    if "Reached maximum number of time steps" in said:
        raise ProofError(f"neither an induction of up to {depth} cycles proves it nor a run of as many breaks it")
    last = "\n".join((done.stdout + done.stderr + said).splitlines()[-5:])
    raise ProofError(f"Yosys gave no verdict: {last}")
