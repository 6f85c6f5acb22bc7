# The two commands are `make demo` and `make test`; `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin

demo: .venv/installed  ## install into .venv and track the bundled clip
	$(BIN)/track tests/data/smile.mp4 -o demo_track --overwrite
	@echo "Open demo_track/overlay.mp4; the curves are in demo_track/curves.csv."

test: lint  ## lint, check the types and the floors, run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: .venv/installed  ## ruff, then types and floors (what the pre-commit hook runs)
	$(BIN)/ruff check .
	$(BIN)/python scripts/package_tree.py build/tree
	$(BIN)/mypy
	cd build/tree && "$(CURDIR)/$(BIN)/lint-imports" "$(CURDIR)/pyproject.toml" --no-logo --no-cache

hooks: .venv/installed  ## let git run `make lint` before each commit
	$(BIN)/pre-commit install

wheel: .venv/installed  ## build the wheel into dist/
	rm -rf build/lib dist
	$(BIN)/python -m pip wheel . --quiet --no-deps --no-build-isolation --wheel-dir dist

# A second call reinstalls only when pyproject.toml has changed.
.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11-3.13 is needed and $(PYTHON) is another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "Installing into .venv; it takes a few minutes and about 6 GB."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:  ## remove what make has built
	rm -rf .venv demo_track build dist *.egg-info

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

.PHONY: demo test lint hooks wheel clean help
