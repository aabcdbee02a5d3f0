# Everything a person needs while developing. Each target sets itself up: only Python 3.11+, git and make must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COVERAGE := --cov --cov-report=term:skip-covered
READY := $(VENV)/.ready

.PHONY: demo test check prove bench example schemas clean

$(READY): pyproject.toml reconciler/__init__.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,check]'
	touch $@

demo: $(READY) ## the whole story on stores in a temporary place
	$(BIN)/reconciler demo

test: $(READY) ## all tests but the long proofs, with coverage
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'not prove' $(COVERAGE)

check: $(READY) ## style, types, rooms, schema drift, README commands, workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/test_schemas.py tests/test_readme.py tests/test_workflows.py

prove: $(READY) ## the long proofs
	$(BIN)/python -m pytest -n auto --dist worksteal -m prove

bench: $(READY) ## figures, as ratios within one run
	$(BIN)/python -m tests.bench

schemas: $(READY) ## write schemas/ from the models
	$(BIN)/reconciler schema --write schemas

example: $(READY) ## make the certificates of desired-state/ anew
	$(BIN)/python -m tests.support.example_fleet

clean:
	rm -rf $(VENV) .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist
