# Every target sets up what it needs; the second call starts at once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2
# Many tests wait for real servers: four workers keep two cores busy.
TEST_WORKERS ?= 4
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := --require-hashes --only-binary :all:
INSTALL_FAILED = The locked dependencies could not be installed; see above. Is the package index reachable, and is there a wheel for $$($(BIN)/python -c 'import platform; print(platform.platform())')?

.PHONY: demo test bench lint types corpus cases notebooks report lock clean setup

setup: $(READY)

ifndef SETTING_UP
# One set-up at a time: a second make waits for the first, and then finds everything there.
$(READY): requirements.lock pyproject.toml
	@set -- $(MAKE) -s SETTING_UP="make $(MAKECMDGOALS)" $(READY); \
	  if command -v flock >/dev/null; then set -- flock Makefile "$$@"; fi; "$$@"
else
# An interrupted or failed set-up leaves no $(READY), and the next call begins anew.
$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; Python 3.11 or newer is needed. On Debian and Ubuntu: apt install python3 python3-venv"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version) was found. Name another with: $(SETTING_UP) PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing. On Debian and Ubuntu: apt install python3-venv"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "The virtual environment $(VENV) could not be made; see above."; exit 2; }
	@echo "Installing the locked dependencies into $(VENV) (once, half a minute to three)..." >&2
	@awk '/^[^ ]/ { keep = /^uv==/ } keep' requirements.lock > $(VENV)/installer.lock
	@$(PIP) $(LOCKED) -r $(VENV)/installer.lock || { echo "$(INSTALL_FAILED)"; exit 2; }
	@# uv takes 32 s for the lock on two cores, pip 124 s; pip does it where uv cannot (an index only pip knows).
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode $(LOCKED) -r requirements.lock \
	  || { echo "uv could not install them; pip tries." >&2; $(PIP) $(LOCKED) -r requirements.lock; } || { echo "$(INSTALL_FAILED)"; exit 2; }
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $(READY)
endif

demo: $(READY)
	@$(BIN)/worthit demo $(ARGS)

# Static checks side by side; then tests (see tests/conftest.py for their order); whole runs alone.
test: $(READY)
	@$(MAKE) --no-print-directory -j $(WORKERS) lint types corpus
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --ignore tests/endtoend $(ARGS)
	$(BIN)/python -m pytest tests/endtoend

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

corpus: $(READY)
	@if [ -f ../shared/corpus/check.py ]; then $(BIN)/python ../shared/corpus/check.py; fi

cases: $(READY)
	@if [ -f ../shared/cases/check.py ]; then $(BIN)/python ../shared/cases/check.py; fi

bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

notebooks: $(READY)
	$(BIN)/jupyter lab --notebook-dir=notebooks

report: $(READY)
	$(BIN)/worthit report $(ARGS)

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --all-extras pyproject.toml -o requirements.lock
	for image in run load notebooks; do uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --constraint requirements.lock deploy/requirements-$$image.in -o deploy/requirements-$$image.lock || exit 1; done

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
