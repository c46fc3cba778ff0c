# One line a target: make help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OWN := mlapi models_registry cloudformation gunicorn.conf.py manage.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test check bench templates lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.installed ## the service on http://localhost:$PORT (8000), with a demo where the registry is empty
	@exec $(BIN)/python manage.py run_local

test: $(VENV)/.installed-dev .venv-aws/.installed $(VENV)/.browser check ## every check, then the tests, on SQLite and on PostgreSQL
	$(BIN)/pytest -n 2 --dist loadgroup
	$(BIN)/python -m tests.on_postgresql $(BIN)/pytest -n 2 --dist loadgroup -m database

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

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--generate-hashes --no-emit-index-url --no-header
lock: $(VENV)/.installed-dev ## the pinned and hashed requirements, anew from the *.in files
	$(LOCK) requirements.in -o requirements.txt
	$(LOCK) requirements-signing.in -o requirements-signing.txt
	$(LOCK) requirements-otel.in -o requirements-otel.txt
	$(LOCK) requirements-dev.in -o requirements-dev.txt
	$(LOCK) requirements-aws-tools.in -o requirements-aws-tools.txt
	$(LOCK) requirements-checkov.in -o requirements-checkov.txt
	$(LOCK) requirements-bench-peers.in -o requirements-bench-peers.txt
	$(LOCK) requirements-bench-mlserver.in -o requirements-bench-mlserver.txt

clean: ## the virtual environments; the data in var/ stays
	rm -rf .venv .venv-*

$(VENV)/.installed: requirements.txt
	@echo "Installing the pinned requirements into $(VENV) (a minute or two, once) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; found $$($(PYTHON) --version). Set PYTHON=python3.x."; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { echo "The module venv is missing. On Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --progress-bar on --require-hashes -r requirements.txt
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

.venv-aws/.installed: requirements-aws-tools.txt
	@echo "Installing the tools that judge the templates …"
	@test -x .venv-aws/bin/pip || $(PYTHON) -m venv .venv-aws
	.venv-aws/bin/pip install --quiet --require-hashes -r requirements-aws-tools.txt
	@touch $@

$(VENV)/.wrk: | $(VENV)/.installed-dev
	@command -v wrk >/dev/null || { echo "Installing wrk, which makes the load …"; \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq wrk; \
	  else echo "The benchmarks need wrk: sudo apt-get install wrk"; exit 1; fi; }
	@touch $@

.venv-bench-%/.installed: requirements-bench-%.txt
	@echo "Installing the servers to compare with: $* …"
	@test -x .venv-bench-$*/bin/pip || $(PYTHON) -m venv .venv-bench-$*
	.venv-bench-$*/bin/pip install --quiet --require-hashes -r requirements-bench-$*.txt
	@touch $@
