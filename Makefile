# Thin on purpose: each target is the command one would type.
PYTHON ?= python3
BIN := .venv/bin

.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/.ready-dev: .venv/.ready
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

.PHONY: demo test check bench format clean

demo: .venv/.ready  ## the whole lifecycle on real data; DEMO=--exit to stop afterwards
	$(BIN)/mldl demo $(DEMO)

test: .venv/.ready-dev  ## every test: rules on all cores, then what needs a cluster
	$(BIN)/python -m pytest -n logical --dist loadfile contracts mldl_ray tests/house tests/rooms tests/conformance
	$(BIN)/python -m pytest tests/cluster tests/journeys

check: .venv/.ready-dev  ## style, types, storeys, and that contracts and documents match the code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m mldl_ray.words --check
	$(BIN)/python -m pytest -q tests/house

bench: .venv/.ready-dev  ## side by side with peers, one JSON line each
	$(BIN)/python -m bench.serving
	$(BIN)/python -m bench.startup
	$(BIN)/python -m bench.families

format: .venv/.ready-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
