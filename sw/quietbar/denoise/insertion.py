"""Denoising blocks in and out of any model, without a change to its code."""

from __future__ import annotations

import contextlib
import copy
import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from quietbar.contract.block import BlockConfig, Kernel, Mode
from quietbar.contract.errors import ConfigurationError, require
from quietbar.contract.seeds import derive_seed
from quietbar.models import evaluation_mode

from .block import DenoisingBlock
from .levels import unchanged_noise
from .observation import observed


class Tap(nn.Module):
    """A submodule of the model and the denoising block behind it: ``block(host(...))``.

    Attributes:
        name: name of the submodule in the model without taps.
        host: the submodule, as it was.
        block: reads the host's output and takes its place.
        config: channels, hidden width, frame, kernel, mode and sign: what the integers and the hardware are made from.
        enabled: False lets the host's output through.
    """

    host: nn.Module
    block: DenoisingBlock

    def __init__(self, name: str, host: nn.Module, config: BlockConfig) -> None:
        super().__init__()
        self.name, self.config, self.enabled = name, config, True
        self.host = host
        self.block = DenoisingBlock(config.channels, config.hidden, config.kernel, config.mode, config.signed)

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """The host's output (N, channels, H, W), denoised if the tap is enabled."""
        output = self.host(*arguments, **options)
        return self.block(output) if self.enabled else output

    def __getattr__(self, name: str) -> Any:
        # A model may read its submodule's attributes (`self.conv.stride`): they are the host's.
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("host"), name)

    def extra_repr(self) -> str:
        return f"{self.name!r}" if self.enabled else f"{self.name!r}, enabled=False"


class PlacedTap(Protocol):
    """What a placement plan says of a tap; one with ``selected`` False is left out."""

    @property
    def name(self) -> str: ...
    @property
    def config(self) -> BlockConfig: ...


def insert(
    model: nn.Module,
    taps: Iterable[str | PlacedTap],
    probe: Tensor | None = None,
    *,
    hidden: int | Mapping[str, int] | None = None,
    kernel: Kernel = "depthwise",
    mode: Mode = "mean",
    signed: bool | None = None,
    seed: int = 0,
) -> nn.Module:
    """A copy of ``model`` with an untrained denoising block, the identity, behind each tap.

    Args:
        model: left as it is.
        taps: names of submodules with one (N, C, H, W) output, or a plan of :func:`quietbar.placement.search`, which
            brings shape and width of its blocks along.
        probe: inputs (N, ...) of the model, real ones, which show the taps' shapes and signs; needed with names only.
        hidden: width of all blocks, or by tap; C // 4 where none is given.
        kernel: 3x3 stage of the blocks, ``"depthwise"`` or ``"dense"``.
        mode: ``"mean"`` or ``"sampling"``.
        signed: whether activations can be negative; by default, whether the probe shows any that are.
        seed: of the blocks' first weights, each tap's its own.

    Raises:
        ConfigurationError: a tap does not exist (names near it are listed), has a block already, is called other than
            once in a forward pass, or its output is not a tensor of four dimensions.
    """
    wanted = [tap for tap in taps if getattr(tap, "selected", True)]
    require(len(wanted) > 0, "insert.taps", (), "at least one tap")
    names: list[Any] = [tap if isinstance(tap, str) else getattr(tap, "name", tap) for tap in wanted]
    for name in names:
        _require_tap(model, name, names)
    unknown = set(hidden) - set(names) if isinstance(hidden, Mapping) else set()
    require(not unknown, "insert.hidden", sorted(unknown), "taps that are inserted")

    configs = {tap.name: tap.config for tap in wanted if not isinstance(tap, str)}
    if len(configs) < len(names):
        require(probe is not None, "insert.probe", None, "a batch of inputs where taps are given by name")
        assert probe is not None
        open_names = [name for name in names if name not in configs]
        measured = measure(model, open_names, probe, kernel=kernel, mode=mode, signed=signed)
        for name, config in measured.items():
            width = hidden.get(name) if isinstance(hidden, Mapping) else hidden
            configs[name] = config if width is None else replace(config, hidden=width)

    result = copy.deepcopy(model)
    # Inner taps first: a tap around another one must not change the other's path before it is found.
    for name in sorted(names, key=lambda name: name.count("."), reverse=True):
        host = result.get_submodule(name)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(seed, "denoise", name))
            tap = Tap(name, host, configs[name])
        tensor = next(result.parameters(), None)
        if tensor is not None:
            tap.block.to(tensor.device, tensor.dtype)
        tap.train(host.training)
        result.set_submodule(name, tap)
    return result


def measure(
    model: nn.Module,
    names: Iterable[str],
    probe: Tensor,
    *,
    kernel: Kernel = "depthwise",
    mode: Mode = "mean",
    signed: bool | None = None,
) -> dict[str, BlockConfig]:
    """Configuration of a block of default width at each of the taps, in the order in which the model reaches them.

    Args:
        model: run once in evaluation mode.
        names: of submodules.
        probe: inputs (N, ...) of the model.
        kernel: of all blocks.
        mode: of all blocks.
        signed: of all taps; by default, whether the probe shows a negative activation there.

    Raises:
        ConfigurationError: as :func:`insert`.
    """
    names = list(names)
    for name in names:
        _require_tap(model, name, names)
    modules = {name: model.get_submodule(name) for name in names}
    with unchanged_noise(model), evaluation_mode(model), torch.inference_mode(), observed(modules) as seen:
        model(probe)
    for name in names:
        calls = seen.get(name, [])
        require(len(calls) == 1, "tap.calls", len(calls), f"1 in a forward pass, at {name}")
        shape = tuple(calls[0].shape) if isinstance(calls[0], Tensor) else type(calls[0]).__name__
        require(isinstance(shape, tuple) and len(shape) == 4, "tap.shape", shape, f"(N, C, H, W), at {name}")
    configs = {}
    for name, (output,) in seen.items():
        _, channels, height, width = output.shape
        negative = bool((output < 0).any()) if signed is None else signed
        configs[name] = BlockConfig(channels, max(1, channels // 4), height, width, kernel, mode, negative)
    return configs


def remove(model: nn.Module) -> nn.Module:
    """A copy of ``model`` without taps, as it was before :func:`insert`."""
    require(not isinstance(model, Tap), "remove.model", type(model).__name__, "the model that has the taps")
    result = copy.deepcopy(model)
    # One at a time, as the host of a tap may hold another one, whose path then changes.
    while found := next(((path, each) for path, each in result.named_modules() if isinstance(each, Tap)), None):
        path, tap = found
        result.set_submodule(path, tap.host)
    return result


def taps(model: nn.Module) -> dict[str, Tap]:
    """The model's taps by name, in the order of its modules."""
    return {module.name: module for module in model.modules() if isinstance(module, Tap)}


def enable(model: nn.Module, enabled: bool = True) -> None:
    """Switch all denoising blocks on, or off: then the model computes what it did before :func:`insert`."""
    for tap in taps(model).values():
        tap.enabled = enabled


@contextlib.contextmanager
def unchanged_taps(model: nn.Module) -> Iterator[None]:
    """Afterwards each tap is on or off as it was, whatever happens."""
    before = {tap: tap.enabled for tap in taps(model).values()}
    try:
        yield
    finally:
        for tap, enabled in before.items():
            tap.enabled = enabled


@contextlib.contextmanager
def without_blocks(model: nn.Module) -> Iterator[nn.Module]:
    """The model with its blocks off; afterwards each one is as it was."""
    with unchanged_taps(model):
        enable(model, False)
        yield model


def require_taps(model: nn.Module, purpose: str) -> dict[str, Tap]:
    """The model's taps, refusing a model without any."""
    found = taps(model)
    require(len(found) > 0, f"{purpose}.model", type(model).__name__, "a model with taps: see quietbar.denoise.insert")
    return found


def _require_tap(model: nn.Module, name: Any, names: list[str]) -> None:
    require(isinstance(name, str) and name != "", "tap", name, "the name of a submodule")
    require(names.count(name) == 1, "tap", name, "named once")
    modules = dict(model.named_modules())
    if name not in modules:
        near = difflib.get_close_matches(name, [other for other in modules if other], n=4, cutoff=0.3)
        hint = f"near it are {', '.join(near)}" if near else f"they are {', '.join(list(modules)[1:])}"
        raise ConfigurationError("tap", name, f"a submodule of the model; {hint}")
    require(not isinstance(modules[name], Tap), "tap", name, "a submodule that has no block yet")
