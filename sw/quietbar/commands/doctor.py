"""Show every tool and package that quietbar needs: version, path, the oldest that will do, and what it is for.

What is missing is named with the command that mends it. The exit status is 0 when all is there, 1 when not.
"""

from __future__ import annotations

import argparse

from .. import doctor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has none of its own."""


def execute(arguments: argparse.Namespace) -> int:
    """Print the examination."""
    examined = doctor.examine()
    print(doctor.format_examination(examined))
    return 0 if doctor.is_well(examined) else 1
