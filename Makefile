# Two commands: `make demo` shows the whole road, `make test` runs every check. Each sets up what it needs.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NEEDED_GIB := 9
TESTS ?=

export OMP_NUM_THREADS ?= 2
export RAY_DISABLE_IMPORT_WARNING := 1
# Bytecode is written even where the environment forbids it: without it every process of pytest rewrites every assertion
# again, for 5 s, and every process of Ray compiles all of Thaw.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-slow test-gpu bench install format lint types imports unit ray lock cluster-up cluster-down clean

help:
	@echo "make demo       prepare, train, evaluate, promote and serve a model of generated circuit boards"
	@echo "make test       format, lint, types, import floors, unit and contract tests, tests on a local Ray"
	@echo "make test-slow  the checks that take minutes"
	@echo "make test-gpu   the checks that need an NVIDIA GPU"
	@echo "make bench      the benchmarks, one after another"
	@echo "make cluster-up, cluster-down  a Ray cluster of several nodes on this machine, with a token"
	@echo "make lock       resolve anew what the image holds, into cluster/requirements.lock"
	@echo "make clean      remove the environment and everything the demo stored"

demo: $(READY)
	@$(BIN)/python jobs/demo.py jobs/configs/boards.yaml

test: lint types imports unit ray

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@python=""; for one in python3.13 python3.12 python3.11 python3; do \
	  if $$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$one; break; fi; done; \
	if [ -z "$$python" ]; then echo "Thaw needs Python 3.11 or newer; none was found on the PATH." >&2; exit 1; fi; \
	free=$$(df -Pk . | awk 'NR==2 {print int($$4 / 1048576)}'); \
	if [ ! -d $(VENV) ] && [ "$$free" -lt $(NEEDED_GIB) ]; then \
	  echo "Thaw's environment needs $(NEEDED_GIB) GiB; $$free GiB are free here." >&2; exit 1; fi; \
	echo "installing into $(VENV) with $$($$python --version) (PyTorch is large: this takes some minutes)"; \
	$$python -m venv $(VENV) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[weights,dev]'
	@touch $@

format: $(READY)
	$(BIN)/ruff format platform jobs tests cluster
	$(BIN)/ruff check --fix platform jobs tests cluster

# --no-cache: what ruff remembers of a file it does not forget when another file's name changes how its imports sort.
lint: $(READY)
	$(BIN)/ruff format --no-cache --check platform jobs tests cluster
	$(BIN)/ruff check --no-cache platform jobs tests cluster

types: $(READY)
	$(BIN)/mypy

imports: $(READY)
	$(BIN)/lint-imports --no-logo

# worksteal: each process takes neighbouring tests, so what a file's tests share is built once. Folders are left out rather
# than named: the process that hands tests out would read the fixtures of those that are named, and import all they need.
unit: export OMP_NUM_THREADS := 1
unit: $(READY)
	$(BIN)/python -m pytest tests --ignore tests/ray --ignore tests/jobs --ignore tests/gpu -m "not slow" --numprocesses 2 --dist worksteal --durations 5 $(TESTS)

ray: $(READY)
	$(BIN)/python -m pytest tests/ray -m "not slow" --durations 5 $(TESTS)

test-slow: $(READY)
	$(BIN)/python -m pytest tests -m slow --durations 0 $(TESTS)

test-gpu: $(READY)
	$(BIN)/python -m pytest tests/gpu $(TESTS)

bench: $(READY)
	@for one in tests/bench/bench_*.py; do echo "== $$one"; $(BIN)/python $$one || exit 1; done

lock: $(READY)
	$(BIN)/python cluster/lock.py

cluster-up: $(READY)
	@$(BIN)/python cluster/local.py up

cluster-down: $(READY)
	@$(BIN)/python cluster/local.py down

clean:
	rm -rf $(VENV) store .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
