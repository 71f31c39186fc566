# `make` shows what there is. Everything is made below .venv and .riskline; `make clean` removes both.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# The Python that makes .venv: the first of these that starts and is new enough. PYTHON=/path/to/python overrides it.
PYTHON ?=
PYTHONS := python3.11 python3.12 python3.13 python3.14 python3 python
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(BIN)/python -m tools.install
KERNEL := shared/model/_kernel.so
UP_FLAGS ?=
BENCH_FLAGS ?=
CHAOS_FLAGS ?=
SOAK_FLAGS ?=
AUDIT_FLAGS ?=
SCREENSHOT_FLAGS ?= --minutes 35

# Where `make audit` and `make sbom` have their commands, and what is audited: what serves, and what also trains and builds.
AUDIT := $(VENV)/audit
AUDIT_LOCKS := requirements/serve.txt requirements/run.txt

# Images: what is built from, under which tag, and more words for docker build (IMAGE_FLAGS="--network host").
PYTHON_IMAGE ?= python:3.11-slim-bookworm
RISKLINE_TAG ?= latest
IMAGE_FLAGS ?=
IMAGE_SOURCE ?= unknown

# What `make lock` resolves for: one file each for Python 3.11 and later on Linux and macOS. Extras stay in it: without
# them the pip of Python 3.11 takes the newest of a package that another asks for with an extra, and then finds no hash.
UV ?= uv
LOCK := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-strip-extras --custom-compile-command "make lock"

.PHONY: help install run test test-slow test-without-cc test-kubernetes parity openapi fuzz chaos soak bench bench-quick
.PHONY: screenshots images e2e-containers wheel audit sbom lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed $(KERNEL) ## Make .venv with all that running, tests and checks need, and the C kernel

run: $(VENV)/.runs $(KERNEL) ## Start everything and show how to try it; Ctrl-C stops it (UP_FLAGS="--port 9000 --workers 2")
	@exec $(BIN)/riskline up $(UP_FLAGS)

# Each step says its name first and runs also where one before it failed; the end names those that did. Two files of
# tests run at a time, as most wait for a process more than they compute.
TWO_AT_A_TIME := --numprocesses 2 --dist loadfile
CHAOS_TEST := tests/integration/test_chaos.py
STEPS := failed=; trap 'exit 130' INT; step() { printf '\n== %s\n' "$$*"; "$$@" || failed="$$failed$$(printf '\n== failed: %s' "$$*")"; }
END_STEPS := if [ -n "$$failed" ]; then echo "$$failed" >&2; exit 1; fi
test: install ## Lint, types, import rules, then unit, integration and end-to-end tests (ten minutes on two quiet cores)
	@$(STEPS); \
	step $(BIN)/ruff check .; \
	step $(BIN)/ruff format --check .; \
	step $(BIN)/mypy; \
	step $(BIN)/lint-imports; \
	step $(BIN)/pytest tests/unit $(TWO_AT_A_TIME) -m 'not slow'; \
	step $(BIN)/pytest tests $(TWO_AT_A_TIME) -m 'not slow and not containers' --ignore=tests/unit --ignore=tests/bench --ignore=$(CHAOS_TEST); \
	$(END_STEPS)

test-slow: install ## Every family of models, a Redis Cluster under faults, a minute of chaos, generated clients and more (12 minutes on two quiet cores)
	@$(STEPS); \
	step $(BIN)/pytest tests $(TWO_AT_A_TIME) -m slow --ignore=tests/bench; \
	step $(BIN)/pytest $(CHAOS_TEST); \
	$(END_STEPS)

test-without-cc: install ## Build the kernel as on a machine without a C compiler (downloads the 100 MB ziglang wheel)
	$(PIP) install --require-hashes -r requirements/zig.txt
	$(BIN)/pytest tests/unit/model/test_build.py tests/unit/model/test_engine.py -k zig

test-kubernetes: install ## Build the overlays of deploy/kubernetes and hold them against its schemas (downloads 40 MB)
	$(PIP) install --require-hashes -r requirements/kubernetes.txt
	$(BIN)/pytest tests/e2e/test_kubernetes_build.py tests/unit/deploy/test_kubernetes.py

parity: install ## Every row of the test month through all doors and all families (minutes; make test takes a sample)
	THREE_DOORS_ROWS=0 $(BIN)/pytest tests/e2e/test_three_doors.py tests/e2e/test_families.py

openapi: install ## Write the OpenAPI document and the pages of problems into docs/reference, from the code
	@env -u RISKLINE_TRANSACTION $(BIN)/riskline openapi --out docs/reference/openapi.json
	@$(BIN)/python -c 'from riskline.ingest.problems.pages import all_pages; print(all_pages(), end="")' > docs/reference/problems.md

fuzz: install ## 5,000 requests made from the OpenAPI document (OPENAPI_FUZZ_SEED=1), 100,000 damaged models (BUNDLE_FUZZ_SEED=1)
	OPENAPI_FUZZ_CASES=5000 $(BIN)/pytest tests/integration/test_openapi_fuzz.py -s
	BUNDLE_FUZZ_CASES=100000 $(BIN)/pytest tests/unit/model/test_bundle_fuzz.py -k right_hashes -n 0

chaos: install ## Kill everything for five minutes and see that nothing is lost (CHAOS_FLAGS="--seed 7")
	@exec $(BIN)/python -m tests.chaos.run $(CHAOS_FLAGS)

soak: install ## Ten minutes at half capacity: is memory flat? (SOAK_FLAGS="--seconds 60")
	@exec $(BIN)/python -m tests.bench.soak $(SOAK_FLAGS)

screenshots: install ## Take each page of the console in light and dark, wide and narrow, into docs/console (40 minutes)
	$(BIN)/python -m tests.e2e.screenshots $(SCREENSHOT_FLAGS)

bench: install ## Measure the service and its peers, and write docs/benchmarks (half an hour; BENCH_FLAGS="--only sync")
	@exec $(BIN)/riskline bench $(BENCH_FLAGS)

bench-quick: install ## The same in a few minutes, to see whether it works; its figures prove nothing
	@exec $(BIN)/riskline bench --quick $(BENCH_FLAGS)

IMAGE = docker build $(IMAGE_FLAGS) --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --build-arg SOURCE=$(IMAGE_SOURCE) \
	--build-arg VERSION="$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)" \
	--build-arg REVISION="$$(git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || echo unknown)"
images: ## Build the container images riskline-api, riskline-worker and riskline-train (RISKLINE_TAG=1.0)
	$(IMAGE) --file Dockerfile.api --target api --tag riskline-api:$(RISKLINE_TAG) .
	$(IMAGE) --file Dockerfile.worker --target worker --tag riskline-worker:$(RISKLINE_TAG) .
	$(IMAGE) --file Dockerfile.worker --target train --tag riskline-train:$(RISKLINE_TAG) .

e2e-containers: install ## Build the images, run them with compose, scale and kill them; is anything lost? (needs Docker)
	$(BIN)/pytest tests/e2e/test_containers.py -m containers -s

wheel: install ## Build the wheel, with the kernel for this platform, and the sdist into dist/
	$(BIN)/python -m hatchling build -d dist

audit: $(AUDIT)/.installed ## Known vulnerabilities of the locked packages (AUDIT_FLAGS="--service osv"); 3: nobody could be asked
	@$(BIN)/python -m tools.audit $(AUDIT_LOCKS) --pip-audit $(AUDIT)/bin/pip-audit $(AUDIT_FLAGS)

sbom: install $(AUDIT)/.installed ## What is served, as a CycloneDX bill of materials in dist/riskline.cdx.json
	@$(BIN)/python -m tools.sbom requirements/serve.txt --cyclonedx $(AUDIT)/bin/cyclonedx-py --out dist/riskline.cdx.json

lock: ## Resolve the lock files anew (needs uv)
	$(LOCK) --upgrade --all-extras pyproject.toml requirements/build.in -o requirements/dev.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/serve.txt
	$(LOCK) --extra train --extra files pyproject.toml -c requirements/dev.txt -o requirements/train.txt
	$(LOCK) --extra train --extra files --extra embedded --extra client pyproject.toml requirements/build.in \
		-c requirements/dev.txt -o requirements/run.txt
	$(LOCK) --extra otel pyproject.toml -c requirements/dev.txt -o requirements/otel.txt
	$(LOCK) requirements/build.in -c requirements/dev.txt -o requirements/build.txt
	$(LOCK) --upgrade requirements/zig.in -o requirements/zig.txt
	$(LOCK) --upgrade requirements/kubernetes.in -c requirements/dev.txt -o requirements/kubernetes.txt
	$(LOCK) --upgrade requirements/bench.in -c requirements/dev.txt -o requirements/bench.txt
	$(LOCK) --upgrade requirements/bench_history.in -o requirements/bench_history.txt
	$(LOCK) --upgrade requirements/client.in -o requirements/client.txt
	$(LOCK) --upgrade requirements/audit.in -o requirements/audit.txt

clean: ## Remove .venv, .riskline (models and data!) and caches
	rm -rf $(VENV) .riskline build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	rm -f shared/model/_kernel.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What running needs is installed first and alone; what tests and checks need comes when they are wanted. The project
# itself is built by the locked hatchling, without isolation, so that nothing is installed that has no hash.
$(VENV)/.runs: requirements/run.txt pyproject.toml
	@set -e; python='$(PYTHON)'; \
	for candidate in $${python:-$(PYTHONS)}; do \
		if "$$candidate" -c '$(NEW_ENOUGH)' >/dev/null 2>&1; then python=$$candidate; break; else python=; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'riskline: no Python 3.11 or later with venv found ($(if $(PYTHON),$(PYTHON),$(PYTHONS))): install one' \
			'(Debian: apt install python3.11-venv), or name it: make PYTHON=/path/to/python3.11' >&2; exit 1; \
	fi; \
	echo "making $(VENV) with $$("$$python" --version): a minute the first time, more on a slow line"; \
	[ -x $(BIN)/python ] || "$$python" -m venv --clear $(VENV)
	@$(INSTALL) 'what running needs' requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.installed: $(VENV)/.runs requirements/dev.txt
	@$(INSTALL) 'what tests and checks need' requirements/dev.txt
	@touch $@

# In an environment of their own: what they need is none of the service's business.
$(AUDIT)/.installed: $(VENV)/.installed requirements/audit.txt
	@$(BIN)/python -m venv --clear $(AUDIT)
	@$(AUDIT)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/audit.txt
	@touch $@

# No compiler: the ziglang wheel is one (100 MB, so only then).
$(KERNEL): $(VENV)/.runs shared/model/kernel.c shared/model/history.c shared/model/build.py
	@if [ -z "$${CC:-}" ] && ! command -v cc gcc clang >/dev/null; then \
		echo 'no C compiler found: installing ziglang for it'; \
		$(PIP) install --require-hashes -r requirements/zig.txt; \
	fi
	@$(BIN)/python -m riskline.shared.model.build
	@touch $@
