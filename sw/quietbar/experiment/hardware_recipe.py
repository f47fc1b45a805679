"""The part of a recipe that says what is made of the blocks in hardware."""

from __future__ import annotations

from dataclasses import dataclass

from quietbar.contract.engine import EngineConfig, Kernels
from quietbar.contract.errors import ConfigurationError, require, require_integer, require_number
from quietbar.contract.sources import Kind, check_kind


@dataclass(frozen=True)
class EngineRecipe:
    """The parallelism of an engine that holds all blocks; its memory is as large as they need.

    Attributes:
        lanes, group, outputs: as in :class:`quietbar.contract.engine.EngineConfig`.
    """

    lanes: int = EngineConfig.lanes
    group: int = EngineConfig.group
    outputs: int = EngineConfig.outputs

    def __post_init__(self) -> None:
        try:
            self.smallest(noise=False)
        except ConfigurationError as error:
            raise ConfigurationError(f"hardware.{error.field}", error.value, error.allowed) from None

    def smallest(self, *, noise: bool, kernels: Kernels = "both", source: Kind = "box-muller") -> EngineConfig:
        """The smallest engine of this parallelism."""
        small = dict.fromkeys(
            ("height", "width", "blocks", "matrix_rows", "window_rows", "hidden_rows", "channel_rows"), 1
        )
        return EngineConfig(
            self.lanes,
            self.group,
            self.outputs,
            channels=self.lanes,
            hidden=self.group,
            noise=noise,
            kernels=kernels,
            source=source,
            **small,
        )


@dataclass(frozen=True)
class TargetRecipe:
    """A device and a rate, for which an engine is chosen and its image made; see ``quietbar fold``.

    Attributes:
        device: by its name in the table of :mod:`quietbar_hw.synthesis.devices`.
        frames_per_second: of the network, at least.
        clock: in MHz; left out, what the device's family is planned with.
    """

    device: str
    frames_per_second: float
    clock: float | None = None

    def __post_init__(self) -> None:
        require_number("hardware.target.frames_per_second", self.frames_per_second, 1e-6, 1e9)
        if self.clock is not None:
            require_number("hardware.target.clock", self.clock, 0.001, 2000)


@dataclass(frozen=True)
class HardwareRecipe:
    """What is made of the blocks in hardware.

    Attributes:
        lanes: channels a beat of the denoisers' streams, at most: as many as divide a tap's channels.
        threads: simulators that run side by side.
        engine: that holds all blocks; where given, the RTL's accuracy is measured on it, and else on a denoiser a tap.
        cosim_frames: frames of each block's real activations that go through cocotb, under every stall pattern.
        synthesis: whether Yosys counts resources.
        target: that an engine for all blocks is chosen for, and its image made; left out, none.
        source: Gaussian source of the engines, and of the reference that the integers' accuracy is measured with. A
            denoiser a tap has Box-Muller alone.
    """

    lanes: int = 4
    threads: int = 2
    engine: EngineRecipe | None = None
    cosim_frames: int = 2
    synthesis: bool = True
    target: TargetRecipe | None = None
    source: Kind = "box-muller"

    def __post_init__(self) -> None:
        check_kind(self.source, "hardware.source")
        there = self.source == "box-muller" or self.engine is not None
        require(there, "hardware.source", self.source, "'box-muller' without hardware.engine: denoisers have no other")
        require_integer("hardware.lanes", self.lanes, 1, 64)
        require_integer("hardware.threads", self.threads, 1, 256)
        require_integer("hardware.cosim_frames", self.cosim_frames, 1, 1000)
