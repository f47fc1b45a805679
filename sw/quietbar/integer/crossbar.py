"""The crossbar reference; being written by the CROSSBAR helper."""
