"""The engine that serves all blocks of a network: what is fixed when it is built, what a descriptor sets, its memory.

One engine holds the parameters of several blocks at once. A frame's ``tid`` names the block; the block's descriptor
says how often each stage folds and where its parameters lie. Arithmetic is that of :mod:`quietbar.contract.block`.

Work is done in units of ``lanes`` channels, ``group`` hidden channels and ``outputs`` outputs of the 3x3 stage, all
powers of two:

    reduce      takes ``lanes`` channels a cycle for ``group`` hidden channels: ``lanes * group`` multipliers
    spatial     takes the 3x3 windows of ``group`` hidden channels a cycle; dense: for ``outputs`` outputs, depthwise:
                one output for each of the channels: ``9 * group * outputs`` multipliers, ``9 * group`` where there is
                no dense stage
    heads       take ``group`` hidden channels a cycle for ``lanes`` channels: ``lanes * group`` multipliers a head

All stages of a dense block take the same number of cycles where ``channels / hidden = lanes / outputs``.

A block whose channels or hidden channels are no multiples of these units is padded with channels whose parameters are
zero; such a channel of the data streams is there, ignored on the way in, and meaningless on the way out.

Memory is written in 32-bit words. A word's address is ``section << section_bits | row << row_bits | word``, see
:class:`Section` and :meth:`EngineConfig.row_words`; a byte address is four times that.
"""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from .block import HIDDEN, LOG_SIGMA, WINDOW, BlockConfig, Stage
from .errors import require, require_choice, require_integer
from .number import UINT8, IntegerFormat
from .sources import KINDS, Kind, SourceConfig

Kernels = Literal["dense", "depthwise", "both"]

WORD_BITS = 32
WEIGHTS_PER_WORD = 4
WORDS_PER_OUTPUT = 2
"""Of requantisation: the bias; then the multiplier with the shift above it."""
SHIFT_PLACE = 16
"""Lowest bit of the shift in the second of these words."""
DESCRIPTOR_WORDS = 4


class Section(enum.IntEnum):
    """Parts of the memory; the number is the upper part of an address.

    Weights, four to a word, the first in the low byte. A row holds what one cycle takes, output by output:

    - ``REDUCE``: ``group`` outputs by ``lanes`` inputs; rows in order (group of outputs, beat of inputs).
    - ``SPATIAL``: dense, ``outputs`` outputs by ``group`` channels by 9 places of the window; rows in order (outputs,
      group of channels). Depthwise, ``group`` channels by 9 places, the rest of the row unused; rows in order of
      groups.
    - ``MEAN``, ``LOG_SIGMA``: ``lanes`` outputs by ``group`` inputs; rows in order (beat of outputs, group of inputs).

    Requantisation, two words an output. A row of ``REDUCE_SCALE`` and ``SPATIAL_SCALE`` holds ``group`` outputs, one of
    ``MEAN_SCALE`` and ``LOG_SIGMA_SCALE`` ``lanes`` outputs.
    """

    DESCRIPTORS = 0
    SEED = 1
    REDUCE = 2
    SPATIAL = 3
    MEAN = 4
    LOG_SIGMA = 5
    REDUCE_SCALE = 6
    SPATIAL_SCALE = 7
    MEAN_SCALE = 8
    LOG_SIGMA_SCALE = 9


SECTION_BITS = max(Section).bit_length()
"""Bits of an address that say the section."""

WEIGHT_SECTIONS = {
    "reduce": Section.REDUCE,
    "spatial": Section.SPATIAL,
    "mean": Section.MEAN,
    "log_sigma": Section.LOG_SIGMA,
}
SCALE_SECTIONS = {
    "reduce": Section.REDUCE_SCALE,
    "spatial": Section.SPATIAL_SCALE,
    "mean": Section.MEAN_SCALE,
    "log_sigma": Section.LOG_SIGMA_SCALE,
}


class EngineError(enum.IntFlag):
    """What can go wrong at run time; each is one bit of the engine's ``errors``, which pulses when it happens."""

    FRAME_SHORT = 1
    """``tlast`` came early. The frame is filled up with zeros and comes out whole, marked bad by ``tuser``."""
    FRAME_LONG = 2
    """``tlast`` was missing. Beats up to the next ``tlast`` are dropped; the frame comes out marked bad."""
    BLOCK_CHANGED = 4
    """``tid`` changed within a frame. The first one counts; the frame comes out marked bad."""
    BLOCK_UNKNOWN = 8
    """``tid`` names no block with a valid descriptor. The frame is dropped up to its ``tlast``; nothing comes out."""
    NOT_SEEDED = 16
    """A frame of a sampling block came while there was no seed. It is dropped as a frame of an unknown block is."""
    WRITE_BUSY = 32
    """Memory was written while the engine ran or frames were inside. The write was dropped."""
    WRITE_ADDRESS = 64
    """Memory was written where there is none. The write was dropped."""
    PARAMETER_RANGE = 128
    """A weight of -128, a bias of more than 24 bits, a multiplier or shift outside its range. The write was dropped."""
    DESCRIPTOR_RANGE = 256
    """A descriptor asks for more than the engine has. The block stays unknown."""
    SEED_RANGE = 512
    """The words of a seed that no seed has. The engine counts as not seeded."""


ERROR_BITS = max(EngineError).bit_length()

COUNTERS = (
    "frames",
    "bad_frames",
    "dropped_frames",
    "busy_cycles",
    "stalled_in_cycles",
    "stalled_out_cycles",
    "mean_saturations",
    "log_sigma_saturations",
    "output_saturations",
)
"""Counters of the engine, 32 bits each, that wrap; in the order of its ports."""
COUNTER_BITS = 32


def _power_of_two(field: str, value: int, high: int) -> None:
    require_integer(field, value, 1, high)
    require(value & (value - 1) == 0, field, value, "a power of two")


def _ceiling(number: int, unit: int) -> int:
    return -(-number // unit)


@dataclass(frozen=True)
class EngineConfig:
    """What is fixed when an engine is built.

    Attributes:
        lanes: channels to a beat of the data streams, inputs of ``reduce`` and outputs of the heads at a time.
        group: hidden channels at a time.
        outputs: outputs of a dense 3x3 stage at a time; also requantisers of ``reduce`` and ``spatial``.
        channels, hidden, height, width: the largest block.
        blocks: how many descriptors there are.
        matrix_rows: rows of weights of ``reduce`` and of each head.
        window_rows: rows of weights of ``spatial``.
        hidden_rows, channel_rows: rows of requantisation of ``reduce`` and ``spatial``, and of each head.
        noise: whether there is a Gaussian source, and with it the ``log_sigma`` head.
        kernels: which 3x3 stages there are.
        fraction_bits: of the noise estimate, of all blocks.
        source: which Gaussian source, where there is one; see :mod:`quietbar.contract.sources`.
    """

    lanes: int = 4
    group: int = 4
    outputs: int = 1
    channels: int = 64
    hidden: int = 16
    height: int = 64
    width: int = 64
    blocks: int = 16
    matrix_rows: int = 512
    window_rows: int = 512
    hidden_rows: int = 64
    channel_rows: int = 256
    noise: bool = True
    kernels: Kernels = "both"
    fraction_bits: int = 4
    source: Kind = "box-muller"

    def __post_init__(self) -> None:
        _power_of_two("engine.lanes", self.lanes, 64)
        _power_of_two("engine.group", self.group, 64)
        _power_of_two("engine.outputs", self.outputs, 64)
        require(self.outputs <= self.group, "engine.outputs", self.outputs, f"at most the group of {self.group}")
        require_choice("engine.noise", self.noise, (True, False))
        require_choice("engine.source", self.source, KINDS)
        pairs = self.noise and self.source == "box-muller"
        require(not pairs or self.lanes > 1, "engine.lanes", self.lanes, "2 or more: samples of Box-Muller are pairs")
        require_choice("engine.kernels", self.kernels, ("dense", "depthwise", "both"))
        require_integer("engine.channels", self.channels, self.lanes, 1024)
        require_integer("engine.hidden", self.hidden, self.group, 256)
        multiple = self.channels % self.lanes == 0
        require(multiple, "engine.channels", self.channels, f"a multiple of the {self.lanes} lanes")
        multiple = self.hidden % self.group == 0
        require(multiple, "engine.hidden", self.hidden, f"a multiple of the group of {self.group}")
        require(self.beats <= 256, "engine.channels", self.channels, f"at most {256 * self.lanes} with these lanes")
        for name, high in (("height", 4096), ("width", 4096), ("blocks", 256)):
            require_integer(f"engine.{name}", getattr(self, name), 1, high)
        for name in ("matrix_rows", "window_rows", "hidden_rows", "channel_rows"):
            require_integer(f"engine.{name}", getattr(self, name), 1, 1 << 16)
        require_integer("engine.fraction_bits", self.fraction_bits, 1, 7)

    @property
    def beats(self) -> int:
        """Beats of the widest pixel."""
        return self.channels // self.lanes

    @property
    def groups(self) -> int:
        """Groups of hidden channels of the widest pixel."""
        return self.hidden // self.group

    @property
    def parts(self) -> int:
        """Transfers of a group of hidden channels: ``outputs`` at a time."""
        return self.group // self.outputs

    @property
    def dense(self) -> bool:
        """Whether there is a dense 3x3 stage."""
        return self.kernels != "depthwise"

    @property
    def depthwise(self) -> bool:
        """Whether there is a depthwise 3x3 stage."""
        return self.kernels != "dense"

    @property
    def id_bits(self) -> int:
        """Width of ``tid``."""
        return max(1, (self.blocks - 1).bit_length())

    @property
    def gaussian(self) -> SourceConfig | None:
        """The Gaussian source, a sample for each lane at a time; None where there is none."""
        return SourceConfig(self.source, self.lanes) if self.noise else None

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that there are."""
        return ("mean", "log_sigma") if self.noise else ("mean",)

    @property
    def mean_format(self) -> IntegerFormat:
        """Format of ``mu``."""
        return IntegerFormat(8 + self.fraction_bits, signed=True)

    def stage(self, name: str) -> Stage:
        """A stage at its largest, which sizes its accumulators. Activations of ``reduce`` may be of either sign."""
        window = WINDOW * self.hidden if self.dense else WINDOW
        return {
            "reduce": Stage("reduce", self.hidden, self.channels, UINT8, HIDDEN),
            "spatial": Stage("spatial", self.hidden, window, HIDDEN, HIDDEN),
            "mean": Stage("mean", self.channels, self.hidden, HIDDEN, self.mean_format),
            "log_sigma": Stage("log_sigma", self.channels, self.hidden, HIDDEN, LOG_SIGMA),
        }[name]

    def multipliers_of(self, name: str) -> int:
        """8 x 8 bit multipliers of a stage."""
        if name == "spatial":
            return WINDOW * self.group * (self.outputs if self.dense else 1)
        return self.lanes * self.group

    @property
    def multipliers(self) -> int:
        """8 x 8 bit multipliers of all stages."""
        return sum(self.multipliers_of(name) for name in ("reduce", "spatial", *self.heads))

    # Memory.

    def rows(self, section: Section) -> int:
        """Rows of a section; descriptors count one row each, the seed one row in all. 0 where there is none."""
        if section in (Section.LOG_SIGMA, Section.LOG_SIGMA_SCALE, Section.SEED) and not self.noise:
            return 0
        return {
            Section.DESCRIPTORS: self.blocks,
            Section.SEED: 1,
            Section.SPATIAL: self.window_rows,
            Section.REDUCE_SCALE: self.hidden_rows,
            Section.SPATIAL_SCALE: self.hidden_rows,
            Section.MEAN_SCALE: self.channel_rows,
            Section.LOG_SIGMA_SCALE: self.channel_rows,
        }.get(section, self.matrix_rows)

    def row_words(self, section: Section) -> int:
        """Words of a row that there are; addresses of rows are apart by the next power of two."""
        if section == Section.DESCRIPTORS:
            return DESCRIPTOR_WORDS
        if section == Section.SEED:
            return 1 if self.gaussian is None else self.gaussian.seed_words
        if section in (Section.REDUCE_SCALE, Section.SPATIAL_SCALE):
            return WORDS_PER_OUTPUT * self.group
        if section in (Section.MEAN_SCALE, Section.LOG_SIGMA_SCALE):
            return WORDS_PER_OUTPUT * self.lanes
        weights = self.multipliers_of("spatial" if section == Section.SPATIAL else "reduce")
        return _ceiling(weights, WEIGHTS_PER_WORD)

    def row_bits(self, section: Section) -> int:
        """Bits of an address below the row."""
        return (self.row_words(section) - 1).bit_length()

    @property
    def section_bits(self) -> int:
        """Bits of an address below the section."""
        return max(self.row_bits(section) + max(self.rows(section) - 1, 0).bit_length() for section in Section)

    @property
    def address_bits(self) -> int:
        """Bits of a word address."""
        return SECTION_BITS + self.section_bits

    def address(self, section: Section, row: int = 0, word: int = 0) -> int:
        """Address of a word; whoever asks for one outside the section is refused by name."""
        require(self.rows(section) > 0, "engine.section", section.name, "one that this engine has")
        require_integer(f"engine.{section.name}.row", row, 0, self.rows(section) - 1)
        require_integer(f"engine.{section.name}.word", word, 0, self.row_words(section) - 1)
        return section << self.section_bits | row << self.row_bits(section) | word

    # Blocks.

    def check(self, block: BlockConfig, where: str = "block") -> None:
        """Refuse a block that this engine cannot run, however empty its memory; ``where`` names it."""
        for name in ("channels", "hidden", "height", "width"):
            high = getattr(self, name)
            require_integer(f"{where}.{name}", getattr(block, name), 1, high)
        if self.kernels != "both":
            require_choice(f"{where}.kernel", block.kernel, (self.kernels,))
        require_choice(f"{where}.fraction_bits", block.fraction_bits, (self.fraction_bits,))
        if block.mode == "sampling":
            require(self.noise, f"{where}.mode", block.mode, "'mean': this engine has no Gaussian source")
            require(
                block.channels % self.lanes == 0,
                f"{where}.channels",
                block.channels,
                f"a multiple of the {self.lanes} lanes in sampling mode: every lane takes a sample",
            )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values, for manifests."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> EngineConfig:
        """The inverse of :meth:`to_dict`; unknown fields are refused by name, missing ones have their defaults."""
        known = {field.name for field in fields(cls)}
        for name in values:
            require(
                name in known, f"engine.{name}", values[name], "absent: known fields are " + ", ".join(sorted(known))
            )
        return cls(**values)


REFERENCE = EngineConfig()
"""The engine whose figures the documents give: 84 multipliers, balanced for channels / hidden = 4."""
