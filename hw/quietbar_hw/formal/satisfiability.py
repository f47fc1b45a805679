"""RTLIL as it is proven, or a trace found that breaks it, by the SAT solver inside Yosys.

Plain k-induction, for texts in which faults were planted; components are better proven by :func:`.prove.prove`.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

from quietbar import toolchain
from quietbar.contract import require_choice, require_integer

from .prove import Method, ProofError, Verdict


def prove_text(text: str, method: Method, depth: int) -> Verdict:
    """Prove all assertions of RTLIL whose top module is called ``top``.

    Inputs are free in every cycle, ``rst`` stays low. A trace is the solver's table.
    """
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
