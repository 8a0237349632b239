# `make demo` and `make test` need nothing but Python 3.11 or newer: the first run sets up
# .venv, later runs use it, and a change of pyproject.toml or constraints.txt brings it up to date.

PYTHON ?=
VENV ?= .venv
# for two cores: some tests wait for processes
WORKERS ?= 3
PYTEST_ARGS ?=
BENCHMARKS := packing peers ray_share features growth
EXTRAS := demo,opensmile,video,test

python := $(VENV)/bin/python
# Named by the folder: console scripts hold absolute paths, so a moved checkout installs again.
ready := $(VENV)/.ready$(subst /,-,$(CURDIR))

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-lowest test-313 fuzz lint docs bench clean

help:
	@echo "make demo       run the benchmark on four synthetic corpora"
	@echo "make test       run the tests"
	@echo "make test-slow  run the tests that take minutes"
	@echo "make test-lowest  run them with the lowest versions that pyproject.toml admits"
	@echo "make test-313   run them with Python 3.13"
	@echo "make fuzz       mutate inputs at random for FUZZ_SECONDS (an hour)"
	@echo "make lint       check style, types and layers"
	@echo "make docs       build the documentation into build/site; broken links are errors"
	@echo "make bench      run the speed scripts"
	@echo "make setup      only set up $(VENV)"
	@echo "make clean      remove $(VENV) and the tools' caches; results stay"

setup: $(ready)

demo: $(ready)
	$(VENV)/bin/clser-bench run --suite demo

# Compiled code is kept, also where the environment forbids it: each worker collects every test.
# One thread each: those of BLAS would wait for a core that the other worker has.
test: $(ready)
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(python) -m pytest -n $(WORKERS) --dist loadfile -m "not slow" \
		$(PYTEST_ARGS)

test-slow: $(ready)
	$(python) -m pytest -m slow $(PYTEST_ARGS)

fuzz: $(ready)
	FUZZ_SECONDS=$${FUZZ_SECONDS:-3600} FUZZ_SEED=$${FUZZ_SEED:-$$(date +%j)} \
		$(python) -m pytest tests/fuzz $(PYTEST_ARGS)

lint: $(ready)
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	$(VENV)/bin/lint-imports

# The extra is installed by the first call: nothing else needs it.
docs: $(ready)
	@$(python) -c 'import material, mkdocstrings' 2>/dev/null || \
		$(python) -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(python) -m mkdocs build --strict

# Each has an environment of its own below build/, kept for the next time.
test-lowest:
	sh tools/test-with.sh build/lowest "$(or $(PYTHON),python3.11)" lowest

test-313:
	sh tools/test-with.sh build/py313 "$(or $(PYTHON),python3.13)" pinned

bench: $(ready)
	@set -e; for name in $(BENCHMARKS); do \
		echo "benchmarks/$$name.py"; $(python) "benchmarks/$$name.py"; \
	done

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(ready): pyproject.toml constraints.txt
	@sh tools/make-venv.sh $(VENV) $(PYTHON)
	@echo "installing clser-bench and what it needs into $(VENV) (one to two minutes, 2 GB of disk) ..."
	@$(python) -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[$(EXTRAS)]'
	@rm -f $(VENV)/.ready*
	@touch $@
	@echo "$(VENV) is ready"
