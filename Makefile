# `make help` lists the targets. A fresh machine needs Python 3.11 or newer (with venv) and make.
#
# Override what you like:  make run PYTHON=python3.12 VENV=/somewhere/else

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
BASE := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test test-all lint bench

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(BASE) ## make the environment and install what running needs

setup-dev: $(DEV) ## the same, with what testing and linting need

run: $(BASE) ## start everything and print the chat link and the admin link
	@$(BIN)/python manage.py up

# Files are shared out among the cores. Heavy runs measure and load the machine: one at a
# time, and always in the same order, so that the figures of two runs can be compared.
test: $(DEV) ## the everyday suite
	$(BIN)/python -m pytest -n auto --dist loadfile

test-all: test ## everything, also browser, nginx, crash and load runs
	$(BIN)/python -m pytest -m heavy -p no:randomly --durations=25

lint: $(DEV) ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(DEV) ## throughput, latency, CPU and memory beside a bare loop
	$(BIN)/python -m bench

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "make: $(PYTHON) was not found. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $(PYTHON) is $$($(PYTHON) -c 'import platform; print(platform.python_version())'); 3.11 or newer is needed. Name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: $(PYTHON) has no venv module. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making the environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# A stamp is newer than the list it stands for, so a second run installs nothing.
$(BASE): requirements.txt | $(BIN)/python
	@echo "Installing what requirements.txt names (once; this can take a minute)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt $(BASE)
	@echo "Installing what requirements-dev.txt names"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
