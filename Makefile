# Everything runs in a virtual environment of its own, so only Python is needed.
PYTHON ?= python3
BIN := .venv/bin
# pytest-xdist workers
JOBS ?= 2

.PHONY: demo test lint bench docs clean

.venv/package: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed: .venv/package
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

demo: .venv/package  ## make a data set, export it, check it
	$(BIN)/cellucid-dask demo demo

test: .venv/installed lint  ## lint, types and all tests
	$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed  ## us, the in-memory exporter and a plain Dask script on one file
	$(BIN)/python -m tests.benchmarks

docs: .venv/installed  ## the documentation, into docs/_build
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

clean:
	rm -rf .venv demo .benchmarks docs/_build
