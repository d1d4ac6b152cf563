# Two commands: `make bench` measures a leaderboard on this machine, `make test` proves the code in minutes.
# `make test-slow` runs the tests that need clusters, servers or a browser, or kill processes.
# `make bench` writes the store kfsvd-bench.sqlite and the folder results/, both ignored by git.
# `make docs` rewrites docs/reference.md, which is committed: run it after a docstring has changed.
# `make mutants` plants known faults and runs the tests on each: a tool for developers.
# All create the environment .venv first, with the versions of constraints.txt, unless it is up to date.

PYTHON ?= python3
VENV := .venv
BENCH := $(VENV)/bin/kfsvd-bench
SPEC ?= specs/quickstart.yaml
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal

.PHONY: bench test test-slow check docs mutants environment clean

bench: environment
	@echo "== Measuring $(SPEC); what is measured already is kept"
	$(BENCH) run $(SPEC)
	@echo "== Writing its report into results/"
	$(BENCH) report $(SPEC)

test: environment check
	@echo "== Testing"
	$(PYTEST)

test-slow: environment
	@echo "== Testing with clusters, kills, a browser and a server"
	$(PYTEST) -m slow

check: environment
	@echo "== Checking style and types"
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: environment
	@echo "== Writing docs/reference.md"
	$(VENV)/bin/python docs/generate.py

mutants: environment
	@echo "== Planting faults, one at a time"
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m tests.mutants --jobs 2

environment: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt tests/crosscheck/requirements.txt
	@echo "== Creating the environment $(VENV): $$($(PYTHON) --version), versions as in constraints.txt"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(VENV)/bin/pip install --quiet --no-deps --requirement tests/crosscheck/requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
