"""Modules that run inside the simulator, under cocotb."""
