# The two commands of the README. Both make a virtual environment in .venv and install mmbal into it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One thread a process in tests: they run side by side with others, and results do not depend on the machine.
export OMP_NUM_THREADS ?= 1
quickstart: export OMP_NUM_THREADS = 2
# Test processes side by side; `make test TEST_PROCESSES=0` runs them in one, for a debugger.
TEST_PROCESSES ?= 2

.PHONY: quickstart bench test test-slow test-long test-lowest test-laptop coverage check docs docs-links docs-test install clean

quickstart: $(VENV)/.installed
	$(BIN)/mmbal quickstart

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -m "not slow and not long"

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -m "slow and not long"

# Kills, faults, bad inputs and fuzz cases in great numbers; it ends with the counts and "nothing lost".
test-long: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -m "long or counted"

# The lines of mmbal that the whole suite runs, in this process and in those that it starts.
coverage: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -m "not long" --cov --cov-report=term:skip-covered --cov-fail-under=92

# The half without torch with the lowest versions that are declared, on any Python: make test-lowest PYTHON=python3.10
test-lowest: VERSIONS = --lowest
# ... and with the newest: make test-laptop PYTHON=python3.13
test-laptop test-lowest:
	rm -rf build/laptop && $(PYTHON) -m venv build/laptop
	$(PYTHON) -c "import re, sys; t = open('packaging/laptop.txt').read(); print(t.replace('>=', '==') if sys.argv[1:] else t)" \
	  $(VERSIONS) > build/laptop.txt
	build/laptop/bin/python -m pip install --quiet --no-compile -r build/laptop.txt
	build/laptop/bin/python tests/packaging/small_installation.py

check: $(VENV)/.installed
	$(BIN)/ruff check mmbal tests benchmarks examples docs
	$(BIN)/ruff format --check mmbal tests benchmarks examples docs
	$(BIN)/mypy

# The tables of docs/performance.md, those of the methods for four of them; `make bench CLIPS=folder` measures preparation too.
bench: $(VENV)/.installed
	$(BIN)/python benchmarks/tables.py $(if $(CLIPS),--clips $(CLIPS))

# The site of the documentation in build/docs; a link that leads nowhere is an error.
docs: $(VENV)/.installed
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

# Links to other sites, asked of the network; build/links/output.txt has the answer for each. A host that is out of reach counts as broken.
docs-links: $(VENV)/.installed
	$(BIN)/python -m sphinx -q -b linkcheck docs build/links

# Every command and every block of Python in README and docs, run as it stands.
docs-test: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) tests/docs

install: $(VENV)/.installed

# Bytecode is made of what is imported, when it is; most of what is installed never is.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache
