# make demo   the bundled models on the bundled images: a table and overlays (installs everything on the first call)
# make test   the quick tests (a few minutes on two cores)       make test-all   the slow ones too
# make lint   ruff and mypy                                      make docs       the documentation's pages, in site/
# make clean  remove what these commands wrote                 make settings-doc   docs/settings.md from the code

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test test-all lint docs settings-doc clean
install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed, this is " + sys.version; import venv, ensurepip' \
		|| { echo "Set another interpreter with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing PyTorch and the rest (a few gigabytes, a few minutes on the first call) ..."
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/nttt demo --out demo_output --overwrite

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8

test-all: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 -m "slow or not slow"

settings-doc: $(STAMP)
	$(BIN)/nttt config --markdown > docs/settings.md

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	$(BIN)/mkdocs build --strict

clean:
	rm -rf demo_output site .pytest_cache .ruff_cache .mypy_cache
