"""Writing a layer's weights to the devices of a chip, and what they amount to later."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from quietbar.contract.crossbar import Fault
from quietbar.contract.errors import ConfigurationError
from quietbar.noise import Chip, Conductance, devices

from .mapping import Mapped, to_targets, to_variances, to_weights

CHUNK = 1 << 20
"""Devices computed at a time: memory stays small whatever the layer."""

Transform = Callable[[Tensor], Tensor]
"""Conductances (slices, rows, columns, sides) to those that the array acts as, e.g. by IR drop."""


@dataclass(frozen=True)
class Held:
    """What a programmed layer computes with; shapes are the layer's own.

    Attributes:
        weight: the weights that the devices amount to, compensation included.
        read_variance: variance that one reading adds to each weight, or None: a result of inputs x has the variance
            ``sum x^2 * read_variance``.
        reference_variance: the same for the reference devices of the offset mapping, (groups, ...), or None: it is the
            same reading for all columns of a group, each of which sees it times its ``scale``.
        scale: (columns), in units of the weight.
    """

    weight: Tensor
    read_variance: Tensor | None
    reference_variance: Tensor | None
    scale: Tensor


def program(
    weight: Tensor, chip: Chip, layer: str, groups: int = 1, transform: Transform | None = None
) -> tuple[Held, Mapped, Tensor]:
    """What ``chip``'s array for ``layer`` makes of ``weight``, at the time that ``chip.conductance`` says.

    A pure function: the same chip, layer and weight give the same array wherever and however often it is called. All of
    it is computed on the processor in float64.

    Args:
        weight: (columns, ...), of any floating type, on any device.
        chip: with a conductance.
        layer: name of the layer, which picks its devices.
        groups: of a convolution.
        transform: what the array does to the conductances of its devices.

    Returns:
        The array in the type and on the device of ``weight``; how the weights were mapped; and the conductances of the
        devices, in microsiemens, before ``transform``.

    Raises:
        ConfigurationError: a weight is not finite.
    """
    conductance = chip.conductance
    assert conductance is not None
    exact = weight.detach().to("cpu", torch.float64)
    if not bool(exact.isfinite().all()):
        raise ConfigurationError(f"{layer}.weight", "not finite", "finite to be programmed: look at the training")
    matrix = exact.reshape(exact.shape[0], -1).T
    mapped = to_targets(matrix, conductance, groups)
    now, deviation = conductances(mapped, chip, layer)
    acting = now if transform is None else transform(now)
    if transform is not None and deviation is not None:
        deviation = deviation * share(transform, now)
    found = to_weights(mapped, acting)
    factor = torch.ones_like(mapped.scale)
    if conductance.compensation != "none" and conductance.seconds > conductance.t0:
        first, _ = conductances(mapped, dataclasses.replace(chip, conductance=at(conductance, conductance.t0)), layer)
        before = to_weights(mapped, first if transform is None else transform(first))
        factor = compensation(conductance, before, found)
    variance, reference = (None, None) if deviation is None else to_variances(mapped, deviation)

    def shaped(matrix: Tensor) -> Tensor:
        columns = matrix.T.reshape(-1, *weight.shape[1:])
        return columns.to(weight.device, weight.dtype).contiguous()

    array = Held(
        weight=shaped(found * factor),
        read_variance=None if variance is None else shaped(variance * factor.square()),
        reference_variance=None if reference is None else shaped(reference),
        scale=(mapped.scale * factor).to(weight.device, weight.dtype),
    )
    return array, mapped, now


def share(transform: Transform, now: Tensor) -> Tensor:
    """What reaches the results of small deviations of devices, place by place: a number from 0 to 1 each.

    That of an array whose devices all have the mean conductance: losses come from the currents of whole rows and
    columns, hardly from a device's own. A device's *effective* conductance does not tell it: currents by other ways are
    in it.
    """
    mean = torch.full_like(now, float(now.mean()))
    return transform(mean) / mean if float(now.mean()) > 0 else torch.ones_like(now)


def at(conductance: Conductance, seconds: float) -> Conductance:
    """The same devices ``seconds`` after programming."""
    return dataclasses.replace(conductance, seconds=seconds)


def compensation(conductance: Conductance, before: Tensor, now: Tensor) -> Tensor:
    """Factors (columns) that restore the mean magnitude of the weights (rows, columns) of the first reading."""
    sizes = torch.stack((before.abs().sum(dim=0), now.abs().sum(dim=0)))
    if conductance.compensation == "global":
        sizes = sizes.sum(dim=1, keepdim=True).expand_as(sizes)
    return torch.where((sizes > 0).all(dim=0), sizes[0] / sizes[1], 1.0)


def conductances(mapped: Mapped, chip: Chip, layer: str) -> tuple[Tensor, Tensor | None]:
    """The devices' conductances at ``mapped.conductance.seconds``, in microsiemens, and how far a reading is off.

    Args:
        mapped: the targets.
        chip: whose conductance says at what time; the rest of it is that of ``mapped``.
        layer: name of the layer.

    Returns:
        Conductances and, where read noise is new for every reading, its standard deviations (else None), both in the
        shape of ``mapped.target``.
    """
    conductance = chip.conductance
    assert conductance is not None
    target = mapped.target.reshape(-1)
    now = torch.empty_like(target)
    is_redrawn = conductance.read.is_noisy and conductance.read.redraw == "reading"
    deviation = torch.zeros_like(target) if is_redrawn else None
    for start in range(0, target.numel(), CHUNK):
        part = slice(start, min(start + CHUNK, target.numel()))
        now[part], found = _devices(conductance, target[part], chip, layer, start)
        if deviation is not None and found is not None:
            deviation[part] = found
    shape = mapped.target.shape
    return now.reshape(shape), None if deviation is None else deviation.reshape(shape)


def _devices(
    conductance: Conductance, target: Tensor, chip: Chip, layer: str, start: int
) -> tuple[Tensor, Tensor | None]:
    """Conductances and deviations of readings of the devices from number ``start`` on."""

    def draw(kind: str) -> Tensor:
        return torch.from_numpy(chip.static_draws(layer, kind, target.numel(), start))

    now = target
    if conductance.programming.is_noisy:
        now = devices.programmed(conductance, target, draw("programming"))
    if conductance.retention.is_active:
        if conductance.retention.times:
            now = now + devices.retention_deviation(conductance, target) * draw("retention")
        now = devices.physical(conductance, now + devices.retention_shift(conductance))
    if conductance.drift.is_active and conductance.seconds > conductance.t0:
        sample = torch.zeros(()) if conductance.drift.deviation.is_zero else draw("drift")
        now = now * devices.drift_factor(conductance, devices.drift_exponents(conductance, target, sample))
    deviation = None
    if conductance.read.is_noisy:
        deviation = devices.read_deviation(conductance, target, now)
        if conductance.read.redraw == "time":
            now = devices.physical(conductance, now + deviation * draw(f"read at {conductance.seconds!r}"))
            deviation = None
    if conductance.faults.exist:
        stuck = chip.faults(layer, target.numel(), conductance.faults.at_min, conductance.faults.at_max, start)
        at_max = torch.from_numpy(stuck == Fault.STUCK_AT_FULL)
        at_min = torch.from_numpy(stuck == Fault.STUCK_AT_ZERO)
        now = torch.where(at_max, conductance.g_max, torch.where(at_min, conductance.g_min, now))
        if deviation is not None:
            deviation = torch.where(at_max | at_min, devices.read_deviation(conductance, now, now), deviation)
    return now, deviation
