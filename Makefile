# The front door. `make demo` and `make test` are all that a stranger needs; both set up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.tanlian-setup
# One more than there are cores: tests wait for databases, browsers and servers of their own.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) + 1)' 2>/dev/null || echo auto)

.PHONY: help setup spark demo test check long lock format clean

help:
	@echo "make demo [SERVE=1]  the main job on a small town, end to end"
	@echo "make test            the test suite"
	@echo "make check           format, lint, types, imports, then the tests (what CI runs)"
	@echo "make long            the long suites"
	@echo "make format          rewrite the code in the house format"
	@echo "make spark           what the Spark engine needs, beside the rest (large)"
	@echo "make lock            pin the dependencies again, with hashes"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tanlian needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	$(BIN)/python -m hub.warm_up
	touch $(STAMP)

demo: setup
	$(BIN)/tanlian demo $(if $(SERVE),--serve)

test: setup
	POLARS_MAX_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m "not long"

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

long: setup
	$(BIN)/python -m pytest -n $(WORKERS) -m long

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

PIP_COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe \
	  --strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

lock:
	$(PIP_COMPILE) --extra dev -o requirements.lock pyproject.toml
	$(PIP_COMPILE) --extra spark -c requirements.lock -o requirements-spark.lock pyproject.toml

# Spark is large, and few need it: what `tanlian clear --engine spark` wants, beside the rest.
spark: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock

clean:
	rm -rf $(VENV) var build dist
