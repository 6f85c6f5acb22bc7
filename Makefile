# make demo: install into .venv and track the bundled clip.   make test: lint and test.
PYTHON ?= python3
BIN := .venv/bin

demo: .venv/installed
	$(BIN)/track tests/data/smile.mp4 -o demo_track --overwrite
	@echo "Open demo_track/overlay.mp4; the curves are in demo_track/curves.csv."

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -q

# A second call reinstalls only when pyproject.toml has changed.
.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "Python 3.11-3.13 is needed and $(PYTHON) is another: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	@echo "Installing into .venv; it takes a few minutes and about 6 GB."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf .venv demo_track

.PHONY: demo test clean
