"""Subcommands of ``quietbar`` that need the hardware too; see :mod:`quietbar.cli` for what a command is."""
