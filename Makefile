# Everything runs in .venv, which the first target makes; a bare machine needs only Python 3.11 or newer, and make.
# A CPU build of torch is a tenth of the download:  make demo PIP_ARGS='--extra-index-url https://download.pytorch.org/whl/cpu'

PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# mypy must be given every root: asked for the package `sidebeam`, it checks the first one and is content.
ROOTS := client/sidebeam server/sidebeam workers/sidebeam
PROTOS := $(shell find protos/sidebeam -name '*.proto')

# What `make bench` measures; BUNDLE and INTERACTIONS have no default.
PROMPTS ?= 200
TOP_K ?= 1,5,10,20
REPORT ?= bench.json

.DEFAULT_GOAL := help
.PHONY: help install demo test check slow bench clean

help:
	@echo 'make demo    train a small world, serve it, and watch requests being answered'
	@echo 'make test    the fast tests'
	@echo 'make check   lint, formatting and types'
	@echo 'make slow    the tests that take minutes'
	@echo 'make bench   measure speed: make bench BUNDLE=DIR INTERACTIONS=FILE'
	@echo 'make clean   remove everything that was made here, .venv too'

install: $(INSTALLED)

# Generated code belongs to the install: a changed .proto installs again.
$(INSTALLED): pyproject.toml deploy/constraints.txt protos/build_hook.py $(PROTOS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sidebeam needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_ARGS) -c deploy/constraints.txt 'pip>=25.3'
	$(BIN)/python -m pip install $(PIP_ARGS) -c deploy/constraints.txt --build-constraint deploy/constraints.txt -e '.[all]' --group dev
	@touch $@

demo: $(INSTALLED)
	$(BIN)/sidebeam demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -m 'not slow' -n logical --dist loadfile $(PYTEST_ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(ROOTS)

slow: $(INSTALLED)
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

bench: $(INSTALLED)
	@test -n '$(BUNDLE)' -a -n '$(INTERACTIONS)' || { echo 'usage: make bench BUNDLE=DIR INTERACTIONS=FILE [PROMPTS=200] [TOP_K=1,5,10,20] [REPORT=bench.json]' >&2; exit 2; }
	$(BIN)/sidebeam bench recommend --bundle '$(BUNDLE)' --interactions '$(INTERACTIONS)' --prompts $(PROMPTS) --top-k $(TOP_K) --json '$(REPORT)'

clean:
	rm -rf $(VENV) protos/gen build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find client server workers protos tests -name __pycache__ -type d -prune -exec rm -rf {} +
