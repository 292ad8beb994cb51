# Two commands from a fresh clone:  make demo   make test
.PHONY: install demo pipeline-demo test test-full test-gpu lint format

PYTHON_IN_VENV = .venv/bin/python

install:
	bash constraints/install.sh

demo: install
	bash runs/demo.sh

pipeline-demo: install
	bash runs/pipeline.sh demo

test: install
	$(PYTHON_IN_VENV) -m pytest -m "not full and not gpu"

test-full: install
	$(PYTHON_IN_VENV) -m pytest -m "not gpu"

test-gpu: install
	$(PYTHON_IN_VENV) -m pytest -m gpu -s tests/gpu

lint:
	$(PYTHON_IN_VENV) -m ruff check .
	$(PYTHON_IN_VENV) -m ruff format --check .

format:
	$(PYTHON_IN_VENV) -m ruff check --fix .
	$(PYTHON_IN_VENV) -m ruff format .
