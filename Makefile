# make setup    .venv with dnnlab (editable), what it needs and what its development needs
# make train    the set-up, then: python train.py model=mlp optimizer=adam
# make test     the set-up, then every test
# make lint     the set-up, then ruff and mypy
#
# Nothing but make and Python 3.11 or later is needed; PYTHON=… names one that is not on the path, VENV=… another place.

VENV ?= .venv
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := $(VENV)/bin

.PHONY: setup train test lint

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "dnnlab needs Python 3.11 or later; try: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev]' --constraint constraints.txt
	@touch $@

train: setup
	$(BIN)/python train.py model=mlp optimizer=adam

test: setup
	$(BIN)/python -m pytest --numprocesses 2

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
