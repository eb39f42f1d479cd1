# Every target works from a fresh checkout: the first one sets up .venv.

VENV   := .venv
BIN    := $(VENV)/bin
PLAIN  := $(VENV)/.installed
STAMP  := $(VENV)/.installed-dev
REPLAY := $(BIN)/replay
DEMO   := build/demo
SMOKE  := build/smoke
WHEEL  := build/wheel
LOWEST := build/lowest
SAMPLE := traces/chat-small.jsonl

# The first Python new enough; `make PYTHON=/path/to/python` names another.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)

# Some containers forbid byte code; each start would then parse every library again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
PARALLEL := -n auto --dist worksteal
# Kernels, each beside its twin in plain Python.
TWINS  := $(wildcard tests/test_*_twins.py tests/test_*policies.py) $(addprefix tests/test_, \
	block_lifecycle.py curve.py explain.py hashing.py radix.py session_store.py trace_stream.py tree.py)

.PHONY: help demo test quick nightly nojit browser check fuzz faults bench accuracy claims smoke dist test-lowest clean

help:  ## show this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(PLAIN)  ## describe and replay the sample trace, show its reports, its curve and its page
	$(REPLAY) describe $(SAMPLE)
	$(REPLAY) run $(SAMPLE) -o $(DEMO) --force
	$(REPLAY) report $(DEMO)
	$(REPLAY) curve $(SAMPLE) --gpu h100-sxm --unit GiB --policy lru,min
	$(REPLAY) report $(DEMO) --html $(DEMO).html --force

test: $(STAMP)  ## compile all kernels and run all tests, a process a core; ARGS="-k name" picks some
	$(BIN)/replay doctor --warm
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

quick: $(STAMP)  ## a minute of tests for while you work: no slow ones, a tenth of the examples
	REPLAY_TEST_PROFILE=quick $(BIN)/python -m pytest $(PARALLEL) -m "not slow" $(ARGS)

nightly: $(STAMP)  ## all tests, with ten times the examples
	REPLAY_TEST_PROFILE=nightly $(BIN)/python -m pytest $(PARALLEL) $(ARGS)

nojit: $(STAMP)  ## the kernels' tests with the kernels as plain Python
	NUMBA_DISABLE_JIT=1 REPLAY_TEST_PROFILE=quick $(BIN)/python -m pytest $(PARALLEL) \
		-W ignore::RuntimeWarning -m "not slow" $(TWINS) $(ARGS)

browser: $(STAMP)  ## open pages in Chromium; AXE=axe.min.js of axe-core looks at accessibility
	AXE="$(AXE)" $(BIN)/python -m pytest tests/test_browser.py $(ARGS)

check: $(STAMP)  ## lint, formatting, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict --follow-imports=silent tests/typed/notebook.py
	$(BIN)/lint-imports

fuzz: $(STAMP)  ## attack every reader and document; ARGS="--count 200000 --seed 2"
	$(BIN)/python -m tests.fuzz $(ARGS)

faults: $(STAMP)  ## kills, full disks, closed streams, damage, bombs; ARGS="bombs" picks
	$(BIN)/python -m tests.faults $(ARGS)

bench: $(STAMP)  ## measure speed
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/cache.py
	$(BIN)/python benchmarks/ingest.py

accuracy: $(STAMP)  ## make docs/accuracy.md again; MEASURED=FOLDER has the measured rows
	$(BIN)/python benchmarks/accuracy.py $(MEASURED) --write docs

claims: $(STAMP)  ## measure what the simulator before replay claimed for prefix caching
	$(BIN)/python benchmarks/seed_claims.py

smoke: $(STAMP)  ## install as a user does, without a checkout, and replay the sample trace
	rm -rf $(SMOKE)
	$(BIN)/python -m venv $(SMOKE)
	$(SMOKE)/bin/python -m pip install -qq --disable-pip-version-check .
	cd $(SMOKE) && bin/replay --help && bin/replay doctor
	cd $(SMOKE) && bin/replay run $(CURDIR)/$(SAMPLE) -o run && bin/replay report run

dist: $(STAMP)  ## build wheel and sdist, check both, and run the demo from the wheel
	rm -rf dist $(WHEEL)
	$(BIN)/python -m pip install -qq --disable-pip-version-check 'build>=1.2' 'twine>=6.1'
	$(BIN)/python -m build -q --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m tests.dist_contents dist
	$(BIN)/python -m venv $(WHEEL)
	$(WHEEL)/bin/python -m pip install -qq --disable-pip-version-check dist/*.whl
	cd $(WHEEL) && bin/replay doctor && bin/replay demo --force

test-lowest: $(STAMP)  ## run the tests with the lowest versions that pyproject.toml allows
	rm -rf $(LOWEST)
	$(BIN)/python -m pip install -qq --disable-pip-version-check 'uv>=0.5'
	$(BIN)/uv venv -q --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip compile -q --python $(LOWEST) --resolution lowest-direct --extra dev pyproject.toml -o $(LOWEST)/lowest.txt
	$(BIN)/uv pip sync -q --python $(LOWEST) $(LOWEST)/lowest.txt
	PYTHONPATH=$(CURDIR) $(LOWEST)/bin/python -m pytest $(PARALLEL) $(ARGS)

clean:  ## remove what the targets above wrote, but not .venv
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find replay tests benchmarks traces -name __pycache__ -prune -exec rm -rf {} +

$(PLAIN): pyproject.toml
	@test -n "$(PYTHON)" || { echo "replay needs Python 3.11 or newer, and none was found." \
		"Install one (Debian, Ubuntu: apt install python3 python3-venv)" \
		"or name it: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c '$(NEW_ENOUGH)' || { echo "replay needs Python 3.11 or newer;" \
		"$(PYTHON) is older or cannot be run" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual" \
		"environments. Debian, Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[report]'
	$(BIN)/python -m compileall -q replay
	@touch $@

$(STAMP): $(PLAIN)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]'
	@# An oracle for tests; it has wheels for some platforms only, and tests skip without it.
	-@$(BIN)/python -m pip install -qq --disable-pip-version-check --only-binary :all: \
		'libcachesim>=0.3.5' 2>/dev/null || echo "libcachesim has no wheel here: its tests will skip"
	@touch $@
