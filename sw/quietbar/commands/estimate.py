"""Estimate energy, latency and area of a network's layers on analog tiles, from published constants.

NETWORK is the name of a network (resnet20) or a recipe (recipes/digits.toml). Every assumption and source is printed;
a TOML file given as --hardware puts other figures in place of the published ones, by the names of the fields of
quietbar.estimates.Hardware.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

SHAPES = {"digits": (1, 8, 8)}
"""Inputs of the networks by name; (3, 32, 32) for the others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the network, the tiles and the converters."""
    parser.add_argument("network", metavar="NETWORK", help="name of a network, or a recipe's TOML file")
    parser.add_argument("--shape", help="of one input, e.g. 3,32,32 (default: what the network was made for)")
    parser.add_argument("--rows", type=int, dest="tile_rows", help="rows of an array (default 128)")
    parser.add_argument("--columns", type=int, dest="tile_columns", help="columns of an array (default 128)")
    parser.add_argument("--columns-per-weight", type=int, help="2 for differential pairs (default 2)")
    parser.add_argument("--weight-slices", type=int, help="columns, or pairs, for the digits of a weight (default 1)")
    parser.add_argument("--columns-per-adc", type=int, help="columns that share an ADC (default 128)")
    parser.add_argument("--dac-bits", type=int, default=8, help="bits of the inputs (default 8)")
    parser.add_argument("--adc-bits", type=int, default=8, help="bits of the ADCs (default 8)")
    parser.add_argument("--slice-bits", type=int, help="bits of the inputs applied at a time (default: all)")
    parser.add_argument(
        "--hardware", type=Path, metavar="FILE", help="TOML file of fields of quietbar.estimates.Hardware"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all counts and costs there")


def execute(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from quietbar import models
    from quietbar.analog import Converter, Interface
    from quietbar.estimates import Hardware, estimate
    from quietbar.files import write_atomically

    name = _network(arguments.network)
    fields = _read(arguments.hardware) if arguments.hardware else {}
    for field in ("tile_rows", "tile_columns", "columns_per_weight", "weight_slices", "columns_per_adc"):
        if getattr(arguments, field) is not None:
            fields[field] = getattr(arguments, field)
    interface = Interface(Converter(arguments.dac_bits), Converter(arguments.adc_bits), slice_bits=arguments.slice_bits)
    shape = _shape(arguments.shape) if arguments.shape else SHAPES.get(name, (3, 32, 32))
    found = estimate(models.create(name), shape, Hardware.from_dict(fields), interface)
    print(found.table())
    if arguments.json:
        write_atomically(arguments.json, json.dumps(found.to_dict(), indent=1) + "\n")
    return 0


def _network(given: str) -> str:
    """The name of the network that a name or a recipe stands for."""
    from quietbar.contract.errors import require
    from quietbar.experiment.recipe import read_recipe
    from quietbar.models import NAMES

    if given.endswith(".toml"):
        return read_recipe(Path(given)).model.name
    require(given in NAMES, "estimate.network", given, f"a recipe's .toml file or one of {', '.join(NAMES)}")
    return given


def _shape(given: str) -> tuple[int, ...]:
    from quietbar.contract.errors import ConfigurationError

    parts = given.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ConfigurationError("estimate.shape", given, "numbers above 0, parted by commas, e.g. 3,32,32")
    return tuple(int(part) for part in parts)


def _read(path: Path) -> dict[str, Any]:
    from quietbar.contract.errors import QuietbarError

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise QuietbarError(f"hardware {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise QuietbarError(f"hardware {path}: {error}") from error
