# Everything a person does with the checkout. Targets that need the environment make it first, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.docs-installed

# One thread per process: small tensors gain nothing from more, and parallel tests would fight over the cores.
TEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/pytest -n $(or $(JOBS),2) --dist loadfile

# The environment is this folder's own: a shell knows `marrow` only once it is active.
ACTIVATE = echo "so that the command marrow is found:  source $(BIN)/activate"

NW_UCLA_RUNS := $(foreach seed,0 1 2,runs/nw_ucla_seed$(seed))

.PHONY: help setup demo test test-fast fuzz check format bench docs wheel nw-ucla
.DEFAULT_GOAL := help

help:  ## show this
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'
	@echo "Variables: PYTHON=$(PYTHON) (3.11 or newer; makes $(VENV)), QUICK=1 (demo, bench), OUT=folder (demo), JOBS=2 (test), SECONDS=60 ONLY=names (fuzz)"

setup: $(STAMP)  ## make the environment in .venv (the others do it by themselves)
	@$(ACTIVATE)

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: no '$(PYTHON)' on PATH; name one with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: marrow needs Python 3.11 or newer; name one with PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || { echo "making the environment in $(VENV) (once)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the dependencies (minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(STAMP)  ## learn from built-in synthetic motion and show the scores (4 minutes; QUICK=1: half a minute)
	$(BIN)/marrow demo $(if $(QUICK),--quick) $(if $(OUT),--out $(OUT))
	@$(ACTIVATE)

test: $(STAMP)  ## run all tests
	$(TEST)

test-fast: $(STAMP)  ## run the tests that take less than five seconds each
	$(TEST) -m "not slow"

fuzz: $(STAMP)  ## feed damaged files to every format (SECONDS=60 each, 25 minutes in all; ONLY=bvh,c3d)
	$(BIN)/python tests/tools/fuzz.py --seconds $(or $(SECONDS),60) $(if $(ONLY),--only "$(ONLY)")

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

docs: $(DOCS_STAMP)  ## build the documentation into site/, which needs no network; run its code blocks, check its links
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/pytest tests/test_documentation.py tests/test_site.py
	@echo "site/index.html; with its search: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site"

$(DOCS_STAMP): $(STAMP)
	@echo "installing what the site is built with (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

nw-ucla: $(STAMP)  ## the three seeds of docs/results.md on NW-UCLA (DATA=path/to/all_sqe; an hour on one core; goes on if stopped)
	@test -n "$(DATA)" || { echo "make nw-ucla: say where the recordings are: DATA=path/to/all_sqe"; exit 1; }
	$(BIN)/marrow prepare nw_ucla $(DATA) --out stores/nw_ucla
	@for seed in 0 1 2; do \
		$(BIN)/marrow pretrain --recipe mamp_nw_ucla --store stores/nw_ucla --out runs/nw_ucla_seed$$seed --seed $$seed || exit 1; \
	done
	@for protocol in xview leave-one-out:subject; do \
		$(BIN)/marrow evaluate $(NW_UCLA_RUNS) --store stores/nw_ucla --protocol $$protocol || exit 1; \
	done
	$(BIN)/marrow report $(NW_UCLA_RUNS) --out runs/nw_ucla.html

wheel: $(STAMP)  ## build the wheel into dist/
	$(BIN)/python -m build --wheel
