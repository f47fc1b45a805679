"""From an engine's configuration to a bitstream: Amaranth's files, Yosys, nextpnr, ecppack, each result kept."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quietbar import toolchain
from quietbar.contract.engine import EngineConfig
from quietbar.files import write_atomically

from ..synthesis.resources import COUNTED, counted
from ..synthesis.tools import SynthesisError, critical_path, fmax, run_nextpnr, run_yosys
from .ulx3s import BAUD, DEFAULT_PLL, Pll, Ulx3s, platform_of

NAME = "quietbar_ulx3s"
PACKAGE, SPEED = "CABGA381", "6"
IN_LUTS = (
    "t:$mul r:A_WIDTH<=6 %i r:B_WIDTH<=6 %i",
    "t:$mul r:A_WIDTH<=8 %i r:B_WIDTH>=12 %i",
    "t:$mul r:A_WIDTH>=12 %i r:B_WIDTH<=8 %i",
)
"""Products that are made of LUTs, as Yosys selects them: the descriptors' and the narrower ones of the requantisers.

The smallest device has 28 multipliers and 24,000 LUTs; the default engine takes 32 multipliers without this.
"""


@dataclass(frozen=True)
class Build:
    """What a bitstream is made from.

    Attributes:
        engine: in it.
        device: size of the board's ECP5.
        pll: makes the clock.
        baud: of the serial line.
        seed: of the placer.
    """

    engine: EngineConfig
    device: str
    pll: Pll = DEFAULT_PLL
    baud: int = BAUD
    seed: int = 1

    def files(self) -> dict[str, str]:
        """The netlist and the pins' constraints, as Amaranth writes them for the board."""
        plan = platform_of(self.device).prepare(Ulx3s(self.engine, self.pll, self.baud), NAME)
        netlist, constraints = (_text(plan.files[f"{NAME}.{kind}"]) for kind in ("il", "lpf"))
        # Where a signal was declared has no part in the result, but names folders of this machine.
        return {f"{NAME}.il": re.sub(r"^ *attribute \\src .*\n", "", netlist, flags=re.M), f"{NAME}.lpf": constraints}


def build(what: Build, folder: Path, tell: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Make a bitstream in ``folder``, or take from there what an earlier call made of the same; what came of it.

    Synthesis and placement are kept apart, by the hash of all that goes into them: a call that was interrupted goes on
    behind the last one that was finished.

    Raises:
        MissingToolError: a program is missing.
        SynthesisError: the design does not fit, or is slower than its clock.
    """
    files = what.files()
    kept = folder / "kept"
    synthesis = _synthesis(files, kept, tell)
    placed = _placement(what, files[f"{NAME}.lpf"], synthesis, kept, tell)
    report = json.loads((placed / "report.json").read_text())
    speed = fmax(report)
    if speed < what.pll.mhz:
        raise SynthesisError(f"{NAME} runs at {speed} MHz, less than its clock of {what.pll.mhz:g}: try another --seed")
    bitstream = (placed / f"{NAME}.bit").read_bytes()
    write_atomically(folder / f"{NAME}.bit", bitstream)
    write_atomically(folder / f"{NAME}.lpf", files[f"{NAME}.lpf"])
    write_atomically(folder / "engine.json", json.dumps(what.engine.to_dict(), indent=2) + "\n")
    result = {
        "board": f"ULX3S with LFE5U-{what.device}",
        "engine": what.engine.to_dict(),
        "clock_mhz": what.pll.mhz,
        "constraint_mhz": sorted(round(clock["constraint"], 2) for clock in report["fmax"].values()),
        "fmax_mhz": speed,
        "baud": what.baud,
        "seed": what.seed,
        "resources": json.loads((synthesis / "resources.json").read_text()),
        "used_of_device": {
            kind: [count["used"], count["available"]] for kind, count in report["utilization"].items() if count["used"]
        },
        "critical_path": critical_path(report),
        "bytes": len(bitstream),
        "sha256": hashlib.sha256(bitstream).hexdigest(),
        "tools": {tool.name: tool.version for tool in _tools()},
    }
    write_atomically(folder / f"{NAME}.json", json.dumps(result, indent=2) + "\n")
    return result


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()


def _tools() -> tuple[toolchain.Tool, ...]:
    return toolchain.yosys(), toolchain.nextpnr(), toolchain.ecppack()


def _kept(kept: Path, material: list[str], make: Callable[[Path], None]) -> Path:
    """The folder that ``make`` filled for this material; it is filled under another name and renamed when whole."""
    folder = kept / hashlib.sha256("\0".join(material).encode()).hexdigest()[:16]
    if not folder.is_dir():
        kept.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept, prefix=f".{folder.name}-") as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            make(made)
            made.rename(folder)
    return folder


def _synthesis(files: dict[str, str], kept: Path, tell: Callable[[str], None]) -> Path:
    script = [
        f"read_rtlil {NAME}.il",
        f"hierarchy -top {NAME}",
        "proc",
        "flatten",
        "opt",
        "wreduce",
        *(f"booth {selection}" for selection in IN_LUTS),
        f"synth_ecp5 -abc9 -top {NAME}",
        f"write_json {NAME}.json",
    ]

    def make(folder: Path) -> None:
        tell("Yosys: synthesis")
        (folder / f"{NAME}.il").write_text(files[f"{NAME}.il"])
        cells = run_yosys(script, folder, NAME)
        (folder / "resources.json").write_text(json.dumps(counted(cells, COUNTED)))

    return _kept(kept, [files[f"{NAME}.il"], *script, str(toolchain.yosys().version)], make)


def _placement(what: Build, constraints: str, synthesis: Path, kept: Path, tell: Callable[[str], None]) -> Path:
    options = [
        f"--{what.device[:-1]}k", "--package", PACKAGE, "--speed", SPEED, "--json", f"{NAME}.json",
        "--lpf", f"{NAME}.lpf", "--textcfg", f"{NAME}.config", "--seed", str(what.seed),
    ]  # fmt: skip

    def make(folder: Path) -> None:
        tell(f"nextpnr: place and route, seed {what.seed}")
        (folder / f"{NAME}.json").write_bytes((synthesis / f"{NAME}.json").read_bytes())
        (folder / f"{NAME}.lpf").write_text(constraints)
        report = run_nextpnr(toolchain.nextpnr(), options, folder, NAME)
        tell("ecppack: bitstream")
        command = [
            str(toolchain.ecppack().require()),
            "--compress",
            "--input",
            f"{NAME}.config",
            "--bit",
            f"{NAME}.bit",
        ]
        done = subprocess.run(command, cwd=folder, env=toolchain.environment(), capture_output=True, text=True)
        if done.returncode or not (folder / f"{NAME}.bit").is_file():
            raise SynthesisError(f"ecppack refused {NAME}: {(done.stdout + done.stderr)[-500:]}")
        (folder / f"{NAME}.json").unlink()
        (folder / "report.json").write_text(json.dumps(report))

    versions = [str(tool.version) for tool in _tools()]
    return _kept(kept, [synthesis.name, constraints, *options, *versions], make)
