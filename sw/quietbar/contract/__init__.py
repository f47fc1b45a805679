"""The arithmetic contract: every width, table, rounding and random draw, as pure data and executable specification.

Both engines, the PyTorch integer reference and the hardware, import it; it imports neither. See ``docs/numerics.md``.
"""

from .block import SIGMA, BlockConfig, Stage
from .crossbar import CrossbarConfig
from .errors import ConfigurationError, QuietbarError, require, require_choice, require_integer
from .number import BIAS, INT8, UINT8, WEIGHT_LIMIT, IntegerFormat
from .requantize import choose_multiplier, requantize, round_shift
from .seeds import check_seed, derive_seed

__all__ = [
    "BIAS",
    "INT8",
    "SIGMA",
    "UINT8",
    "WEIGHT_LIMIT",
    "BlockConfig",
    "ConfigurationError",
    "CrossbarConfig",
    "IntegerFormat",
    "QuietbarError",
    "Stage",
    "check_seed",
    "choose_multiplier",
    "derive_seed",
    "requantize",
    "require",
    "require_choice",
    "require_integer",
    "round_shift",
]
