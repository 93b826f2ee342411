# Everything runs from .venv, which `make setup` makes from the pins in requirements/. Needs Linux, python3.11 and g++.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup announce-quickstart quickstart test test-all chaos lint format requirements

PYTHON ?= python3.11
DEVICE ?= cpu
BIN := .venv/bin
PINS := requirements/$(DEVICE).txt
UV := $(BIN)/uv --no-config
COMPILE := pip compile --quiet --no-header --no-annotate --no-emit-index-url --python-version 3.11 \
	--override requirements/overrides.txt

# uv reads neither pip's configuration nor pip's variables. A GPU machine takes the registry's own (CUDA) torch.
comma := ,
space := $(subst ,, )
ifeq ($(DEVICE),cpu)
ifneq ($(strip $(PIP_FIND_LINKS)),)
export UV_FIND_LINKS ?= $(subst $(space),$(comma),$(strip $(PIP_FIND_LINKS)))
else
export UV_TORCH_BACKEND ?= cpu
endif
endif
ifneq ($(strip $(PIP_INDEX_URL)),)
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

# An engine's start is mostly imports: without bytecode they take three times as long.
unexport PYTHONDONTWRITEBYTECODE

help:
	@echo "make setup        make .venv (DEVICE=gpu for CUDA machines); quick when there is nothing to do"
	echo "make quickstart   set up, then the whole ring on this machine, CPU only"
	echo "make test         set up, then the tests"
	echo "make test-all     the slow ones too"
	echo "make chaos        whole runs under seeded faults (SCHEDULES=20 SEED=0), over a minute each"
	echo "make lint         ruff"
	echo "make requirements pin requirements/*.in anew"

setup:
	@.ci/setup "$(PYTHON)" "$(PINS)"

announce-quickstart:
	@echo "The whole ring on this machine, CPU only: about 4 minutes on two cores, and one to set up the first time."

quickstart: announce-quickstart setup
	@name="quickstart-$$(date +%Y%m%d-%H%M%S)"
	$(BIN)/dsa run configs/quickstart.yaml run.name="$$name" $(ARGS)
	echo "The run lies in runs/$$name; open runs/$$name/report.html, or: $(BIN)/dsa report runs/$$name"

test: setup
	@$(BIN)/python -m pytest -m "not slow and not gpu" $(ARGS)

test-all: setup
	@.ci/prometheus
	$(BIN)/python -m pytest -m "not gpu" $(ARGS)

SCHEDULES ?= 20
SEED ?= 0
chaos: setup
	@$(BIN)/python -m tests.chaos --schedules $(SCHEDULES) --seed $(SEED) $(ARGS)

lint: setup
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	@$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# The GPU pins are resolved without find-links: a CPU build of torch found there would win over the registry's.
requirements: setup
	@$(UV) $(COMPILE) requirements/cpu.in requirements/test.in -o requirements/cpu.txt
	env -u UV_FIND_LINKS -u UV_TORCH_BACKEND $(UV) $(COMPILE) --python-platform x86_64-manylinux_2_28 \
		requirements/gpu.in requirements/test.in -o requirements/gpu.txt
