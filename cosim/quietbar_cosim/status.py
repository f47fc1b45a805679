"""What is known of each block of the hardware, from what the tools recorded and from nothing else.

A cell of the table that no record speaks for says `NOT_RUN`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_RUN = "not run"
EARLIER = "of earlier hardware"
COLUMNS = ("specified", "linted", "simulated", "random", "covered", "mutants", "proven", "synthesised")


@dataclass(frozen=True)
class Block:
    """A block of the hardware.

    Attributes:
        title: how people call it.
        document, heading: where it is specified.
        parts: of `quietbar coverage` and `quietbar mutate`.
        design: of `quietbar synth`; empty where none is watched.
        proofs: beginnings of the names of its properties in `quietbar formal`.
    """

    title: str
    document: str
    heading: str
    parts: tuple[str, ...]
    design: str = ""
    proofs: tuple[str, ...] = ()


Hardware = Callable[[str], str]
"""The fingerprint of a part's hardware, by its name."""
STREAM_PARTS = ("Fork", "Queue", "RegisterSlice", "Resize", "ResultQueue")
BLOCKS = (
    Block("requantizer", "docs/numerics.md", "Rounding", ("requantizer",), "requantizer", ("requantizer/",)),
    Block("line buffer", "docs/numerics.md", "Order", ("line_buffer",), "line_buffer",
          ("windows/", "streams/conv LineBuffer")),
    Block("3x3 core", "docs/numerics.md", "The denoising block", ("core_dense", "core_depthwise"), "spatial_core",
          ("streams/conv MatrixVectorUnit",)),
    Block("stream parts", "docs/hardware.md", "Ports", ("register_slice", "resize"), "queue",
          ("queues/", *(f"streams/{part}" for part in STREAM_PARTS))),
    Block("denoiser", "docs/hardware.md", "Configuration", ("denoiser",), "denoiser", ("streams/denoiser ",)),
    Block("Gaussian source, Box-Muller", "docs/numerics.md", "Gaussian source", ("box_muller",), "gaussian_source",
          ("streams/gaussian AxiGaussianSource", "streams/gaussian GaussianSource")),
    Block("Gaussian source, inverse CDF", "docs/gaussian.md", "As Verilog", ("inverse_cdf",), "inverse_cdf_source",
          ("streams/gaussian InverseCdfSource",)),
    Block("crossbar tile", "docs/crossbar.md", "In Verilog", ("crossbar",), "crossbar",
          ("streams/crossbar ", "crossbar/")),
    Block("register bank", "docs/registers.md", "The port", ("register_bank",), "register_bank",
          ("registers/", "axi4-lite/", "streams/registers ")),
    Block("engine", "docs/engine.md", "Ports", ("engine_framing", "engine_datapath"), "engine",
          ("engine/", "streams/engine ", "requantizer of engines/")),
)  # fmt: skip


@dataclass(frozen=True)
class Records:
    """What the tools left: for each part its coverage and its mutants, for each design its synthesis, and proofs."""

    coverage: Mapping[str, Mapping[str, Any]]
    mutants: Mapping[str, Mapping[str, Any]]
    synthesis: Mapping[str, Mapping[str, Any]]
    proofs: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, root: Path) -> Records:
        """Of the repository at ``root``: results that are committed, and in their place those in its ``build``."""
        build, results = root / "build", root / "docs" / "results"
        coverage = {each["part"]: each for each in _json(results / "coverage.json", {}).get("parts", ())}
        coverage |= {path.stem: _json(path, {}) for path in sorted((build / "coverage").glob("*.json"))}
        mutants = {each["subject"]: each for each in _json(results / "mutants.json", {}).get("parts", ())}
        mutants |= {path.stem: _json(path, {}) for path in sorted((build / "mutants").glob("*.json"))}
        synthesis = dict(_json(root / "hw" / "synth" / "baseline.json", {}).get("results", {}))
        for name, by_target in _json(build / "synth" / "synth.json", {}).get("results", {}).items():
            synthesis[name] = {**synthesis.get(name, {}), **by_target}
        proofs = {
            each["name"]: each
            for file in (results / "formal.json", build / "formal" / "formal.json")
            for each in _json(file, {}).get("properties", ())
        }
        return cls(coverage, mutants, synthesis, tuple(proofs.values()))


def _json(path: Path, otherwise: Any) -> Any:
    """A file that is not there, or not whole, is no record."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return otherwise


def row(block: Block, records: Records, root: Path, hardware: Hardware) -> list[str]:
    """The block's title, and a cell for each of `COLUMNS`."""
    covered = [records.coverage.get(part, {}) for part in block.parts]
    mutants = [records.mutants.get(part, {}) for part in block.parts]

    def of(found: Sequence[Mapping[str, Any]], cell: str) -> str:
        """The cell, marked where its records are of other hardware than there is now."""
        if not cell:
            return cell
        now = all(record.get("hardware") == hardware(part) for part, record in zip(block.parts, found, strict=True))
        return cell if now else f"{cell} ({EARLIER})"

    cells = (
        _specified(block, root),
        of(covered, _linted(covered)),
        of(covered, _compared(covered, "compared")),
        of(covered, _compared(covered, "random")),
        of(covered, _covered(covered)),
        of(mutants, _mutants(mutants)),
        _proven(block, records),
        _synthesised(records.synthesis.get(block.design, {})),
    )
    return [block.title, *(cell or NOT_RUN for cell in cells)]


def _specified(block: Block, root: Path) -> str:
    path = root / block.document
    lines = path.read_text().splitlines() if path.is_file() else []
    found = any(line.startswith("#") and line.lstrip("# ") == block.heading for line in lines)
    return f"{block.document.removeprefix('docs/')}: {block.heading}" if found else ""


def _linted(records: Sequence[Mapping[str, Any]]) -> str:
    return "yes" if records and all(record.get("linted") for record in records) else ""


def _compared(records: Sequence[Mapping[str, Any]], what: str) -> str:
    """How much was held to the reference; a bench that found a difference leaves no record."""
    found = []
    for record in records:
        amounts = [f"{each[what]:,} {each['unit']}" for each in record.get("benches", ()) if each.get(what)]
        if not amounts:
            return ""
        found.append(" + ".join(amounts))
    return "; ".join(found)


def _covered(records: Sequence[Mapping[str, Any]]) -> str:
    found = []
    for record in records:
        if not all(record.get(kind, {}).get("points") for kind in ("line", "toggle")):
            return ""
        text = f"{record['line']['percent']} % lines, {record['toggle']['percent']} % toggles"
        functional = record.get("functional")
        found.append(text + (f", {functional['hit']} of {functional['bins']} bins" if functional else ""))
    return "; ".join(found)


def _mutants(records: Sequence[Mapping[str, Any]]) -> str:
    listed = [mutant for record in records for mutant in record.get("mutants", ())]
    if not all(record.get("mutants") for record in records) or not all(mutant["found"] for mutant in listed):
        return ""
    equal = sum(bool(mutant["equivalent"]) for mutant in listed)
    caught = sum(any(mutant["found"].values()) for mutant in listed)
    explained = sum(bool(mutant.get("explained")) for mutant in listed)
    told = f"{caught} of {len(listed) - equal - explained} caught"
    return told + (f", {equal} equal" if equal else "") + (f", {explained} explained" if explained else "")


def _proven(block: Block, records: Records) -> str:
    own = [each for each in records.proofs if str(each.get("name", "")).startswith(block.proofs or ("\0",))]
    if own and all(each.get("holds") for each in own):
        return _proven_properties(own)
    return ""


def _proven_properties(own: Sequence[Mapping[str, Any]]) -> str:
    """How many, and by which method."""
    methods: dict[str, int] = {}
    for each in own:
        methods[each["method"]] = methods.get(each["method"], 0) + 1
    return ", ".join(
        f"{count} by induction" if how == "induction" else f"{count} {how}" for how, count in methods.items()
    )


def _synthesised(result: Mapping[str, Any]) -> str:
    found = []
    for target, values in result.items():
        speed = values.get("fmax_mhz")
        speed = speed.get("median") if isinstance(speed, dict) else speed
        found.append(target + (f" {speed:.0f} MHz" if speed else ""))
    return ", ".join(found)


def table(root: Path, hardware: Hardware | None = None) -> list[list[str]]:
    """A row for each block; ``hardware`` is that of each part now, by default as it is elaborated here."""
    records = Records.read(root)
    return [row(block, records, root, hardware or hardware_of) for block in BLOCKS]


@functools.cache
def hardware_of(part: str) -> str:
    """The fingerprint of a part as it is now."""
    from quietbar_hw.mutation import fingerprint, sound_text

    from .mutants.subjects import SUBJECTS

    return fingerprint(sound_text(SUBJECTS[part]().component))


def markdown(root: Path, hardware: Hardware | None = None) -> str:
    """The table as a document."""
    lines = [
        "# Status of the hardware, block by block",
        "",
        "Made by `quietbar status --write docs/status.md` from what the tools recorded: `quietbar coverage` (linted,",
        "simulated, random, covered), `quietbar mutate`, `quietbar synth` and `quietbar formal`. Results in `build`",
        f"go before those that are committed. Where no record speaks for a cell it says *{NOT_RUN}*, where the",
        f"hardware has changed since, *{EARLIER}*. What was compared is equal to the reference to the bit;",
        "*random*: of that, under stalls at random.",
        "",
    ]
    cells = [["block", *COLUMNS], ["---"] * (len(COLUMNS) + 1), *table(root, hardware)]
    return "\n".join([*lines, *(f"| {' | '.join(each)} |" for each in cells)]) + "\n"
