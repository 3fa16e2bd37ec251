# Lifestage: `make` lists what there is. Everything runs in .venv, made here on first use.

# Only what this folder installs counts, whatever shell calls us.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX
export PYTHONNOUSERSITE := 1
export MLFLOW_DISABLE_TELEMETRY := true
export BENTOML_DO_NOT_TRACK := True
# Threads that wait asleep: spinning ones starve their neighbours.
export OMP_WAIT_POLICY := PASSIVE
# We only read runs: no job workers beside the pages.
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false

# The interpreter that .venv is made with; empty takes the newest of python3.13, python3.12, python3.11 and python3.
PYTHON ?=
export PYTHON
# More words for the command: make demo ARGS="--help"
ARGS ?=
# Where `make mlflow` listens, on this machine only.
MLFLOW_PORT ?= 5000

bin := .venv/bin
home := "$${LIFESTAGE_HOME:-$$PWD/.lifestage}"

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help install demo test check serve mlflow bench bench-spark soak bento fmt clean

help: ## this list
	@echo "Lifestage: will a customer leave, which stage comes next, what are they worth."
	@echo "First time here? make demo, then make serve."
	@echo
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name does; do printf '  make %-11s %s\n' "$$name" "$$does"; done
	@echo
	@echo "PYTHON=/path/to/python3.12 chooses the interpreter; ARGS=\"...\" adds words to demo, serve, test and bench."

install: .venv/.dev ## .venv with everything, development tools included

demo: .venv/.runtime ## the whole main job on a public purchase log; ends by itself
	@$(bin)/lifestage demo $(ARGS)

serve: .venv/.runtime ## the service and its pages, on this machine only, without keys
	@$(bin)/lifestage serve --insecure-local $(ARGS)

mlflow: .venv/.runtime ## MLflow's pages over the training runs, on this machine only
	@home=$(home); if [ ! -f "$$home/mlflow.db" ]; then echo "No training runs in $$home yet: run make demo, or lifestage train." >&2; exit 1; fi; \
	exec $(bin)/python -m mlflow ui --host 127.0.0.1 --port $(MLFLOW_PORT) --workers 1 \
	  --backend-store-uri "sqlite:///$$home/mlflow.db" --artifacts-destination "$$home/mlartifacts"

check: .venv/.dev ## format, lint, types and layers: what CI checks before the tests
	@$(bin)/python -m ruff format --check .
	@$(bin)/python -m ruff check .
	@$(bin)/python -m mypy
	@$(bin)/lint-imports --cache-dir .cache/import-linter

test: export POLARS_MAX_THREADS := 1
# Bytecode is kept, whatever shell calls us: many tests start our own commands.
test: export PYTHONDONTWRITEBYTECODE :=
# The JVM behind PySpark ends before an optimising compiler repays itself.
test: export JDK_JAVA_OPTIONS := -XX:TieredStopAtLevel=1 -XX:+UseSerialGC
test: .venv/.dev ## the tests; ARGS="-m 'not slow'" for the quick ones
	@$(bin)/python -m pytest -n $$((2 * $$(getconf _NPROCESSORS_ONLN))) --dist loadfile --no-loadscope-reorder $(ARGS) # many tests wait for servers

bench: .venv/.dev ## the benchmarks; they print ratios and judge nothing
	@$(bin)/python -m tests.bench $(ARGS)

bench-spark: .venv/.dev ## the feature table on a small Spark cluster of this machine, beside the embedded engine
	@$(bin)/python -m tests.bench.spark $(ARGS)

soak: .venv/.dev ## the properties of the tests, on a thousand drawn examples each
	@$(bin)/python -m pytest tests/soak $(ARGS)

bento: .venv/.runtime ## the service as a Bento, for bentoml containerize
	@$(bin)/python -m bentoml build

fmt: .venv/.dev ## format, and mend what the linter can mend
	@$(bin)/python -m ruff format .
	@$(bin)/python -m ruff check --fix .

clean: ## remove .venv, caches and build output; .lifestage stays
	rm -rf .venv .cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment copied from another folder does not run here: treat it as not installed.
ifneq ($(shell cat .venv/.checkout 2>/dev/null),$(shell pwd -P))
.PHONY: .venv/.runtime .venv/.dev
endif

.venv/.runtime: pyproject.toml constraints.txt
	@.ci/install runtime

.venv/.dev: pyproject.toml constraints.txt
	@.ci/install dev
