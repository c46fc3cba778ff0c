# One line a target: make help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OWN := mlapi models_registry cloudformation gunicorn.conf.py manage.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start some hundred processes: what each of them imports is compiled once.
unexport PYTHONDONTWRITEBYTECODE

# Three for two processors: the tests with processes of their own wait as much as they reckon.
SPREAD := -n $(shell expr 3 \* $$(nproc) / 2) --dist loadscope --no-loadscope-reorder

.PHONY: help run test check bench templates deploy destroy lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.installed ## the service on http://localhost:$PORT (8000), with a demo where the registry is empty
	@exec $(BIN)/python manage.py run_local

test: $(VENV)/.installed-dev $(VENV)/.browser .venv-aws/.installed .venv-checkov/.installed .venv-clients/.installed check ## every check, then the tests, on SQLite and on PostgreSQL
	$(BIN)/pytest $(SPREAD)
	$(BIN)/python -m tests.on_postgresql $(BIN)/pytest $(SPREAD) -m database

check: $(VENV)/.installed-dev ## format, lint, types, import directions, migrations, templates
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy $(OWN)
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python -m cloudformation templates --check

bench: $(VENV)/.installed-dev .venv-bench-peers/.installed .venv-bench-mlserver/.installed $(VENV)/.wrk ## the benchmarks, with a table
	$(BIN)/python -m benchmarks

templates: $(VENV)/.installed ## the CloudFormation templates
	$(BIN)/python -m cloudformation templates

ENV ?= dev
IMAGE_TAG ?= $(shell git rev-parse --short HEAD 2>/dev/null)
deploy: $(VENV)/.installed ## the whole way to AWS: make deploy ENV=dev ARGS=--dry-run
	$(BIN)/python -m cloudformation deploy --env $(ENV) --image-tag $(IMAGE_TAG) $(ARGS)

destroy: $(VENV)/.installed ## takes it down again, and says what stays
	$(BIN)/python -m cloudformation destroy --env $(ENV) $(ARGS)

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-header
LOCKED := requirements requirements-signing requirements-otel requirements-dev requirements-aws-tools \
	requirements-checkov requirements-clients requirements-bench-peers requirements-bench-mlserver
lock: $(VENV)/.installed-dev ## the pinned and hashed requirements, anew from the *.in files
	for name in $(LOCKED); do $(LOCK) $$name.in -o $$name.txt; done

clean: ## the virtual environments; the data in var/ stays
	rm -rf .venv .venv-*

$(VENV)/.installed: requirements.txt
	@echo "Installing the pinned requirements into $(VENV) (a minute or two, once) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Set PYTHON=python3.x."; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { echo "The module venv is missing. On Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --progress-bar on --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements.txt requirements-dev.txt
	@$(MAKE) --no-print-directory $(VENV)/.installed
	@echo "Installing what the tests need …"
	$(BIN)/pip install --quiet --progress-bar on --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/.browser: | $(VENV)/.installed-dev
	@command -v chromium >/dev/null || { echo "Installing Chromium for the browser tests …"; \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; \
	  else echo "The browser tests need Chromium: sudo apt-get install chromium"; exit 1; fi; }
	@touch $@

# Tools and clients that pin what the service pins otherwise: each in an environment of its own.
.venv-aws/.installed: requirements-aws-tools.txt
.venv-checkov/.installed: requirements-checkov.txt
.venv-clients/.installed: requirements-clients.txt
.venv-bench-peers/.installed: requirements-bench-peers.txt
.venv-bench-mlserver/.installed: requirements-bench-mlserver.txt
.venv-%/.installed:
	@echo "Installing $< into .venv-$* …"
	@test -x .venv-$*/bin/pip || $(PYTHON) -m venv .venv-$*
	@# mlserver says that it needs a Python below 3.13; what is used of it does not.
	.venv-$*/bin/pip install --quiet --require-hashes --ignore-requires-python -r $<
	@touch $@
