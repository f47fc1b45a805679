"""The engine: all blocks of a network in one piece of hardware, chosen frame by frame."""
