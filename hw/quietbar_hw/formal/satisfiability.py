"""RTLIL as it is proven, or a trace found that breaks it, by the SAT solver inside Yosys.

Plain k-induction, for texts in which faults were planted; components are better proven by :func:`.prove.prove`.
"""

from __future__ import annotations

import re

from quietbar.contract import require_choice, require_integer

from .prove import Method, Verdict
from .yosys import ProofError, Yosys, last_lines


def prove_text(text: str, method: Method, depth: int) -> Verdict:
    """Prove all assertions of RTLIL whose top module is called ``top``.

    Inputs are free in every cycle, ``rst`` stays low. A trace is the solver's table.
    """
    require_choice("method", method, ("induction", "bounded"))
    require_integer("depth", depth, 1, 1000)
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
    with Yosys.on({"design.il": text}) as yosys:
        _, told = yosys.run(script)
        said = yosys.written("sat.txt")
    if "SUCCESS!" in said:
        steps = re.findall(r"\[induction step (\d+)\]", said)
        return Verdict(True, method, int(steps[-1]) if steps else depth)
    if "model found for base case: FAIL!" in said:
        return Verdict(False, method, depth, said[said.rindex("  Time Signal Name") :])
    if "Reached maximum number of time steps" in said:
        raise ProofError(f"neither an induction of up to {depth} cycles proves it nor a run of as many breaks it")
    raise ProofError(f"Yosys gave no verdict: {last_lines(told + said)}")
