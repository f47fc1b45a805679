"""The analog crossbar tile, behaviourally, equal to ``quietbar.integer.crossbar`` bit for bit. See docs/crossbar.md."""
