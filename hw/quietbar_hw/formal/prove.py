"""Assertions of a component proven, or a trace found that breaks one, by ABC inside Yosys."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module
from amaranth.hdl._ir import PortDirection

from quietbar import toolchain
from quietbar.contract import QuietbarError, require_choice, require_integer

from ..verilog import port_signals
from .abstraction import ANYTHING
from .trace import trace_table

Method = Literal["induction", "bounded", "equivalence"]
METHODS: tuple[Method, ...] = ("induction", "bounded", "equivalence")

# A gate for the pass that calls ABC to be called for; ABC forgets it and reads the design.
NOTHING = "module nothing(input a, b, output y); assign y = a & b; endmodule\n"


class ProofError(QuietbarError):
    """Yosys could not read the design, or gave no verdict; the message ends with its last lines."""


@dataclass(frozen=True)
class Verdict:
    """What came of a proof.

    Attributes:
        holds: whether the assertions hold: for ever, or within ``depth`` cycles if bounded.
        method: ``induction``, ``bounded`` or ``equivalence``.
        depth: cycles: the bound, or the frames of the inductive invariant; where an assertion is broken, the length of
            the run that does it.
        trace: a table of that run, ports and registers by cycle; empty where the assertions hold.
    """

    holds: bool
    method: Method
    depth: int
    trace: str = ""


def prove(component: Any, method: Method, depth: int, *, free: Sequence[str] = (), seconds: int = 600) -> Verdict:
    """Prove all assertions in ``component`` under its assumptions, from the state that its registers start in.

    Inputs are free in every cycle; there is no reset.

    Args:
        component: with `Assert` and `Assume` in it.
        method: ``induction`` finds an invariant of the reachable states by itself (property-directed reachability, also
            known as IC3): the assertions hold for ever. ``bounded``: no run of ``depth`` cycles breaks them.
            ``equivalence``: there are no registers, and no inputs break them.
        depth: cycles of a bounded proof; and after as many frames induction gives up.
        free: patterns of Yosys' `select` for cells whose outputs are cut off and may be anything in any cycle, such as
            ``top/t:$mul``. What is proven then holds whatever these compute; a trace may be one that they never give.
        seconds: after which ABC gives up.

    Raises:
        MissingToolError: there is no Yosys that will do.
        ProofError: there was no verdict.
    """
    return prove_rtlil(to_rtlil(component), method, depth, free=free, seconds=seconds)


def prove_rtlil(
    text: str,
    method: Method,
    depth: int,
    *,
    free: Sequence[str] = (),
    seconds: int = 600,
    pairs: bool = False,
    patience: float | None = None,
) -> Verdict:
    """As :func:`prove`, of RTLIL whose top module is called ``top``.

    Args:
        pairs: whether registers that are always equal are merged first, of which there are many where two versions of
            a design stand side by side.
        patience: seconds by the clock for reading the design, and for all that ABC does; for ever by default.
    """
    require_choice("method", method, METHODS)
    require_integer("depth", depth, 1, 1000)
    frames = 1 if method == "equivalence" else depth
    engine = f"{'pdr' if method == 'induction' else 'bmc3'},-F,{frames},-T,{seconds}"
    engine = f"scorr;{engine}" if pairs else engine
    with tempfile.TemporaryDirectory(prefix="quietbar-proof-") as name:
        folder = Path(name)
        (folder / "design.il").write_text(text)
        (folder / "nothing.v").write_text(NOTHING)
        said = _yosys(_to_gates(free), folder, patience)
        model = folder / "design.aig"
        if not model.exists():
            raise ProofError(f"Yosys refused the design: {_last_lines(said)}")
        registers = int(model.open("rb").readline().split()[3])
        if method == "equivalence" and registers:
            raise ProofError(f"an equivalence has no registers, and here are {registers}")
        found, said = _abc(engine, folder, patience)
        if found[:2] == ["snl_UNK", "0"] and method == "induction":
            # Where rules assumed and asserted are the same gates nothing is left to prove, which pdr does not see.
            found, said = _abc("dprove", folder, patience)
        if found[:1] == ["snl_UNSAT"]:
            return Verdict(True, method, max(int(found[1]), 1))
        if found[:1] == ["snl_SAT"]:
            names, run = (folder / "design.map").read_text(), (folder / "run.txt").read_text()
            return Verdict(False, method, *trace_table(model.read_bytes(), names, run))
    if found[:1] == ["snl_UNK"] and method != "induction" and int(found[1]) + 1 >= depth:
        return Verdict(True, method, depth)
    if found[:1] == ["snl_UNK"]:
        raise ProofError(f"no verdict within {depth} cycles and {seconds} seconds")
    raise ProofError(f"ABC gave no verdict: {_last_lines(said)}")


def to_rtlil(component: Any, *, sources: bool = False) -> str:
    """The component as RTLIL, in a clock domain without reset; with ``sources`` each line says where it comes from."""
    top = Module()
    top.domains.sync = domain = ClockDomain("sync", reset_less=True)
    top.submodules.proof = component
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")
    ports = {"clk": (domain.clk, PortDirection.Input), **port_signals(component)}
    text = rtlil.convert(top, name="top", ports=ports, emit_src=sources)
    return text.replace(f"cell \\{ANYTHING} ", "cell $anyseq ")


def _to_gates(free: Sequence[str]) -> list[str]:
    """Yosys' script from RTLIL to a file of AND gates and registers; bits that nothing drives may be anything."""
    return [
        "read_rtlil design.il",
        "hierarchy -top top",
        "proc",
        "flatten",
        "delete -output top/o:*",
        "chformal -lower",
        "opt -fast",
        *(f"cutpoint {pattern}" for pattern in free),
        "async2sync",
        "opt -fast",
        "memory_map",
        "opt -fast",
        "formalff -clk2ff",
        "dffunmap",
        "techmap",
        "opt -fast",
        "dffunmap",
        "opt_clean",
        "setundef -undriven -anyseq",
        "aigmap",
        "opt_clean",
        "write_aiger -zinit -vmap design.map design.aig",
    ]


def _abc(engine: str, folder: Path, patience: float | None) -> tuple[list[str], str]:
    """The words of ABC's verdict on ``design.aig``, its assumptions folded into its assertions; and what was said."""
    commands = f"+read_aiger,design.aig;fold;{engine};write_status,status.txt;write_cex,-n,-m,run.txt"
    said = _yosys(["read_verilog nothing.v", "techmap", f"abc -g AND -script {commands}"], folder, patience)
    status = folder / "status.txt"
    return status.read_text().split() if status.exists() else [], said


def _yosys(script: Sequence[str], folder: Path, patience: float | None) -> str:
    """Run the commands in ``folder``; what was said last of all."""
    command = [str(toolchain.yosys().require()), "-Q", "-q", "-p", "; ".join(script)]
    try:
        done = subprocess.run(
            command, cwd=folder, env=toolchain.environment(), capture_output=True, text=True, timeout=patience
        )
    except subprocess.TimeoutExpired:
        raise ProofError(f"no verdict within {patience} seconds") from None
    return done.stdout + done.stderr


def _last_lines(text: str) -> str:
    return "\n".join(text.splitlines()[-5:])
