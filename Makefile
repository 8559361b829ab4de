# Two commands are enough: `make demo` and `make test`. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-toolchains lint clean

demo: $(VENV)/installed
	$(BIN)/edgetl demo

test: lint
	$(BIN)/python -m pytest

# the tests of toolchains that take minutes to install, in environments of their own
test-toolchains: $(VENV)/installed
	$(BIN)/edgetl toolchain install rknn --yes
	$(BIN)/python -m pytest -m toolchain

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# the stamp is written last, so a broken installation is tried again
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) edgetl-demo edgetl-out build dist
