# What a developer types; `make help` lists it. The first target that needs it builds $(VENV); a second run
# installs nothing. Another Python: PYTHON=python3.12 make test

VENV    ?= .venv
PYTHON  ?= $(shell test -x $(VENV)/bin/python && echo $(VENV)/bin/python || echo python3)
# Processes to test in; 0: this one alone, as a debugger needs it.
WORKERS ?= 2
PYTEST_ARGS ?=
BENCH_ARGS  ?=
MUTATE_ARGS ?=
SEEDS       ?= 100000
FIRST       ?= 0

BIN     := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# Stamps: which Python the environment is of, and what has been installed into it.
MADE    := $(VENV)/.python-$(VERSION)
RUN     := $(VENV)/.run-$(VERSION)
TEST    := $(VENV)/.test-$(VERSION)
DOCS    := $(VENV)/.docs-$(VERSION)
PIP     := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Fewer examples of each property after every change than in `make test`.
PROFILE := $(or $(HYPOTHESIS_PROFILE),fast)

# Tests start many interpreters: what is compiled is kept, aside, also where the environment says to keep nothing.
PYTEST  := PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(abspath $(VENV))/bytecode $(BIN)/python -m pytest
# Each process takes half of the tests, and then from the other what that one has not got to.
SPREAD  := -n $(WORKERS) --dist worksteal
report   = $(if $(REPORTS),--junit-xml=$(REPORTS)/$(1).xml)

.PHONY: help demo test test-fast check docs packages simulate mutate soak proof bench bench-all bench-targets notebooks clean \
	distclean
.DEFAULT_GOAL := help

help: ## This list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(RUN) ## Install what is needed and run the order flow.
	@$(BIN)/python examples/order_flow.py

test: $(TEST) ## All tests, the fast ones first.
	$(PYTEST) -m "not slow" $(SPREAD) $(call report,fast) $(PYTEST_ARGS)
	$(PYTEST) -m "slow and not alone" --timeout 600 $(SPREAD) $(call report,slow) $(PYTEST_ARGS)
	$(PYTEST) -m alone $(call report,alone) $(PYTEST_ARGS)

test-fast: $(TEST) ## The tests to run after every change: under a minute.
	HYPOTHESIS_PROFILE=$(PROFILE) $(PYTEST) -m "not slow" $(SPREAD) $(PYTEST_ARGS)

soak: $(TEST) ## Workers are killed at random while flows run, for as many rounds as ROUNDS says.
	FLOWS_SOAK_ROUNDS=$(or $(ROUNDS),100) $(BIN)/python -m pytest -m slow tests/executors/redis/test_killed.py --timeout 36000

check: $(TEST) ## Linters, formatting, types, import contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

docs: $(DOCS) ## The documentation, to docs/_build/html.
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

packages: $(TEST) ## Install what is built as strangers do, and with the lowest versions that are allowed.
	$(BIN)/python -m tools.packages

mutate: $(TEST) ## Plant mistakes in the modules that decide, and count what the tests find: docs/mutation.md.
	$(BIN)/python -m tools.mutate $(MUTATE_ARGS)

simulate: $(TEST) ## Flows and faults from many numbers: SEEDS=100000 FIRST=0. For the night.
	$(BIN)/python -m tests.testing.seeded --seeds $(SEEDS) --first $(FIRST)

proof: ## Check the models of leases, suspects and the sweep (needs spin and a C compiler).
	$(PYTHON) proof/check.py

bench: $(TEST) ## Benchmarks beside the peers, a short set: docs/benchmarks.md. Installs the peers first, each apart.
	$(BIN)/python -m benchmarks.contest $(BENCH_ARGS)

bench-all: $(TEST) ## The same with larger sizes and more rounds, and then what our own targets say.
	$(BIN)/python -m benchmarks.contest --all $(BENCH_ARGS)
	$(MAKE) bench-targets

bench-targets: $(TEST) ## Our own speed, judged by targets; ratios within one run.
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

notebooks: $(TEST) ## Execute the notebooks and store them with their outputs.
	$(BIN)/python notebooks/store.py

clean: ## Remove caches and build output.
	rm -rf build dist docs/_build docs/_generated .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .coverage htmlcov
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print | xargs rm -rf

distclean: clean ## Remove the environment too.
	rm -rf $(VENV)

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit("flows needs Python 3.11 or newer; try: PYTHON=python3.12 make" if sys.version_info < (3, 11) else 0)'
	@$(BIN)/python -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(VERSION)")' 2>/dev/null \
		|| $(PYTHON) -m venv --clear $(VENV)
	@touch $@

# Not compiled: nearly twice as fast, and what the demo imports is compiled then.
$(RUN): $(MADE) pyproject.toml constraints.txt
	$(PIP) --no-compile -e .
	@touch $@

$(TEST): $(MADE) pyproject.toml constraints.txt
	$(PIP) -e '.[test]'
	@touch $(RUN) $@

$(DOCS): $(MADE) pyproject.toml constraints.txt
	$(PIP) -e '.[docs]'
	@touch $(RUN) $@
