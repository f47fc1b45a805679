"""Assertions of a component proven, or a trace found that breaks one, by ABC inside Yosys."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module
from amaranth.hdl._ir import PortDirection

from quietbar.contract import require_choice, require_integer

from ..verilog import port_signals
from .abstraction import ANYTHING
from .rules import BROKEN
from .trace import trace_table, without_assertions
from .yosys import ProofError, Yosys, last_lines

Method = Literal["induction", "bounded", "equivalence"]
METHODS: tuple[Method, ...] = ("induction", "bounded", "equivalence")

SPAN = 24
"""Cycles for which the assumptions of an induction are seen to be kept."""

# A gate for the pass that calls ABC to be called for; ABC forgets it and reads the design.
NOTHING = "module nothing(input a, b, output y); assign y = a & b; endmodule\n"


@dataclass(frozen=True)
class Verdict:
    """What came of a proof.

    Attributes:
        holds: whether the assertions hold: for ever, or within ``depth`` cycles if bounded.
        method: ``induction``, ``bounded`` or ``equivalence``.
        depth: cycles: the bound, or the frames of the inductive invariant; where an assertion is broken, the length of
            the run that does it.
        trace: a table of that run, ports and registers by cycle; empty where the assertions hold.
        kept: cycles for which the assumptions were seen to be kept, by a run that was found: what holds where nothing
            can happen is nothing proven.
        broken: which streams break their rules in the last cycle of that run, and how; empty where another assertion
            is broken, or none.
    """

    holds: bool
    method: Method
    depth: int
    trace: str = ""
    kept: int = 0
    broken: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.holds:
            return f"broken in cycle {self.depth - 1}: {', '.join(self.broken) or 'an assertion'}\n{self.trace}"
        if self.method == "induction":
            return f"holds for ever, by induction over {self.depth} frames"
        return "holds" if self.method == "equivalence" else f"holds in the first {self.depth} cycles"


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
    span = min(frames, SPAN) if method == "induction" else frames
    with Yosys.on({"design.il": text, "nothing.v": NOTHING}) as yosys:
        _, said = yosys.run(_to_gates(free), patience)
        model = yosys.folder / "design.aig"
        if not model.exists():
            raise ProofError(f"Yosys refused the design: {last_lines(said)}")
        registers = int(model.read_bytes().split(maxsplit=4)[3])
        if method == "equivalence" and registers:
            raise ProofError(f"an equivalence has no registers, and here are {registers}")
        (yosys.folder / "span.aig").write_bytes(without_assertions(model.read_bytes()))
        search = ("span.aig", f"bmc2,-S,{span - 1},-F,{span},-T,{seconds}", "span")
        said = _abc([("design.aig", engine, "proof"), search], yosys, patience)
        found = _status(yosys, "proof")
        if found[:2] == ["snl_UNK", "0"] and method == "induction":
            # Where rules assumed and asserted are the same gates nothing is left to prove, which pdr does not see.
            said = _abc([("design.aig", "dprove", "proof")], yosys, patience)
            found = _status(yosys, "proof")
        if found[:1] == ["snl_SAT"]:
            length, table, high = trace_table(
                model.read_bytes(), yosys.written("design.map"), yosys.written("proof.run"), BROKEN
            )
            return Verdict(False, method, length, table, broken=tuple(map(_what_is_broken, high)))
        if found[:1] == ["snl_UNSAT"]:
            reached = max(int(found[1]), 1)
        elif found[:1] == ["snl_UNK"] and method != "induction" and int(found[1]) + 1 >= depth:
            reached = depth
        elif found[:1] == ["snl_UNK"]:
            raise ProofError(f"no verdict within {depth} cycles and {seconds} seconds")
        else:
            raise ProofError(f"ABC gave no verdict: {last_lines(said)}")
        if _status(yosys, "span")[:1] != ["snl_SAT"]:
            raise ProofError(f"no run keeps the assumptions for {span} cycles: nothing is proven")
    return Verdict(True, method, reached, kept=span)


def _what_is_broken(name: str) -> str:
    stream, _, rule = name.rpartition(".")
    return f"{stream.rpartition('.')[2].removeprefix('rules_')} {BROKEN[rule]}"


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


def _abc(searches: Sequence[tuple[str, str, str]], yosys: Yosys, patience: float | None) -> str:
    """Let ABC search, its assumptions folded into its assertions; what was said last of all.

    Args:
        searches: model, engine, and the name of the verdict.
    """
    commands = ";".join(
        f"read_aiger,{model};fold;{engine};write_status,{name}.status;write_cex,-n,-m,{name}.run"
        for model, engine, name in searches
    )
    _, said = yosys.run(["read_verilog nothing.v", "techmap", f"abc -g AND -script +{commands}"], patience)
    return said


def _status(yosys: Yosys, name: str) -> list[str]:
    """The words of ABC's verdict."""
    return yosys.written(f"{name}.status").split()
