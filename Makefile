# make demo   the bundled models on the bundled pictures: a table and overlays (installs everything on the first call)
# make test   the quick tests (a few minutes on two cores)       make test-all   the slow ones too
# make lint   ruff and mypy                                      make clean      remove what these commands wrote

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test test-all lint clean
install: $(STAMP)

# torch and torchvision come first and together, so that they are a consistent pair; sam2 is built against that torch
# (without a build sandbox, which would download a second torch) and without its optional CUDA extension.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed, this is " + sys.version; import venv, ensurepip' \
		|| { echo "Set another interpreter with: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	@echo "Installing torch and torchvision (a few gigabytes, a few minutes on the first call) ..."
	$(BIN)/python -m pip install --quiet "torch>=2.9" "torchvision>=0.24"
	$(BIN)/python -m pip install --quiet "hydra-core>=1.3,<1.4" iopath pillow tqdm numpy
	SAM2_BUILD_CUDA=0 $(BIN)/python -m pip install --quiet --no-build-isolation "sam2>=1.1,<2"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/nttt demo --out demo_output --overwrite

test: $(STAMP)
	$(BIN)/python -m pytest

test-all: $(STAMP)
	$(BIN)/python -m pytest -m "slow or not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf demo_output .pytest_cache .ruff_cache .mypy_cache
