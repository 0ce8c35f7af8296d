# The commands of this repository. `make` lists them; CONTRIBUTING.md says more.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON := .venv/bin/python

# Where the machine has no Node.js, .venv has one.
export PATH := $(PATH):$(CURDIR)/.venv/bin

REPORTS := build/reports

# Of the demo's cluster.
NAME ?= demo

# Arguments of the benchmark, and the length of a soak.
BENCH ?=
MINUTES ?= 20

# Of the campaigns: the first seed, how many, and how many kills in all.
SEED ?= 1
SEEDS ?= 10
KILLS ?= 200

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-down demo-mails test lint tools unit web e2e chaos bench soak format sync image clean

help:  ## List these commands
	@sed -n 's/^\([a-z0-9-]*\):.*  ## \(.*\)/\1\t\2/p' Makefile | expand -t 14

setup:  ## Prepare this machine: .venv from the lock and, as root on Debian, packages
	@hack/bootstrap

demo: setup  ## See it work: cluster, chart, notifications, mails, inbox
	@$(PYTHON) -m hack.demo up --name $(NAME)

demo-mails: setup  ## Watch the demo's mails arrive
	@$(PYTHON) -m hack.demo mails --name $(NAME) --follow

demo-down: setup  ## Stop the demo and remove all of it
	@$(PYTHON) -m hack.demo down --name $(NAME)

test: lint unit web e2e  ## Everything that CI runs
	@$(PYTHON) -m hack.summary $(REPORTS)/unit.xml $(REPORTS)/web.xml $(REPORTS)/e2e.xml

lint: setup  ## ruff, mypy, import contracts, derived files
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	$(PYTHON) -m hack.sync --check

# Obtains or builds the programs of clusters: minutes when cold, and better seen than hidden in a test.
tools: setup
	@tools="--kubectl --helm"; \
	if [ -z "$${KUBECONFIG:-}" ] && ! docker info &>/dev/null; then \
		tools+=" --control-plane"; [ "$$(id -u)" != 0 ] || tools+=" --node"; \
	fi; \
	$(PYTHON) -m hack.cluster tools $$tools >/dev/null

unit: tools  ## Unit and integration tests
	@mkdir -p $(REPORTS)
	$(PYTHON) -m pytest tests/unit tests/integration -n 2 --junitxml=$(REPORTS)/unit.xml

web: setup  ## The page: types, units, and in a browser
	@mkdir -p $(REPORTS)
	$(PYTHON) -m hack.web test --report $(REPORTS)/web.xml

e2e: tools  ## Tests on real clusters
	@mkdir -p $(REPORTS)
	$(PYTHON) -m pytest tests/e2e tests/chaos -n 2 --dist loadfile --junitxml=$(REPORTS)/e2e.xml

chaos: tools  ## Campaigns against the operator: SEED=1 SEEDS=10 KILLS=200
	@$(PYTHON) -m tests.chaos --seed $(SEED) --seeds $(SEEDS) --kills $$((($(KILLS) + $(SEEDS) - 1) / $(SEEDS)))

# Each figure beside its peer; BENCH chooses some and their sizes: BENCH="broadcast --broadcast 1000".
bench: tools  ## Measure the operator beside its peers (docs/performance.md)
	@mkdir -p $(REPORTS)
	@$(PYTHON) -m bench $(BENCH) --json $(REPORTS)/bench.jsonl

soak: tools  ## A steady load with faults for MINUTES (20): does anything grow?
	@$(PYTHON) -m bench.soak --minutes $(MINUTES)

format: setup  ## Format the code, fix what can be fixed
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

sync: setup  ## Write the derived files anew: chart copies of CRDs, API reference, values
	$(PYTHON) -m hack.sync

image: setup  ## The operator's image: dist/image.tar, tagged notifications-operator:dev
	$(PYTHON) -m hack.image build

clean:  ## Remove what these commands made here; caches and clusters stay
	rm -rf build dist web/dist operator/notifications_operator/gateway/page/dist web/.vite web/node_modules .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
