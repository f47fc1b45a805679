"""Mutants of the hardware, which the benches and proofs have to tell from the sound design; what each of them found."""
