# Everything that quietbar does for a person at a terminal. `make help` lists it.

# The first Python that is new enough; `make PYTHON=...` names another.
new-enough = $(shell $(1) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(1))
PYTHON ?= $(or $(call new-enough,python3),$(call new-enough,python3.11),$(call new-enough,python3.12),$(call \
	new-enough,python3.13),$(call new-enough,python3.14))
# How many processes run the tests.
JOBS ?= 2
# Recipe of `make demo` and `make accuracy`.
RECIPE ?= recipes/digits.toml

BIN := .venv/bin
export AMARANTH_USE_YOSYS := builtin
export QUIETBAR_TORCH_INDEX

.DEFAULT_GOAL := help
.PHONY: help setup doctor demo test test-slow lint verilog cosim cosim-mixed accuracy synth formal bitstream mutants coverage status bench gaussian-report docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/    make \1\t\2/p' Makefile | expand -t 28

setup: ## make .venv with the tested version of everything; a second call does nothing
	@python="$(PYTHON)"; if [ -z "$$python" ]; then \
		echo "setup: Python 3.11 or newer is needed and none was found; install it, or name it: make PYTHON=..." >&2; exit 1; \
	fi; $$python tools/setup_environment.py

doctor: setup ## show every tool, its version, and what is missing
	@$(BIN)/quietbar doctor

demo: setup ## the whole way on a small data set, from a noisy network to bit-exact Verilog
	@$(BIN)/quietbar run $(RECIPE)

lint: setup ## style and types only
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

test: lint ## every check: style, types, tests
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow"

test-slow: setup ## the tests that take more than a minute each
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

verilog: setup ## write Verilog and its manifest to build/verilog
	@$(BIN)/quietbar verilog

cosim: setup ## compare the RTL with the reference, bit for bit
	@$(BIN)/quietbar cosim

cosim-mixed: setup ## a network on crossbar tiles in RTL over noise and time, with and without denoisers; resumes
	@$(BIN)/quietbar cosim-mixed

accuracy: setup ## accuracy with every bit taken from the RTL
	@$(BIN)/quietbar accuracy $(RECIPE)

synth: setup ## synthesise, place and time the watched designs, and compare with hw/synth/baseline.json
	@$(BIN)/quietbar synth

formal: setup ## prove the hardware's properties: by induction, bounded, or as equivalence; resumes
	@$(BIN)/quietbar formal --jobs $(JOBS)

bitstream: setup ## the bitstream of the ULX3S example in build/board; BOARD="--device 85F" for another size
	@$(BIN)/quietbar bitstream $(BOARD)

mutants: setup ## plant faults in the RTL and see which bench or proof catches each; MUTANTS="resize --count 4"; resumes
	@$(BIN)/quietbar mutate --jobs $(JOBS) $(MUTANTS)

coverage: setup ## lines and toggles of the Verilog that the benches of each part cover
	@$(BIN)/quietbar coverage

status: setup ## what the tools recorded of each block: specified, linted, simulated, covered, proven, synthesised
	@$(BIN)/quietbar status

bench: setup ## speed of everything on this machine; BENCH="--sections analog" for a part
	@$(BIN)/python tools/benchmark.py $(BENCH)

gaussian-report: setup ## quality of both Gaussian sources on 1e9 samples each; resumes where it stopped
	@for kind in box-muller inverse-cdf; do $(BIN)/quietbar gaussian-report --kind $$kind --count 1e9 --jobs $(JOBS) || exit; done

docs: ## list the documents; they are plain Markdown
	@for file in README.md CHANGELOG.md $(wildcard docs/*.md); do printf '%-28s' "$$file"; sed -n '1s/^# *//p' "$$file"; done

clean: ## delete what was built; .venv stays
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
