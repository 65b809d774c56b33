# Everything a person does with the checkout. Targets that need the environment make it first, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# One thread per process: small tensors gain nothing from more, and parallel tests would fight over the cores.
TEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/pytest -n $(or $(JOBS),2) --dist loadfile

.PHONY: help setup demo test test-fast check format bench docs wheel
.DEFAULT_GOAL := help

help:  ## show this
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'
	@echo "Variables: PYTHON=$(PYTHON) (3.11 or newer; makes $(VENV)), QUICK=1 (demo, bench), OUT=folder (demo), JOBS=2 (test)"

setup: $(STAMP)  ## make the environment in .venv (the others do it by themselves)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: no '$(PYTHON)' on PATH; name one with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: marrow needs Python 3.11 or newer; name one with PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || { echo "making the environment in $(VENV) (once)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the dependencies (minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(STAMP)  ## learn from built-in synthetic motion and show the scores (3 minutes; QUICK=1: half a minute)
	$(BIN)/marrow demo $(if $(QUICK),--quick) $(if $(OUT),--out $(OUT))

test: $(STAMP)  ## run all tests
	$(TEST)

test-fast: $(STAMP)  ## run the tests that take less than five seconds each
	$(TEST) -m "not slow"

check: $(STAMP)  ## lint, formatting, types, layers, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	@command -v node >/dev/null || { echo "make check: pyright needs node on PATH (https://nodejs.org)"; exit 1; }
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(STAMP)  ## format the code and mend what can be mended
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(STAMP)  ## run every benchmark (QUICK=1: under a minute each)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script $(if $(QUICK),--quick) || exit 1; done

docs: $(STAMP)  ## run the code blocks of the documentation and check its links
	$(BIN)/pytest tests/test_documentation.py

wheel: $(STAMP)  ## build the wheel into dist/
	$(BIN)/python -m build --wheel
