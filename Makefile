# One line a target: make help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OWN := mlapi models_registry cloudformation tools gunicorn.conf.py manage.py requirements
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The tests start some hundred processes: what each of them imports is compiled once.
unexport PYTHONDONTWRITEBYTECODE

# Tests that need neither a browser, PostgreSQL nor a second environment, and take seconds. The others are in `make test`.
QUICK := tests/test_docs.py tests/test_names.py tests/test_vocabulary.py tests/requirements/test_pyproject.py tests/inference \
  $(addprefix tests/agent/test_,desired_state_cache.py load_queue.py periodic.py plan.py) \
  $(addprefix tests/artifacts/test_,cache.py columns.py datetimes.py inference.py input_errors.py manifest.py \
    outputs.py policy.py prediction_json.py sample.py schema.py suggestions.py) \
  $(addprefix tests/compilation/test_,compiler_version.py sampling.py) \
  $(addprefix tests/mlapi/test_,admission.py binary_tensors.py body.py mlflow.py native.py number_rows.py openinference.py) \
  $(addprefix tests/models_registry/test_,checks.py services.py) \
  $(addprefix tests/cloudformation/test_,config.py ecs.py iam.py network.py)

# Where tests touch the database; those of a page in a browser show the same on both.
DATABASE_TESTS := $(addprefix tests/,agent e2e mlapi models_registry monitoring scoring)

# Two processes for each processor: tests with services wait as long as they compute. One in four is on PostgreSQL.
BY_MODULE := --dist loadscope --no-loadscope-reorder
SPREAD := -n $(shell expr 2 \* $$(nproc)) $(BY_MODULE)
ON_SQLITE := -n $(shell expr \( 3 \* $$(nproc) + 1 \) / 2) $(BY_MODULE)
ON_POSTGRESQL := -n $(shell expr \( $$(nproc) + 1 \) / 2) $(BY_MODULE)

.PHONY: help run test test-sqlite test-pg others quick check types bench bench-scale templates deploy destroy lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.installed ## the service on http://localhost:$PORT (8000), with a demo where the registry is empty
	@exec $(BIN)/python manage.py run_local

OTHERS := .venv-aws/.installed .venv-checkov/.installed .venv-clients/.installed .venv-mlflow/.installed
PEERS := .venv-bench-peers/.installed .venv-bench-mlserver/.installed

test: $(VENV)/.installed-dev ## every check, then the tests, on SQLite and on PostgreSQL
	@$(MAKE) --no-print-directory -j 2 check others
	@$(MAKE) --no-print-directory -j 2 test-sqlite test-pg

others: $(VENV)/.browser $(OTHERS) $(PEERS) ## other environments, and the browser

test-sqlite: ## the tests, on SQLite
	$(BIN)/pytest $(ON_SQLITE)

# Its output comes at its end, apart from that of the tests on SQLite.
test-pg: ## those that touch the database, on PostgreSQL
	@log=$$(mktemp); trap 'cat $$log; rm $$log' EXIT; \
	  $(BIN)/python -m tests.on_postgresql $(BIN)/pytest $(ON_POSTGRESQL) -m database $(DATABASE_TESTS) >$$log 2>&1

quick: $(VENV)/.installed-dev ## format, lint, types and the quick tests, under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@$(MAKE) --no-print-directory types
	$(BIN)/pytest $(SPREAD) -q $(QUICK)

check: $(VENV)/.installed-dev ## format, lint, types, import directions, migrations, templates
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@$(MAKE) --no-print-directory types
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python -m cloudformation templates --check

types: $(VENV)/.installed-dev ## the types
	$(BIN)/mypy $(OWN)

bench: $(VENV)/.installed-dev $(PEERS) $(VENV)/.wrk ## the benchmarks, with a table
	$(BIN)/python -m benchmarks

bench-scale: $(VENV)/.installed-dev ## how cost grows from 100 models to 1,000
	$(BIN)/python -m benchmarks.scale

templates: $(VENV)/.installed ## the CloudFormation templates
	$(BIN)/python -m cloudformation templates

ENV ?= dev
IMAGE_TAG ?= $(shell git rev-parse --short HEAD 2>/dev/null)
deploy: $(VENV)/.installed ## the whole way to AWS: make deploy ENV=dev ARGS=--dry-run
	$(BIN)/python -m cloudformation deploy --env $(ENV) --image-tag $(IMAGE_TAG) $(ARGS)

destroy: $(VENV)/.installed ## takes it down again, and says what stays
	$(BIN)/python -m cloudformation destroy --env $(ENV) $(ARGS)

# `make lock` takes the newest versions that the inputs allow. `make lock UPGRADE=` keeps the pinned ones and adds only
# what an input newly asks for.
UPGRADE ?= --upgrade
lock: $(VENV)/.installed ## the newest pinned and hashed requirements, from requirements/*.in
	$(PYTHON) requirements/lock.py $(UPGRADE)

clean: ## the virtual environments; the data in var/ stays
	rm -rf .venv .venv-*

$(VENV)/.wrk: | $(VENV)/.installed-dev
	@command -v wrk >/dev/null || { echo "Installing wrk for the benchmarks …"; \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq wrk; \
	  else echo "The benchmarks need wrk: sudo apt-get install wrk"; exit 1; fi; }
	@touch $@

INSTALL := $(PYTHON) requirements/install.py
INSTALLER := requirements/install.py requirements/uv.txt

$(VENV)/.installed: requirements.txt requirements/own.in $(INSTALLER)
	@echo "Installing the pinned requirements into $(VENV) (once) …"
	@$(INSTALL) $(VENV) $< requirements/own.in
	@touch $@

$(VENV)/.installed-dev: requirements.txt requirements/dev.txt $(INSTALLER)
	@$(MAKE) --no-print-directory $(VENV)/.installed
	@echo "Installing the tools of the tests …"
	@$(INSTALL) $(VENV) requirements/dev.txt
	@touch $@

$(VENV)/.browser: | $(VENV)/.installed-dev
	@command -v chromium-headless-shell >/dev/null || { echo "Installing Chromium for the browser tests …"; \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium-headless-shell || command -v chromium; \
	  elif ! command -v chromium; then \
	    echo "The browser tests need Chromium: sudo apt-get install chromium-headless-shell"; exit 1; fi; }
	@touch $@

# Tools and clients that pin what the service pins otherwise: each in an environment of its own.
.venv-aws/.installed: requirements/aws-tools.txt
.venv-checkov/.installed: requirements/checkov.txt
.venv-clients/.installed: requirements/clients.txt
.venv-mlflow/.installed: requirements/mlflow.txt
.venv-bench-peers/.installed: requirements/bench-peers.txt
.venv-bench-mlserver/.installed: requirements/bench-mlserver.txt
.venv-%/.installed: $(INSTALLER)
	@echo "Installing $(filter-out $(INSTALLER),$^) into .venv-$* …"
	@$(INSTALL) .venv-$* $(filter-out $(INSTALLER),$^)
	@touch $@
