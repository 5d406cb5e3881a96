# crysearch: `make search` and `make test` set up everything they need.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
QUOTA  ?= 40
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off
# One thread per worker: results and times then do not depend on what else runs.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup search test test-fast lint format docs benchmark clean

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: $(READY)  ## Make the virtual environment (reused while pyproject.toml and constraints.txt stay)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "crysearch needs Python 3.11 or later; found $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up $(VENV) (a few minutes, once) …"
	@$(PYTHON) -m venv $(VENV)
	@echo "  1/2 torch"
	@$(PIP) --constraint constraints.txt torch
	@echo "  2/2 crysearch and everything it uses"
	@$(PIP) --constraint constraints.txt --editable '.[dev]'
	@touch $@
	@echo "Set-up done."

search: ## Search for new silicon allotropes (small quotas; QUOTA=350 is the paper's)
	@if [ -e $(READY) ] && [ $(READY) -nt pyproject.toml ] && [ $(READY) -nt constraints.txt ]; \
	  then echo "Reusing the set-up in $(VENV)."; fi
	@$(MAKE) --silent setup
	$(BIN)/crysearch run flows/si_allotropes.py --set quota=$(QUOTA) --set formula_units=8 --set maximum_reference_atoms=48

test: setup lint  ## Run the linters and the whole test suite
	$(PYTEST)

test-fast: setup  ## Run the tests that take seconds
	$(PYTEST) -m "not slow"

lint: setup  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## Rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## Write the generated pages under docs/
	$(BIN)/crysearch spec --format markdown > docs/spec.md
	$(BIN)/crysearch spec --verification --format markdown > docs/verification-spec.md
	$(BIN)/crysearch spec --active-learning --format markdown > docs/active-learning-spec.md
	$(BIN)/crysearch spec --dynamics --format markdown > docs/dynamics-spec.md
	$(BIN)/crysearch spec --protocol --format markdown > docs/protocol-spec.md

benchmark: setup  ## Measure against named peers (minutes)
	$(BIN)/python benchmarks/funnel.py
	$(BIN)/python benchmarks/distributions.py
	$(BIN)/python benchmarks/guiding.py
	$(BIN)/python benchmarks/relaxation_speed.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/launches.py
	$(BIN)/python benchmarks/service.py
	$(BIN)/python benchmarks/questions.py
	$(BIN)/python benchmarks/conditional_replicas.py

clean:  ## Remove the virtual environment and the caches (records stay)
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist
