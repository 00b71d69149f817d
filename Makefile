# Two commands do all set-up: `make train` and `make test`. Both install what they need into $(VENV), once.
PYTHON ?= python3
VENV ?= .venv
CONFIG ?= configs/bnpo.py
WORKDIR ?= runs/$(subst :,-,$(subst .py,,$(notdir $(CONFIG))))
ARGS ?=

TRAIN_EXTRAS := data,hf,math,json,tensorboard,plots
TEST_EXTRAS := data,hf,math,json,tensorboard,plots,notebooks,test
ALL_EXTRAS := data,hf,math,json,hf-test,tensorboard,plots,wandb,notebooks,test

# Compiling keeps one core busy at a time; files stay whole, so that their tests share what they compiled.
PARALLEL := -n 2 --dist=loadfile

BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip
REQUIREMENTS := setup.py pyproject.toml $(wildcard constraints/*.txt)

.PHONY: help train test test-fast test-all lint format learns methods objectives constraints clean
.DELETE_ON_ERROR:

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

train: $(VENV)/.train  ## train a policy: CONFIG=configs/bnpo.py WORKDIR=runs/bnpo ARGS="--config.seed=1"
	@$(BIN)/python -m pojax.train --config=$(CONFIG) --workdir=$(WORKDIR) $(ARGS)

test: $(VENV)/.test  ## all tests; ARGS go to pytest
	@$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-fast: $(VENV)/.test  ## the tests that take less than about three seconds each
	@$(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

test-all: $(VENV)/.test  ## all tests, and every config runs (in `make test` ten do, other ones every day)
	@POJAX_ALL_METHODS=1 $(BIN)/python -m pytest $(PARALLEL) $(ARGS)

lint: $(VENV)/.test  ## lint, format check, type check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.test  ## put imports and layout in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

learns: $(VENV)/.train  ## the learning runs of every config over five seeds
	@$(BIN)/python -m experiments.learns $(ARGS)

methods: $(VENV)/.train  ## docs/methods.md and docs/unified_view.md from the configs, the code and the learning runs
	@$(BIN)/python -m experiments.methods
	@$(BIN)/python -m experiments.unified_view

objectives: $(VENV)/.train  ## what every objective costs beside its model
	@$(BIN)/python benchmarks/objectives.py $(ARGS)

# Extras of training are part of those of the tests, so the second stamp implies the first.
$(VENV)/.train: $(REQUIREMENTS)
	@$(call install,$(TRAIN_EXTRAS))
	@touch $@

$(VENV)/.test: $(REQUIREMENTS)
	@$(call install,$(TEST_EXTRAS))
	@touch $(VENV)/.train $@

# A Python newer than the newest constraints takes the newest. The build tools are pinned too: without isolation pip uses those it finds.
define install
set -e; \
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pojax needs Python 3.11 or newer, found %d.%d: say which by PYTHON=" % sys.version_info[:2])'; \
echo "installing into $(VENV) ..."; \
start=$$(date +%s); \
test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV); \
pins=constraints/$$($(BIN)/python -c 'import sys; print("py%d%d" % sys.version_info[:2])').txt; \
test -f $$pins || pins=$$(ls constraints/py*.txt | sort | tail -n 1); \
$(PIP) install -qq -c $$pins setuptools; \
$(PIP) install -qq -c $$pins --no-build-isolation -e '.[$(1)]'; \
echo "installed $(1) with $$pins in $$(( $$(date +%s) - start )) s"
endef

# What a torch wheel brings along differs between machines and torch pins it itself, so it is left out.
constraints:  ## pin again what PYTHON installs today from the ranges in setup.py
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(PYTHON) -m venv "$$folder" && \
	"$$folder/bin/pip" install -qq setuptools -e '.[$(ALL_EXTRAS)]' && \
	version=$$("$$folder/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') && \
	file=constraints/py$$(echo $$version | tr -d .).txt && \
	{ echo "# pip freeze of every extra but cuda and tpu on Python $$version, by 'make constraints'."; \
	  "$$folder/bin/pip" freeze --all --exclude-editable | grep -viE '^(pip|wheel|triton|nvidia-|cuda-)' | sed 's/+cpu$$//'; } > $$file && \
	echo "wrote $$file"

clean:  ## remove the environment and every cache; runs/ stays
	rm -rf $(VENV) .jax_cache .pytest_cache .hypothesis .mypy_cache .ruff_cache build dist pojax.egg-info
	find . -name __pycache__ -type d -not -path './runs/*' -prune -exec rm -rf {} +
