"""Cases of crossbar tiles, and the far ends of their streams in Amaranth's simulator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import torch
from amaranth.sim import Simulator

from quietbar.contract import CrossbarConfig
from quietbar.contract.stream import FrameKind
from quietbar.integer import crossbar
from quietbar.integer.tiles import Tiles
from quietbar_hw.crossbar.configuration import Error
from quietbar_hw.crossbar.folding import CrossbarFolding
from quietbar_hw.crossbar.tile import Crossbar
from quietbar_hw.simulation import run_streams

PROGRAMMING_SEED, READING_SEED, DRIFT_SEED = 5, 9, 13
TIME = 386
"""A day."""
VECTORS = 6


class Case:
    """Tiles with random weights, converters, faults and age, input vectors, and the outputs that must come out."""

    def __init__(self, config: CrossbarConfig, seed: int = 1, vectors: int = VECTORS) -> None:
        source = torch.Generator().manual_seed(seed)
        inputs, columns = config.inputs, config.outputs
        weights = torch.randint(-127, 128, (inputs, columns), generator=source)
        self.config = config
        self.x = torch.randint(config.source.low, config.source.high + 1, (vectors, inputs), generator=source)
        full_scale = config.dac.high * 127 * 16 * config.rows**0.5
        converter = crossbar.design_converter(
            config,
            full_scale,
            gain=1 + 0.1 * torch.randn(columns, generator=source),
            offset=0.05 * full_scale * torch.randn(columns, generator=source),
            read_noise=0.03 * full_scale,
        )
        scale = None
        if config.output != "sums":
            ratio = config.target.high / config.sum.high * 2 * (1 + torch.rand(columns, generator=source))
            scale = crossbar.design_scale(config, ratio, 20 * torch.randn(columns, generator=source))
        self.tiles = Tiles(
            config,
            weights,
            converter,
            PROGRAMMING_SEED,
            READING_SEED,
            scale,
            drift_seed=DRIFT_SEED,
            time=TIME if config.drift else 0,
            faults=torch.randint(0, 3, (inputs, columns, 2), generator=source) if config.faults else None,
        )

    def codes(self, x: torch.Tensor, seed: int = READING_SEED, start_vector: int = 0) -> list[int]:
        """The outputs for vectors, one after the other."""
        found: list[int] = self.tiles.outputs(x, seed, start_vector).flatten().tolist()
        return found

    @property
    def setup(self) -> list[list[int]]:
        """The frames that make the tiles ready."""
        return self.tiles.frames


class Host:
    """The far ends of a tile's three streams, for a testbench that does one thing after the other."""

    def __init__(self, tile: Crossbar, context: Any) -> None:
        self.tile, self.context = tile, context

    async def send(self, port: Any, payload: Any, patience: int = 2000) -> bool:
        """Offer one transfer; whether it was taken."""
        taken = False
        self.context.set(port.payload, payload)
        self.context.set(port.valid, 1)
        for _ in range(patience):
            taken = bool(self.context.get(port.ready))
            await self.context.tick()
            if taken:
                break
        self.context.set(port.valid, 0)
        return taken

    async def configure(self, *frames: list[int]) -> None:
        """Send frames."""
        for frame in frames:
            for place, word in enumerate(frame):
                assert await self.send(self.tile.frames, {"word": word, "last": place == len(frame) - 1})

    async def input(self, codes: list[int], last_row: int | None = None, patience: int = 2000) -> bool:
        """Input codes one by one; whether all were taken."""
        taken = [
            await self.send(self.tile.inputs, [{"code": code, "last": row == last_row}], patience)
            for row, code in enumerate(codes)
        ]
        return all(taken)

    async def output(self, count: int, patience: int = 2000) -> list[int]:
        """So many outputs."""
        found: list[int] = []
        self.context.set(self.tile.codes.ready, 1)
        for _ in range(patience):
            if len(found) == count:
                break
            if self.context.get(self.tile.codes.valid):
                found.append(self.context.get(self.tile.codes.payload[0].code))
            await self.context.tick()
        self.context.set(self.tile.codes.ready, 0)
        return found

    @property
    def error(self) -> Error:
        """What the tile complains of."""
        return Error(self.context.get(self.tile.error))


def simulate(tile: Crossbar, bench: Callable[[Host, Any], Awaitable[None]]) -> None:
    """Run a bench on tiles."""
    simulator = Simulator(tile)
    simulator.add_clock(1e-8)

    async def process(context: Any) -> None:
        await bench(Host(tile, context), context)

    simulator.add_testbench(process)
    simulator.run()


def run(case: Case, folding: CrossbarFolding, stall: float = 0.0) -> tuple[list[int], list[int]]:
    """Codes and ``last`` flags of a case whose vectors are one frame."""
    # Inputs wait from the beginning and go in with the last of these, which completes the configuration.
    converter = next(frame for frame in case.setup if frame[0] == FrameKind.CONVERTER)
    frames = [
        {"word": word, "last": place == len(frame) - 1}
        for frame in (*(frame for frame in case.setup if frame is not converter), converter)
        for place, word in enumerate(frame)
    ]
    codes = case.x.flatten().tolist()
    elements = [{"code": code, "last": place == len(codes) - 1} for place, code in enumerate(codes)]
    beats = [elements[first : first + folding.input_lanes] for first in range(0, len(codes), folding.input_lanes)]
    outputs = len(case.x) * case.config.outputs // folding.output_lanes
    found: dict[str, Any] = run_streams(
        Crossbar(case.config, folding), {"frames": frames, "inputs": beats}, {"codes": outputs}, stall=stall
    )
    given = [element for beat in found["codes"] for element in beat]
    return [element.code for element in given], [element.last for element in given]
