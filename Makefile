# `make demo` and `make test` start from a bare Python 3.11 or later and do everything.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Two spinning thread pools on one machine slow each other tenfold.
export OMP_WAIT_POLICY := passive

.PHONY: demo test check format clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,render,onnx,view,scale,robot,train]'
	$(BIN)/python -c "import torch; v = torch.__version__; assert (2, 11) <= tuple(map(int, v.split('.')[:2])) < (2, 14), v"
	touch $@

demo: $(VENV)/installed  ## a photo to normals, a relit picture and a page to look at
	$(BIN)/python examples/demo.py --output demo

test: $(VENV)/installed-dev  ## all tests
	$(BIN)/pytest

check: $(VENV)/installed-dev  ## style, types, the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) demo runs
