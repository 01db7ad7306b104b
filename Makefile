# `make demo` and `make test` set up everything they need in .venv; a second run installs nothing.
PYTHON ?= python3
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
BIN := .venv/bin
STAMP := .venv/installed
# Two workers: the tests of training are as wide as the machine already.
PYTEST_WORKERS ?= 2

.PHONY: install demo test lint clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$$($(PYTHON) --version) is too old: Earscribe needs Python 3.11 or newer; give one with PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[all]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/earscribe demo

test: $(STAMP)
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis data/demo-run data/demo-build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
