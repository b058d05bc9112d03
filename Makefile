# Two commands do all the set-up on a machine with Python >= 3.11: `make demo` and `make test`.
# Everything lands in .venv; the second run starts at once.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh

PY := .venv/bin/python
PYTEST := $(PY) -m pytest
# One more than processors, for many tests wait for a time or a process; at most four: they share one Postgres. Who has nothing
# left takes from the others: the slow tests stand together.
WORKERS ?= --numprocesses=$(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n + 1 : 4))) --dist=worksteal

READY := .venv/.dev-ready
BINARY_READY := .venv/.binary-ready
# An environment knows its folder by full path: one that was moved or copied is made anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
$(shell rm -f $(READY) $(BINARY_READY))
endif

.PHONY: demo test test-system check prove bench bench-peers serve binary setup format clean help

demo: $(READY) ## analyse an example company, kill the worker, see the job go on
	@$(PY) -m rkyc demo

test: $(READY) ## run the tests (a private Postgres starts by itself)
	@$(PYTEST) $(WORKERS) -m "not system and not prove"

test-system: $(READY) ## run the tests that need system packages (root: installs them by apt)
	@sh scripts/system_packages.sh
	@$(PYTEST) -m system

check: $(READY) ## format, lint, types, import contracts, limits of files and functions
	@.venv/bin/ruff format --check
	@.venv/bin/ruff check
	@$(PY) -m mypy
	@.venv/bin/lint-imports --no-cache --no-logo
	@$(PYTEST) tests/test_architecture.py

prove: $(READY) ## run the long proofs; the dated record goes to docs/proofs
	@sh scripts/prove.sh

bench: $(READY) ## measure; the dated results go to bench/results
	@$(PY) -m bench.run --save

bench-peers: $(READY) ## measure beside other queues, which it installs into .bench-peers
	@$(PY) -m bench.peers

serve: $(READY) ## run worker, API and dashboard here
	@$(PY) -m rkyc serve

binary: $(BINARY_READY) ## build dist/rkyc: one file, Postgres inside
	@$(PY) -m PyInstaller --noconfirm --clean --log-level WARN --distpath dist --workpath build scripts/rkyc.spec
	@ls -l dist/rkyc

format: $(READY) ## format the code and sort its imports
	@.venv/bin/ruff check --select I --fix --quiet
	@.venv/bin/ruff format

setup: $(READY) ## make .venv and nothing else

$(READY): pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh

$(BINARY_READY): $(READY)
	@sh scripts/setup.sh binary

clean: ## remove what was built here
	@rm -rf .venv build dist .bench-peers .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## list these
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile
