# `make run` sets up and trains the quickstart queue; `make test` sets up and runs every check.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SAMPLE := sample_dataset
# Tests side by side; each keeps to one thread of torch.
JOBS   ?= 2

.PHONY: run test check lint types imports unit slow bench bench-all torture clean

run: $(VENV)/.run-ready
	$(BIN)/engine sample $(SAMPLE) --if-absent
	$(BIN)/engine run recipes/quickstart-a.toml recipes/quickstart-b.toml

test: $(VENV)/.test-ready
	$(MAKE) check

# The one gate: style, types, architecture, tests.
check: lint types imports unit

lint:
	$(BIN)/ruff check .

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

unit:
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "engine needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run-ready: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e .
	@touch $@

$(VENV)/.test-ready: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[test]'
	@touch $@ $(VENV)/.run-ready

# Slow tests, and the tests that need a GPU where there is one.
slow: $(VENV)/.test-ready
	HYPOTHESIS_PROFILE=default $(BIN)/python -m pytest -m 'slow or gpu' --timeout 900

# What training and detection gain over the lesson's script and torchvision's reference loop, in a quarter of an hour.
bench: $(VENV)/.test-ready
	$(BIN)/python -m tests.bench.table

# Everything else that is measured: checking, augmentation, the queue, the dashboard, 10,000 mutated recipes, kills.
bench-all: $(VENV)/.test-ready
	$(BIN)/python -m tests.bench.check_speed
	$(BIN)/python -m tests.bench.augmentation
	$(BIN)/python -m tests.bench.overheads
	$(BIN)/python -m tests.bench.kill_and_resume
	$(BIN)/python -m tests.bench.fuzz_recipes
	$(BIN)/python -m tests.bench.omp_wait
	$(BIN)/python -m tests.bench.supervisor_cost
	$(BIN)/python -m tests.bench.queue_speed
	$(BIN)/python -m tests.bench.exact_speed
	$(BIN)/python -m tests.bench.report_speed
	$(BIN)/python -m tests.bench.dashboard

# Signal 9 to each process and each pair, 110 times (twenty minutes); two supervisors at the same moment, 50 times.
torture: $(VENV)/.test-ready
	$(BIN)/python -m tests.bench.torture --trials 110
	$(BIN)/python -m tests.bench.start_together

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
