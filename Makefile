# Needs Python 3.11 or newer, make and pip; everything else is installed into .venv from requirements.lock.

SHELL := /bin/sh
export RUST_LOG ?= error
# Several hundred processes are started by the suite; each would compile what it imports where this is set.
export PYTHONDONTWRITEBYTECODE :=
.DEFAULT_GOAL := help

BIN := .venv/bin
INSTALLED := .venv/installed
OLDEST := .venv-oldest
CLIENTS := .venv-clients
# A third of a test's time is waiting, for processes, disks and time-outs: three workers keep two cores busy.
WORKERS ?= 3
QUIETLY := --quiet --disable-pip-version-check
# By halves of the list, and whoever is done takes from the rest: what a module starts once is started once, not once a worker.
SPREAD := -n $(WORKERS) --dist worksteal
PYTEST := $(BIN)/python -m pytest $(SPREAD)

.PHONY: up demo test check lint types layers test-oldest test-clients test-matrix bench soak fix lock clean help

up: $(INSTALLED)                  ## run the collector and the dashboard; Ctrl-C stops both
	@exec $(BIN)/spanledger up $(ARGS)

demo: $(INSTALLED)                ## while `make up` runs: real SDKs against a provider stand-in, and thirty days of history
	@exec $(BIN)/spanledger demo $(ARGS)

test: $(INSTALLED)                ## the whole suite
	$(PYTEST)

check: lint types layers test-clients test ## everything CI runs, in CI's order

lint: $(INSTALLED)                ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)               ## mypy strict everywhere; basedpyright on what users import
	$(BIN)/mypy
	$(BIN)/basedpyright --level error instrumentation

layers: $(INSTALLED)              ## packages point downwards; the light part stays light
	$(BIN)/lint-imports

test-oldest: $(OLDEST)/installed  ## the suite with the oldest versions that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest $(SPREAD) -W default   # old libraries warn of what was to come

# Sockets that a client leaves open are noticed whenever Python collects them, even after the last test.
test-clients: $(CLIENTS)/installed ## every client that is metered, in its newest version, against the provider stand-in
	PYTHONPATH=$(CURDIR)/instrumentation:$(CURDIR)/collector:$(CURDIR)/analytics $(CLIENTS)/bin/python -m pytest $(SPREAD) \
	    -W ignore:unclosed:ResourceWarning tests/clients

test-matrix: $(INSTALLED)         ## each client in its oldest and its newest version, in an environment of its own each
	$(BIN)/python -m tests.clients.matrix $(ARGS)

bench: $(INSTALLED)               ## measure intake and the overhead of instrumentation; figures go to docs/performance.md
	$(BIN)/python bench/ingest.py
	$(BIN)/python bench/overhead.py

soak: $(INSTALLED)                ## the long campaigns that `test` leaves out, and new examples for every property
	$(PYTEST) -m "soak or hypothesis" --timeout 3600

fix: $(INSTALLED)                 ## format, and mend what ruff can mend safely
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(INSTALLED)                ## remake the three lock files from pyproject.toml
	$(BIN)/python -m uv pip compile --universal --python-version 3.11 --all-extras --group dev \
	    --generate-hashes --no-annotate --no-header pyproject.toml -o requirements.lock
	$(BIN)/python -m uv pip compile --universal --python-version 3.11 --all-extras --group dev --upgrade --resolution lowest-direct \
	    --generate-hashes --no-annotate --no-header pyproject.toml -o requirements-oldest.lock
	$(BIN)/python -m uv pip compile --universal --python-version 3.11 --group clients \
	    --generate-hashes --no-annotate --no-header pyproject.toml -o requirements-clients.lock

clean:                            ## remove the environments and caches; the ledger stays
	rm -rf .venv $(OLDEST) $(CLIENTS) .venv-matrix .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

help:                             ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The newest Python that runs is taken (a pyenv shim may be there and not run); `make PYTHON=…` names another.
$(INSTALLED): requirements.lock pyproject.toml
	@set -e; test -x $(BIN)/python || { \
	    for python in $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3 python); do \
	        if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then chosen=$$python; break; fi; \
	    done; \
	    test -n "$$chosen" || { echo "no Python 3.11 or newer found: install one, or say make PYTHON=/path/to/python" >&2; exit 1; }; \
	    $$chosen -m venv .venv || { rm -rf .venv; \
	        echo "$$chosen cannot make a virtual environment: install its venv module (Debian: python3-venv)" >&2; exit 1; }; }
	@echo "installing into .venv, once and whenever requirements.lock changes (about 1.7 GB; a minute or two) …"
	@$(BIN)/python -m pip install $(QUIETLY) --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install $(QUIETLY) --no-deps --no-build-isolation -e .
	@touch $@

# The oldest versions exist for the oldest Python only.
$(OLDEST)/installed: requirements-oldest.lock pyproject.toml
	@python3.11 -c '' || { echo "make test-oldest needs python3.11" >&2; exit 1; }
	@test -x $(OLDEST)/bin/python || python3.11 -m venv $(OLDEST)
	@$(OLDEST)/bin/python -m pip install $(QUIETLY) --require-hashes -r requirements-oldest.lock
	@$(OLDEST)/bin/python -m pip install $(QUIETLY) --no-deps --no-build-isolation -e .
	@touch $@

$(CLIENTS)/installed: requirements-clients.lock | $(INSTALLED)
	@test -x $(CLIENTS)/bin/python || $(BIN)/python -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip install $(QUIETLY) --require-hashes -r requirements-clients.lock
	@touch $@
