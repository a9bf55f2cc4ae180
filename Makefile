# Every verb of the project; people and CI use the same ones. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test fuzz chaos check format bench screenshots up constraints clean
SHELL := /bin/bash

# One thread a process: two cores are shared by ranks, tests and the store, and spinning threads starve them.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# Compiled once, torch is imported in half the time, and every attempt of a job is a process that imports it.
unexport PYTHONDONTWRITEBYTECODE
PYTHON_CODE := core service workers tests benchmarks

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## make .venv and install everything from the constraints (quick when up to date)
	@bash deploy/setup.sh

demo: setup ## the main job on real images, end to end; results in ./demo (DEMO="--out DIR" passes options)
	.venv/bin/closegap demo $(DEMO)

test: setup ## all tests, in two processes (TESTS="tests/core -k elbo" narrows them)
	$(ONE_THREAD) .venv/bin/python -m pytest -n 2 $(or $(TESTS),tests)

fuzz: setup ## the HTTP API against 10,000 requests and 10,000 broken specs (FUZZ_CASES, FUZZ_SEED change that)
	FUZZ_CASES=$(or $(FUZZ_CASES),10000) $(ONE_THREAD) .venv/bin/python -m pytest -q -s tests/api/test_fuzz.py

chaos: setup ## the service under 300 faults, audited (CHAOS_SEED, CHAOS_FAULTS, CHAOS_JOBS; CHAOS="--json")
	$(ONE_THREAD) .venv/bin/python -m tests.chaos $(CHAOS)

check: setup ## format, lint, types, architecture tests; changes nothing
	.venv/bin/python -m ruff format --check $(PYTHON_CODE)
	.venv/bin/python -m ruff check $(PYTHON_CODE)
	.venv/bin/python -m mypy
	$(ONE_THREAD) .venv/bin/python -m pytest -q tests/architecture

format: setup ## rewrite the code in the house format
	.venv/bin/python -m ruff check --fix-only $(PYTHON_CODE)
	.venv/bin/python -m ruff format $(PYTHON_CODE)

bench: setup ## speed, each figure against its limit on this machine; fails below a mark (BENCH="--json")
	@$(ONE_THREAD) .venv/bin/python -m benchmarks $(BENCH)

screenshots: setup ## pictures of every page, of a real service that does real work, into docs/page (needs chromium)
	$(ONE_THREAD) .venv/bin/python -m tests.page.screenshots docs/page

up: setup ## store and worker in the foreground, data in ./closegap-data
	.venv/bin/closegap up

constraints: setup ## resolve pyproject.toml anew into constraints.txt, keeping pins that still fit
	@bash deploy/constraints.sh

clean: ## remove .venv and caches; never data, results or the demo folder
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist
	find core service workers tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
