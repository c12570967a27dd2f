# The same recipes locally and in CI. `make demo` and `make test` do all their own set-up on a
# Debian machine with Python 3.11 (or newer), make and apt; a second run starts at once.

PYTHON ?= python3
export PYTHON
BIN := .venv/bin
TESTS ?= tests

.PHONY: help demo test faults check bench setup setup-test pages lock clean
.PHONY: format lint types imports house docs

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: ## virtual environment with what the program needs
	@tools/setup.sh run

setup-test: ## ... and what its tests need, second opinions included
	@tools/setup.sh test

demo: setup ## capture an application, destroy it, recover it, prove it
	@$(BIN)/strongroom demo

test: setup-test ## the whole suite; TESTS=tests/unit for a part
	@$(BIN)/python -m pytest -n 4 --dist loadgroup $(TESTS) # they wait more than they work

faults: setup-test ## make every fault of the corpus, print what detects it; see docs/DETECTION.md
	@$(BIN)/python -m tests.corpus

check: setup-test format lint types imports house docs ## all that needs no running program

format:
	@$(BIN)/ruff format --check --quiet . || { echo "Run: $(BIN)/ruff format ."; exit 1; }

lint:
	@$(BIN)/ruff check --quiet .

types:
	@$(BIN)/mypy

imports:
	@$(BIN)/lint-imports --no-cache --no-logo

house:
	@$(BIN)/python -m pytest -q tests/house

docs:
	@$(BIN)/python -m pytest -q tests/docs

pages: setup-test ## write the generated pages of docs/ anew
	@$(BIN)/python -m tools.generate

bench: setup-test ## compare with restic and pg_dump side by side; see bench/RESULTS.md
	@$(BIN)/python -m bench.run

lock: setup-test ## pin what pyproject.toml asks for, with hashes, for all Python versions
	@tools/lock.sh

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
