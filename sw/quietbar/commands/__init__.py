"""Subcommands of ``quietbar`` that need only the software; see :mod:`quietbar.cli` for what a command is."""
