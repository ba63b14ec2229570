# What a developer types; `make help` lists it. The first target that needs it builds $(VENV); a second run
# installs nothing. Another Python: PYTHON=python3.12 make test

VENV    ?= .venv
PYTHON  ?= $(shell test -x $(VENV)/bin/python && echo $(VENV)/bin/python || echo python3)
PYTEST_ARGS ?=
BENCH_ARGS  ?=

BIN     := $(VENV)/bin
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# Stamps: which Python the environment is of, and what has been installed into it.
MADE    := $(VENV)/.python-$(VERSION)
RUN     := $(VENV)/.run-$(VERSION)
TEST    := $(VENV)/.test-$(VERSION)
PIP     := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test test-fast check proof bench clean distclean
.DEFAULT_GOAL := help

help: ## This list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(RUN) ## Install what is needed and run the order flow.
	@$(BIN)/python examples/order_flow.py

test: $(TEST) ## All tests, the fast ones first.
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

test-fast: $(TEST) ## The tests to run after every change: under a minute.
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

check: $(TEST) ## Linters, formatting, types, import contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

proof: ## Check the models of leases and of the sweep (needs spin and a C compiler).
	$(PYTHON) proof/check.py

bench: $(TEST) ## Benchmarks against the peers: ratios within one run.
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

clean: ## Remove caches and build output.
	rm -rf build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .coverage htmlcov
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
