"""The bundle: every integer of a network's denoising blocks, run in the network's place on any engine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from quietbar.contract.errors import require, require_choice
from quietbar.contract.seeds import check_seed, derive_seed
from quietbar.contract.sources import Kind, check_kind
from quietbar.denoise import taps

from .block import run_block
from .calibration import Clipping, calibrate
from .quantize import quantize_block
from .storage import read_taps, write_taps
from .tap import IntegerTap


class Engine(Protocol):
    """What runs one tap on integers: the reference, or the RTL behind the same call."""

    def __call__(self, activations: Tensor, *, seed: int, start_frame: int) -> Tensor:
        """Denoised integers (N, C, H, W); frame ``start_frame`` of ``seed`` is the first one."""


Backend = Callable[["Bundle", str], Engine]
"""Makes the engine of one tap of a bundle."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """The denoising blocks of a network in integers.

    Attributes:
        taps: by name, in the order of the model's modules.
    """

    taps: Mapping[str, IntegerTap]

    def __post_init__(self) -> None:
        require(len(self.taps) > 0, "bundle.taps", (), "at least one tap")

    def tap(self, name: str) -> IntegerTap:
        """The tap called ``name``.

        Raises:
            ConfigurationError: there is none.
        """
        require_choice("bundle.tap", name, tuple(self.taps))
        return self.taps[name]

    def run(
        self, tap: str, activations: Tensor, seed: int = 0, start_frame: int = 0, source: Kind = "box-muller"
    ) -> Tensor:
        """Denoise integers (N, C, H, W) as the hardware does; see :func:`quietbar.integer.run_block`."""
        found = self.tap(tap)
        return run_block(found.config, found.parameters, activations, seed, start_frame, source=source)

    def quantize(self, tap: str, activations: Tensor) -> Tensor:
        """Real activations of ``tap`` as integers; see :meth:`IntegerTap.quantize`."""
        return self.tap(tap).quantize(activations)

    def dequantize(self, tap: str, integers: Tensor) -> Tensor:
        """Integers of ``tap`` as real activations."""
        return self.tap(tap).dequantize(integers)

    @contextlib.contextmanager
    def attach(
        self, model: nn.Module, backend: str | Backend = "integer", seed: int = 0, source: Kind = "box-muller"
    ) -> Iterator[nn.Module]:
        """Within the context the taps of ``model`` quantize, run on ``backend``, and dequantize; then all is as before.

        Frames are counted from 0 on entry, in the order in which images come, so that results depend neither on the
        size of batches nor on the backend. Tap ``t`` draws from seed ``derive_seed(seed, "tap", t)``.

        Args:
            model: with taps, as the one that was exported; changed in place.
            backend: ``"integer"`` for the reference; or a callable of (bundle, tap's name) that returns an
                :class:`Engine`, such as ``quietbar_cosim.RTLDenoiser``.
            seed: of all Gaussian sources.
            source: which Gaussian source the reference has; a callable has its own.

        Raises:
            ConfigurationError: the model's taps are not those of the bundle.
        """
        check_seed(seed, "attach.seed")
        make = _backend(backend, source)
        found = taps(model)
        require(set(found) == set(self.taps), "attach.taps", sorted(found), f"those of the bundle, {sorted(self.taps)}")
        for name, tap in found.items():
            require(
                tap.config == self.taps[name].config, f"attach.{name}.config", tap.config, f"{self.taps[name].config}"
            )
        engines = {name: make(self, name) for name in self.taps}
        blocks = {name: tap.block for name, tap in found.items()}
        try:
            for name, tap in found.items():
                tap.block = IntegerBlock(self.taps[name], engines[name], derive_seed(seed, "tap", name))  # type: ignore[assignment]
            yield model
        finally:
            for name, tap in found.items():
                tap.block = blocks[name]

    def save(self, folder: Path | str) -> Path:
        """Write the bundle to ``folder`` and return the manifest's path; the same bundle gives the same bytes.

        The manifest is replaced last, in one step: whoever reads the folder meanwhile finds the bundle before or after.
        """
        return write_taps(self.taps, Path(folder))


class IntegerBlock(nn.Module):
    """Takes a denoising block's place: quantizes, runs an engine on the integers, dequantizes; and counts frames.

    Attributes:
        tap: what is run.
        frame: number of the next frame.
    """

    def __init__(self, tap: IntegerTap, engine: Engine, seed: int) -> None:
        super().__init__()
        self.tap, self.engine, self.seed, self.frame = tap, engine, seed, 0

    def forward(self, activations: Tensor) -> Tensor:
        """Denoised activations, of the same shape and type."""
        integers = self.tap.quantize(activations.detach().cpu())
        denoised = self.engine(integers, seed=self.seed, start_frame=self.frame)
        self.frame += len(integers)
        return self.tap.dequantize(denoised).to(activations)


def export(model: nn.Module, calibration: Iterable[Any], clipping: Clipping = Clipping()) -> Bundle:  # noqa: B008
    """The denoising blocks of ``model`` in integers.

    Scales are measured where the integers will run: on the model with its blocks at work, in evaluation mode, with the
    noise that it has. The mode of its modules and its position in the noise are afterwards what they were.

    Args:
        model: from ``quietbar.denoise.insert``, trained.
        calibration: batches of (inputs, labels), or of inputs; training images, never test images.
        clipping: how ranges are chosen.

    Raises:
        ConfigurationError: there are no taps or no images, or a block's numbers do not fit the contract; tap, stage and
            channel are named.
        CalibrationError: an activation is not finite, or a tensor is 0 throughout.
    """
    scales = calibrate(model, calibration, clipping)
    found = taps(model)
    return Bundle(
        {
            name: IntegerTap(name, quantize_block(tap.config, tap.block.folded(), scales[name], name), scales[name])
            for name, tap in found.items()
        }
    )


def load(path: Path | str) -> Bundle:
    """The bundle in a folder (or of a manifest's path), checked: format, hashes, and every type, shape and range.

    Raises:
        ConfigurationError: something is missing, unknown or altered; the field is named.
    """
    return Bundle(read_taps(Path(path)))


def _backend(backend: str | Backend, source: Kind) -> Backend:
    check_kind(source, "attach.source")
    if callable(backend):
        return backend
    require_choice("attach.backend", backend, ("integer",))
    return lambda bundle, tap: partial(bundle.run, tap, source=source)
