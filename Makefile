# Each target does all its set-up on a fresh machine: virtual environment, install, run.
# Nothing but make, Python >= 3.11 with venv, and a package index is needed.

# An empty environment has no PATH, and make does not look anywhere then.
PATH ?= /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
INPUTS = pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-compiled prove compare lint format types contracts check revision constraints clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1  /p' Makefile | column -t -l 2 2>/dev/null || sed -n 's/^\([a-z-]*\):.*## /\1  /p' Makefile

demo: $(VENV)/.run ## sell, call, count, push and reconcile on this machine
	$(BIN)/tallygate demo

# Many tests wait for processes and clocks: four at once keep two cores busy.
test: $(VENV)/.dev ## every test
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

# Beside copies of the tests, which then find the compiled modules and no others. Those that kill at any
# line are left out: machine code has none that could be traced.
test-compiled: $(VENV)/.dev ## the tests of the data plane, its modules compiled; needs a C compiler
	rm -rf $(VENV)/compiled
	TALLYGATE_COMPILE=1 $(INSTALL) --no-deps --target $(VENV)/compiled .
	cp -R pyproject.toml tests docs loadtests $(VENV)/compiled
	cd $(VENV)/compiled && PYTHONPATH=$$PWD ../bin/pytest -n 4 --dist loadfile tests/gateway tests/metering \
		--deselect tests/gateway/test_worker_deaths.py \
		--deselect tests/metering/test_journal_deaths.py::test_an_owner_killed_anywhere

prove: $(VENV)/.run ## every failure drill in full; writes docs/proof.md
	$(BIN)/tallygate drill all --proof docs/proof.md

# Alone on the machine, or the figures say nothing. OPTIONS='--runs 1 --seconds 2 --only tallygate,envoy'
compare: $(VENV)/.run ## the gateway beside its peers, one core each; writes docs/performance.md
	$(BIN)/python -m loadtests.compare $(OPTIONS)

check: lint types contracts ## what CI runs before the tests

lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev ## rewrite files in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev ## mypy strict
	$(BIN)/mypy

contracts: $(VENV)/.dev ## who may import whom
	$(BIN)/lint-imports

revision: $(VENV)/.dev ## write down how the ledger's tables changed: MESSAGE="what changed"
	$(BIN)/python -m billing_sync.revising $(MESSAGE)
	$(BIN)/ruff check --quiet --fix billing_sync/migrations
	$(BIN)/ruff format --quiet billing_sync/migrations

constraints: $(VENV)/.dev ## pin what is installed now
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check > constraints.txt

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Tallygate needs Python 3.11 or newer; name one with: make PYTHON=python3.12 …'; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python $(INPUTS)
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python $(INPUTS)
	$(INSTALL) -e '.[dev]'
	@touch $(VENV)/.run $@
