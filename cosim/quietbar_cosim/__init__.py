"""Co-simulation of the hardware with the software: benches, the bulk runner, the RTL as a PyTorch module."""
