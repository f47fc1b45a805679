"""The hardware of quietbar in Amaranth. Imports :mod:`quietbar.contract`, never PyTorch."""
