"""Crossbar tiles behind registers under cocotb: scenes carried out through the driver, and held to the reference."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from quietbar.contract import CrossbarConfig, QuietbarError
from quietbar.contract.stream import FrameKind, seed_frame
from quietbar.integer.crossbar import time_frame
from quietbar_hw.crossbar.configuration import frame_lengths
from quietbar_hw.crossbar.control import Cause
from quietbar_hw.crossbar.folding import CrossbarFolding

from .build import Design, design_of
from .regression import run_bench
from .stalls import NO_STALLS, Stalls, bursty_stalls, random_stalls
from .tile_bench import READING_SEED, Case

BENCH = "quietbar_cosim.benches.crossbar"
Observation = dict[str, Any]


class SceneError(QuietbarError, AssertionError):
    """Tiles are not what a scene says; the message names scene, expected and found."""


@dataclass(frozen=True)
class Scene:
    """Something done to the tiles.

    Attributes:
        do: name of the bench's method, without ``do_``.
        arguments: of it.
        expected: what must come of it, as far as it is said.
    """

    do: str
    arguments: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Script:
    """Scenes for the tiles of a case.

    Attributes:
        case: tiles, vectors and outputs.
        folding: of the hardware.
        seed: of stalls and of where vectors are cut off.
    """

    case: Case
    folding: CrossbarFolding
    seed: int = 0

    def vectors(
        self,
        first: int,
        last: int,
        stalls: tuple[Stalls, Stalls] = (NO_STALLS, NO_STALLS),
        time: int | None = None,
        cut: int | None = None,
    ) -> Scene:
        """Vectors ``first`` to ``last - 1`` from the seed on, each a frame but the first two, which are one."""
        config, folding, x = self.case.config, self.folding, self.case.x[first:last]
        tiles = self.case.tiles if time is None else self.case.tiles.at(time)
        outputs = tiles.outputs(x)
        ends = torch.ones(len(x), dtype=torch.bool)
        ends[0] = len(x) == 1
        beats = _beats(x, folding.input_lanes, config.source.bits)
        found = _beats(outputs, folding.output_lanes, config.target.bits)
        marks_in, marks_out = _marks(ends, config.inputs // folding.input_lanes), _marks(
            ends, config.outputs // folding.output_lanes
        )  # fmt: skip
        arguments = {
            "beats": beats, "last": marks_in, "count": len(found), "cut": cut,
            "input_stalls": asdict(stalls[0]), "output_stalls": asdict(stalls[1]),
        }  # fmt: skip
        expected = {} if cut is not None else {"beats": [list(beat) for beat in zip(found, marks_out, strict=True)]}
        return Scene("vectors", arguments, expected)

    def scenes(self) -> list[Scene]:
        """Some of everything: stalls, bad writes of each kind, age, vectors cut off by a restart and by a reset."""
        source, config, tiles = random.Random(self.seed), self.case.config, self.case.tiles
        kinds = [int(kind) for kind in frame_lengths(config)]
        seed, setup = seed_frame(READING_SEED), tiles.frames
        stalled = (random_stalls(0.4, self.seed + 1), bursty_stalls(self.seed + 2))
        patient = (bursty_stalls(self.seed + 3), random_stalls(0.8, self.seed + 4))
        none = dict.fromkeys(("vectors",), 0)

        def load(frames: Sequence[list[int]], missing: list[int]) -> Scene:
            return Scene("load", {"frames": list(frames)}, {"before": missing, "after": []})

        def bad(words: list[list[int]], cause: Cause, stop: bool = True) -> Scene:
            expected = {"refused": [False] * (len(words) - 1) + [True], "causes": int(cause), "irq": 1, "open": 0}
            return Scene("write", {"words": words, "stop": stop}, expected)

        scenes = [
            Scene("status", {}, {"causes": 0, "busy": 0, "counters": {**none}}),
            load(setup, kinds),
            self.vectors(0, 4, stalled),
            Scene("status", {}, {"causes": 0, "busy": 0, "age": tiles.time, "counters": {"vectors": 4}}),
            bad([[FrameKind.CONVERTER, 0, 0]], Cause.WRITE_BUSY, stop=False),
            bad([[FrameKind.CONVERTER, 0, 0x7FFFFFFF]], Cause.VALUE_RANGE),
            bad([[FrameKind.CONVERTER, 0, 0], [FrameKind.CONVERTER, 2, 0]], Cause.WRITE_ORDER),
            bad([[FrameKind.CONVERTER, 1, 0]], Cause.WRITE_ORDER),
            bad([[FrameKind.PARAMETERS, 0, 0]], Cause.CONFIGURATION_KIND),
            load([next(frame for frame in setup if frame[0] == FrameKind.CONVERTER), seed], [int(FrameKind.CONVERTER)]),
            self.vectors(0, 3, patient),
        ]
        if config.noisy_programming:
            # The source was drawn from, so programming wants another seed; what drifts is to be told anew with it.
            lost = [FrameKind.PROGRAM, *([FrameKind.EXPONENTS, FrameKind.TIME] if config.drift else [])]
            scenes += [bad([[FrameKind.PROGRAM, 0, 0]], Cause.SEED_USED)]
            scenes += [load(setup, [int(kind) for kind in lost]), self.vectors(0, 2)]
        if config.drift:
            scenes += [load([time_frame(700), seed], []), self.vectors(0, 2, time=700)]
            scenes += [Scene("status", {}, {"age": 700}), load([time_frame(tiles.time)], [])]
        for end in ("recover", "reset"):
            scenes.append(self.vectors(0, 6, stalled, cut=source.randint(10, 150)))
            if end == "recover":
                scenes.append(Scene("recover", {}, {"causes": 0, "missing": [int(FrameKind.SEED)]}))
                scenes.append(load([seed], [int(FrameKind.SEED)]))
            else:
                scenes += [Scene("reset"), load(setup, kinds)]
            scenes.append(self.vectors(0, 5, patient))
        scenes.append(Scene("status", {}, {"causes": 0, "busy": 0, "counters": {"vectors": 5}}))
        return scenes


def _beats(elements: torch.Tensor, lanes: int, bits: int) -> list[int]:
    """Elements, the low one in the low bits, as beats."""
    rows = (elements.reshape(-1, lanes) & ((1 << bits) - 1)).tolist()
    return [sum(value << (bits * lane) for lane, value in enumerate(row)) for row in rows]


def _marks(ends: torch.Tensor, beats: int) -> list[int]:
    """``tlast`` of every beat."""
    return [int(end and beat == beats - 1) for end in ends.tolist() for beat in range(beats)]


def controlled_design(config: CrossbarConfig, folding: CrossbarFolding) -> Design:
    """The Verilog of tiles with registers."""
    from quietbar_hw.crossbar.controlled_top import AxiLiteCrossbar

    return design_of(AxiLiteCrossbar(config, folding), "quietbar_crossbar_registers")


def observe(script: Script, scenes: Sequence[Scene], design: Design | None = None) -> list[Observation]:
    """Carry scenes out under cocotb; what came of each.

    Raises:
        BenchFailure: a stream broke its rules, or a register could not be read or written.
    """
    config, folding = script.case.config, script.folding
    design = design or controlled_design(config, folding)
    with tempfile.TemporaryDirectory(prefix="quietbar-scenes-") as name:
        folder = Path(name)
        facts = {
            "config": config.to_dict(),
            "folding": folding.to_dict(),
            "scenes": [(scene.do, scene.arguments) for scene in scenes],
        }
        (folder / "scenes.json").write_text(json.dumps(facts))
        run_bench(design, BENCH, folder, script.seed, {"QUIETBAR_SCENES": name})
        found: list[Observation] = json.loads((folder / "observations.json").read_text())
        return found


def check(scenes: Sequence[Scene], observations: Sequence[Observation]) -> int:
    """Hold observations to scenes; how many output beats were compared.

    Raises:
        SceneError: one differs.
    """
    beats = 0
    for number, (scene, seen) in enumerate(zip(scenes, observations, strict=True)):
        for name, expected in scene.expected.items():
            found = seen[name]
            if name == "counters":
                found = {counter: found[counter] for counter in expected}
            if found != expected:
                raise SceneError(f"scene {number}, {scene.do}: {name}: expected {expected}, got {found}")
        beats += len(scene.expected.get("beats", ()))
    return beats
