"""The search for places: measure, then choose."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from quietbar import analog
from quietbar.contract.block import BlockConfig, Kernel, Mode
from quietbar.contract.descriptor import stage_cycles
from quietbar.contract.engine import REFERENCE, EngineConfig
from quietbar.contract.errors import ConfigurationError, require, require_integer
from quietbar.data.checks import first_inputs, require_batches
from quietbar.denoise import measure

from .candidates import find_candidates
from .choice import Option, choose
from .plan import Plan, PlannedTap
from .sensitivity import Rule, Sensitivity, measure_sensitivity

WIDTHS = (1 / 8, 1 / 4, 1 / 2, 1.0)
HIGH = 1 << 62


def search(
    model: nn.Module,
    data: Iterable[tuple[Tensor, Tensor]],
    budget: float = 0.02,
    candidates: Iterable[str] | None = None,
    *,
    widths: Sequence[float] = WIDTHS,
    kernel: Kernel = "depthwise",
    mode: Mode = "mean",
    rule: Rule = "noise",
    images: int = 512,
    multiplications: int | None = None,
    cycles: int | None = None,
    engine: EngineConfig = REFERENCE,
) -> Plan:
    """Find the taps, and the widths of their blocks, that leave the least damage under a budget of parameters.

    Paper A (arXiv 2409.18553) explores by gradient norms against parameter overhead and leaves the rule open. Ours:
    the damage of :func:`measure_sensitivity`, new at each tap, travels on through the taps behind it; a block removes
    the share that the best linear estimate of its width's rank would; the best set is found exactly
    (:func:`quietbar.placement.choice.choose`). No test image may be among ``data``.

    Args:
        model: from ``quietbar.analog.convert``, calibrated.
        data: (inputs, labels) batches, of which the first ``images`` images are used.
        budget: parameters of all blocks, as a share of the model's.
        candidates: names of submodules; found by :func:`find_candidates` if None.
        widths: that a block may have, as shares of its tap's channels.
        kernel: of all blocks.
        mode: of all blocks.
        rule: how damage is measured, ``"noise"`` or ``"gradient"``.
        images: how many to measure with.
        multiplications: that all blocks together may need for a frame of the network.
        cycles: that ``engine`` may be busy with all blocks for a frame of the network, in steady state; blocks that are
            too large for it are not offered.
        engine: the denoising engine that ``cycles`` is about.

    Raises:
        ConfigurationError: a candidate is not a tap (see ``quietbar.denoise.insert``), no candidate meets any noise, or
            the budget buys no block at all: the least that does is named.
    """
    is_number = isinstance(budget, int | float) and not isinstance(budget, bool) and math.isfinite(budget)
    require(
        is_number and 0 < budget <= 1, "placement.budget", budget, "a share of the parameters, above 0 and at most 1"
    )
    require_integer("placement.images", images, 1, 1 << 31)
    require(len(widths) > 0 and all(width > 0 for width in widths), "placement.widths", widths, "shares above 0")
    require_batches("placement.data", data, again=True)
    first = first_inputs("placement.data", data)
    with analog.quiet(model):
        # Clean activations: a place is behind an activation function whatever the noise in front of it.
        names = find_candidates(model, first) if candidates is None else list(candidates)
        require(len(names) > 0, "placement.candidates", names, "at least one, or None to have them found")
        narrow = measure(model, names, first, kernel=kernel, mode=mode)

    blocks = {name: _widths(config, widths) for name, config in narrow.items()}
    backbone = sum(parameter.numel() for parameter in model.parameters())
    affordable = int(budget * backbone)
    cheapest = min(block.parameters for choices in blocks.values() for block in choices)
    least = math.ceil(1e4 * cheapest / backbone) / 1e4
    allowed = f"at least {least:.4f}: the cheapest block has {cheapest:,} parameters, the network {backbone:,}"
    require(affordable >= cheapest, "placement.budget", budget, allowed)
    budgets = _further_budgets(blocks, multiplications, cycles, engine)
    if cycles is not None:
        blocks = {name: [block for block in choices if _fits(engine, block)] for name, choices in blocks.items()}

    measured = measure_sensitivity(model, data, blocks, rule=rule, images=images)
    damage = sum(each.damage for each in measured.values())
    require(damage > 0, "placement.noise", damage, "above 0 at one of the candidates: is the model's noise on?")
    options = [[_option(block, measured[name], budgets) for block in choices] for name, choices in blocks.items()]
    further = [limit for limit, _ in budgets]
    chosen, left = choose([measured[name].damage for name in blocks], options, affordable, further)
    planned = []
    for (name, choices), offered, number in zip(blocks.items(), options, chosen, strict=True):
        config, removed = (choices[number], offered[number].removed) if number is not None else (narrow[name], 0.0)
        if number is None and offered:
            config, removed = choices[0], offered[0].removed
        planned.append(PlannedTap(name, measured[name].damage, config, removed, selected=number is not None))
    return Plan(tuple(planned), float(budget), backbone, left / damage)


def _widths(config: BlockConfig, widths: Sequence[float]) -> list[BlockConfig]:
    """The block at each of the widths, narrowest first."""
    return [replace(config, hidden=hidden) for hidden in sorted({max(1, round(config.channels * w)) for w in widths})]


Budget = tuple[int, Callable[[BlockConfig], int]]
"""A limit, and what a block takes of it."""


def _further_budgets(
    blocks: Mapping[str, Sequence[BlockConfig]], multiplications: int | None, cycles: int | None, engine: EngineConfig
) -> list[Budget]:
    def cycles_of(block: BlockConfig) -> int:
        return max(stage_cycles(engine, block).values()) * block.height * block.width

    found: list[Budget] = []
    everything = [block for choices in blocks.values() for block in choices]
    if multiplications is not None:
        least = min(block.multiplications for block in everything)
        require_integer("placement.multiplications", multiplications, least, HIGH)
        found.append((multiplications, lambda block: block.multiplications))
    if cycles is not None:
        fitting = [block for block in everything if _fits(engine, block)]
        require(len(fitting) > 0, "placement.engine", engine, "large enough for one of the blocks")
        require_integer("placement.cycles", cycles, min(cycles_of(block) for block in fitting), HIGH)
        found.append((cycles, cycles_of))
    return found


def _fits(engine: EngineConfig, block: BlockConfig) -> bool:
    try:
        engine.check(block)
    except ConfigurationError:
        return False
    return True


def _option(block: BlockConfig, measured: Sensitivity, budgets: Sequence[Budget]) -> Option:
    rank = min(block.hidden, len(measured.removable))
    return Option(block.parameters, measured.removable[rank - 1], tuple(cost(block) for _, cost in budgets))
