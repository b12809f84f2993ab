# Everything runs in a virtual environment of its own, so only Python is needed.
PYTHON ?= python3
BIN := .venv/bin
# pytest-xdist workers: a third one keeps two cores busy while others wait for servers and browsers
JOBS ?= 2

.PHONY: demo test test-fast lint lint-page bench docs clean

# coverage.py is cheapest with the interpreter's own events, which Python has since 3.12
COVERAGE_CORE ?= $(shell $(BIN)/python -c "import sys; print('sysmon' if sys.version_info >= (3, 12) else 'ctrace')")

KERNEL := hatch_build.py $(wildcard cellucid_dask/kernel/csrc/*.*)

.venv/package: pyproject.toml $(KERNEL)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/installed: .venv/package
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $@

demo: .venv/package  ## make a data set, export it, check it
	$(BIN)/cellucid-dask demo demo

test: .venv/installed lint  ## lint, types and all tests, with their coverage
	COVERAGE_CORE=$(COVERAGE_CORE) $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup \
		--cov=cellucid_dask --cov-report=term:skip-covered

test-fast: .venv/installed  ## the tests of pure functions, in seconds
	$(BIN)/python -m pytest -q tests/unit

lint: .venv/installed lint-page  ## style, spelling, types, and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports

# What eslint needs; where it is not there, only syntax is checked.
NODE := $(shell node -p "const [a, b] = process.versions.node.split('.'); a > 20 || (a == 20 && b > 18)" 2>/dev/null)

node_modules/.package-lock.json: package.json package-lock.json
ifeq ($(NODE),true)
	-npm ci --no-audit --no-fund --silent && touch $@
endif

lint-page: node_modules/.package-lock.json  ## the page's JavaScript, where there is node
	@if [ "$(NODE)" = true ] && [ -x node_modules/.bin/eslint ]; then npm run --silent check; else \
		echo "the page's JavaScript: eslint and tsc are skipped, they need npm and node 20.19"; \
		[ -z "$(NODE)" ] || for file in cellucid_dask/page/static/*.js; do node --check $$file || exit 1; done; \
	fi

bench: .venv/installed  ## us, the in-memory exporter and a plain Dask script on one file
	$(BIN)/python -m tests.benchmarks

docs: .venv/installed  ## the documentation, into docs/_build
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

clean:
	rm -rf .venv .ci-tools node_modules .coverage demo .benchmarks docs/_build docs/generated
