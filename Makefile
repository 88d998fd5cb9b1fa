# Every target makes the environment it needs, once. Options are variables: make benchmark DATASET=mnist SEEDS="0 1"

PYTHON ?= python3
DATASET ?=
PROTOCOL ?=
SEARCHERS ?=
SEEDS ?=
EPOCHS ?=
SCALE ?=
BACKBONE ?=
FEATURES ?=
JOBS ?=
DEVICE ?= auto
WHEELS ?=
OUT ?= gpu-results
RESULTS ?= results
OPTIONS ?=

BIN := .venv/bin
RUN := $(BIN)/latentbench run --device $(DEVICE) --results "$(RESULTS)" \
	$(if $(SEARCHERS),--searchers $(SEARCHERS)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SCALE),--scale $(SCALE)) \
	$(if $(DATASET),--dataset "$(DATASET)") $(if $(PROTOCOL),--protocol "$(PROTOCOL)") $(if $(EPOCHS),--epochs $(EPOCHS)) \
	$(if $(BACKBONE),--backbone $(BACKBONE)) $(if $(FEATURES),--features $(FEATURES)) $(if $(JOBS),--jobs $(JOBS)) $(OPTIONS)
REPORT := $(BIN)/latentbench report --results "$(RESULTS)" --out "$(if $(findstring ://,$(RESULTS)),results,$(RESULTS))/report"

.PHONY: benchmark report figures results test faults lint docs audit bench gpu clean

benchmark: .venv/installed
	@$(RUN); status=$$?; if [ $$status -le 1 ]; then $(REPORT) || status=$$?; fi; exit $$status  # 1: a search failed

report: .venv/installed
	$(REPORT)

figures: .venv/installed
	$(REPORT) --figures

results: .venv/installed
	$(BIN)/python -m docs.results

test: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

faults: .venv/installed-dev
	$(BIN)/python -m tests.faults

lint: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

audit: .venv/installed-dev
	$(BIN)/pip install pip-audit && $(BIN)/pip-audit --local --skip-editable

gpu:  # with the Python that has the machine's torch: no environment of its own, no network
	PYTHON="$(PYTHON)" WHEELS="$(WHEELS)" OUT="$(OUT)" DEVICE="$(if $(filter auto,$(DEVICE)),cuda,$(DEVICE))" tests/gpu/run.sh

bench: .venv/installed
	$(BIN)/python -m tests.speed

clean:
	rm -rf .venv build site *.egg-info .pytest_cache .mypy_cache .ruff_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --editable .
	touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(BIN)/pip install --editable ".[dev]"
	touch $@ .venv/installed
