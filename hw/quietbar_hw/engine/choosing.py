"""The folding chooser: for a network's taps, a frame rate and an FPGA, how parallel the engine has to be.

One engine serves all taps: a frame of the network is one frame of each, back to back. Lanes, hidden channels and
outputs at a time make the cycles of that frame, from the cycle model, and the multipliers of each stage; everything
else of the engine is as small as the taps allow. What an engine takes of a device is estimated from its words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from quietbar.contract import BlockConfig, ConfigurationError, QuietbarError, require, require_integer
from quietbar.contract.descriptor import stage_cycles
from quietbar.contract.engine import EngineConfig
from quietbar.contract.engine_size import fitting
from quietbar.contract.errors import require_number
from quietbar.contract.sources import Kind, check_kind

from ..synthesis.devices import DEVICES, FAMILIES, RESOURCES, Device
from ..synthesis.estimate import RULES, estimate, multipliers_of
from ..synthesis.words import Words, count_words
from .timing import predict
from .top import AxiEngine

FILL = 0.8
"""Share of a device's LUTs and flip-flops that is planned with: a fuller one is hard to route."""
FACTOR_BITS = (9, 8)
"""Of the products of all stages."""
TRIES = 4
"""After so many engines in a row that are too large for a device, each with more multipliers than the one before, no
larger one is tried."""


class NothingFits(QuietbarError):
    """No engine of the device's size reaches the frame rate; the message says what is lacking and what would do."""


@dataclass(frozen=True)
class Option:
    """An engine for a network on a device.

    Attributes:
        engine: its configuration.
        cycles: of a frame of the network among others, from the cycle model.
        useful: share of the multipliers' cycles in which they multiply.
        needs: of each resource of the device, estimated.
        device: that it is for.
        clock: in MHz.
    """

    engine: EngineConfig
    cycles: int
    useful: float
    needs: Mapping[str, int]
    device: Device
    clock: float

    @property
    def frames_per_second(self) -> float:
        """Frames of the network."""
        return self.clock * 1e6 / self.cycles

    @property
    def multipliers(self) -> dict[str, int]:
        """By stage."""
        return {name: self.engine.multipliers_of(name) for name in ("reduce", "spatial", *self.engine.heads)}

    def summary(self) -> str:
        """In one line."""
        needs = ", ".join(f"{count:,} {name}" for name, count in self.needs.items())
        return (
            f"{describe(self.engine)}: {self.engine.multipliers} multipliers, {self.cycles:,} cycles a frame of all "
            f"taps, {self.frames_per_second:,.0f} frames/s on {self.device.name} at {self.clock:g} MHz, about {needs}"
        )

    def shares(self) -> dict[str, float]:
        """Of what the device has, by resource."""
        return {name: self.needs[name] / self.device.has[name] for name in RESOURCES}

    def lacking(self, fill: float = FILL) -> list[str]:
        """What there is too little of, one line each; nothing where the engine fits."""
        found = []
        for name in RESOURCES:
            share = fill if name in ("LUT", "FF") else 1.0
            if self.needs[name] > share * self.device.has[name]:
                part = f"{share:.0%} of {self.device.has[name]:,}" if share < 1 else f"{self.device.has[name]:,}"
                found.append(f"{self.needs[name]:,} {name} of {part}")
        return found


@dataclass(frozen=True)
class Choice:
    """The chooser's answer.

    Attributes:
        options: engines that fit and are fast enough; the first is chosen, the others are runners-up.
    """

    options: tuple[Option, ...]

    @property
    def chosen(self) -> Option:
        """The engine that takes the smallest share of the device."""
        return self.options[0]


@dataclass(frozen=True)
class _Candidate:
    engine: EngineConfig
    blocks: tuple[BlockConfig, ...]

    @cached_property
    def bound(self) -> int:
        """Cycles that a frame of the network takes at least."""
        return sum(block.pixels * max(stage_cycles(self.engine, block).values()) for block in self.blocks)


def smallest_engine(
    lanes: int, group: int, outputs: int, blocks: Sequence[BlockConfig], source: Kind = "box-muller"
) -> EngineConfig:
    """The engine of this parallelism that just holds the blocks.

    Raises:
        ConfigurationError: there is none.
    """
    kernels = {block.kernel for block in blocks}
    engine = EngineConfig(
        lanes, group, outputs, channels=lanes, hidden=group, height=1, width=1, blocks=1,
        matrix_rows=1, window_rows=1, hidden_rows=1, channel_rows=1,
        noise=any(block.mode == "sampling" for block in blocks),
        kernels="both" if len(kernels) == 2 else next(iter(kernels)),
        fraction_bits=blocks[0].fraction_bits,
        source=source,
    )  # fmt: skip
    grown = fitting(engine, blocks)
    for number, block in enumerate(blocks):
        grown.check(block, f"block {number}")
    return grown


def _candidates(blocks: tuple[BlockConfig, ...], source: Kind) -> Iterator[_Candidate]:
    """Engines of every parallelism that the blocks can make use of."""

    def powers(largest: int) -> list[int]:
        return [1 << bit for bit in range(7) if bit == 0 or 1 << bit < 2 * largest]

    channels, hidden = max(block.channels for block in blocks), max(block.hidden for block in blocks)
    for lanes in powers(channels):
        for group in powers(hidden):
            for outputs in powers(group):
                if outputs > group:
                    continue
                try:
                    yield _Candidate(smallest_engine(lanes, group, outputs, blocks, source), blocks)
                except ConfigurationError:
                    continue


@cache
def _words(engine: EngineConfig) -> Words:
    return count_words(AxiEngine(engine))


@cache
def network_cycles(engine: EngineConfig, blocks: tuple[BlockConfig, ...]) -> int:
    """Cycles of a frame of each block, back to back and among others of their kind, from the cycle model."""
    ends = predict(engine, blocks, [*range(len(blocks))] * 2).frame_ends
    return int(ends[-1] - ends[len(blocks) - 1])


def _option(candidate: _Candidate, device: Device, clock: float) -> Option:
    cycles = network_cycles(candidate.engine, candidate.blocks)
    useful = sum(block.multiplications for block in candidate.blocks) / (cycles * candidate.engine.multipliers)
    needs = estimate(device.family, _words(candidate.engine))
    return Option(candidate.engine, cycles, useful, needs, device, clock)


def check_wish(frames_per_second: float, clock: float | None, fill: float, runners_up: int, source: Kind) -> None:
    """Refuse what no engine can be chosen for; :func:`choose` has the arguments.

    Raises:
        ConfigurationError: naming the argument.
    """
    require_number("fold.frames_per_second", frames_per_second, 1e-6)
    if clock is not None:
        require_number("fold.clock", clock, 0.001, 2000)
    require_number("fold.fill", fill, 0.01, 1)
    require_integer("fold.runners_up", runners_up, 0, 100)
    check_kind(source, "fold.source")


def choose(
    blocks: Sequence[BlockConfig],
    frames_per_second: float,
    device: Device,
    *,
    clock: float | None = None,
    fill: float = FILL,
    runners_up: int = 2,
    source: Kind = "box-muller",
) -> Choice:
    """The engine for a network, and the next best ones.

    Engines are tried in the order of their multipliers. Of the first ``1 + runners_up`` that fit and are fast enough,
    the one is chosen whose scarcest resource is least used.

    Args:
        blocks: of all taps.
        frames_per_second: of the network, at least.
        device: that the engine is for.
        clock: in MHz; by default what the family is planned with.
        fill: share of LUTs and flip-flops that may be used.
        runners_up: how many more are wanted.
        source: Gaussian source of an engine for blocks that sample.

    Raises:
        NothingFits: no engine does; the message says why, and what would.
        ConfigurationError: the blocks fit no engine at all, or a number is not allowed.
    """
    require(len(blocks) > 0, "fold.taps", list(blocks), "at least one tap")
    check_wish(frames_per_second, clock, fill, runners_up, source)
    clock = FAMILIES[device.family].clock if clock is None else clock
    ordered = sorted(_candidates(tuple(blocks), source), key=lambda each: (each.engine.multipliers, each.bound))
    if not ordered:
        smallest_engine(2, 1, 1, blocks, source)  # says what no engine can do
    fast = [each for each in ordered if each.bound * frames_per_second <= clock * 1e6]
    found: list[Option] = []
    too_large = 0
    for candidate in fast:
        if too_large == TRIES or len(found) > runners_up:
            break
        if _surely_too_large(candidate.engine, device):
            break
        option = _option(candidate, device, clock)
        if option.frames_per_second < frames_per_second:
            continue
        if option.lacking(fill):
            too_large += 1
        else:
            found.append(option)
            too_large = 0
    if not found:
        raise NothingFits(_explain(ordered, fast, frames_per_second, device, clock, fill))
    return Choice(tuple(sorted(found, key=lambda each: max(each.shares().values()))))


def _surely_too_large(engine: EngineConfig, device: Device) -> bool:
    return multipliers_of(RULES[device.family], *FACTOR_BITS) * engine.multipliers > device.has["DSP"]


def _explain(
    ordered: Sequence[_Candidate], fast: Sequence[_Candidate], wanted: float, device: Device, clock: float, fill: float
) -> str:
    lines = [f"no engine on {device.name} at {clock:g} MHz reaches {wanted:,g} frames a second"]
    if not fast:
        least = min(each.bound for each in ordered)
        return f"{lines[0]}: the most parallel one takes {least:,} cycles a frame, {clock * 1e6 / least:,.0f} a second"
    smallest = _option(fast[0], device, clock)
    lines.append(f"the smallest that does ({describe(smallest.engine)}) needs {', '.join(smallest.lacking(fill))}")
    slower = [each for each in ordered if each.engine.multipliers < fast[0].engine.multipliers]
    best = None
    for candidate in _front(slower):
        if _surely_too_large(candidate.engine, device):
            continue
        option = _option(candidate, device, clock)
        if not option.lacking(fill):
            best = option
            break
    if best is not None:
        lines.append(f"the fastest that fits ({describe(best.engine)}) reaches {best.frames_per_second:,.0f}")
    else:
        lines.append("none fits at any rate")
    others = []
    for other in DEVICES.values():
        own = clock if other.family == device.family else FAMILIES[other.family].clock
        option = _option(fast[0], other, own)
        if option.frames_per_second >= wanted and not option.lacking(fill):
            others.append(f"{other.name} at {own:g} MHz")
    lines.append(f"{', '.join(others)} would do" if others else "no device of the table would do")
    return "; ".join(lines)


def _front(candidates: Sequence[_Candidate]) -> Iterator[_Candidate]:
    """From the fastest on, those that have fewer multipliers than every faster one."""
    least = None
    for each in sorted(candidates, key=lambda each: (each.bound, each.engine.multipliers)):
        if least is None or each.engine.multipliers < least:
            least = each.engine.multipliers
            yield each


def describe(engine: EngineConfig) -> str:
    """The parallelism of an engine in words."""
    return f"lanes = {engine.lanes}, group = {engine.group}, outputs = {engine.outputs}"
