# `make demo` and `make test` are all a fresh machine needs: Python 3.11 or newer, make and a package index.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: demo test lint slow gpu package clean

demo: .venv/installed
	@mkdir -p demo
	$(BIN)/vidsr upscale examples/clip.mp4 --scale 2 --output demo/clip_2x.mp4 --overwrite
	@echo "The upscaled clip is demo/clip_2x.mp4; compare it with examples/clip.mp4."

test: .venv/installed-test
	$(BIN)/python -m pytest

# Minutes rather than seconds; not part of `make test`.
slow: .venv/installed-test
	$(BIN)/python -m pytest -m slow

# Eight minutes; writes gpu-report/. Where there is no GPU it says so, and that is no failure.
gpu:
	@echo "Getting ready: installs vidsr with what its tests need into .venv, if that is not done yet."
	@$(MAKE) --no-print-directory .venv/installed-test
	@$(BIN)/python benchmarks/gpu.py --out gpu-report || { \
		code=$$?; test $$code -eq 75 || exit $$code; \
		echo "There is no GPU here that torch can use: nothing to measure."; }

lint: .venv/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_package.py

# dist/: the source distribution, and the wheel made from it. Has twine and auditwheel look at them, if .venv has those.
package: .venv/installed-lint
	rm -rf dist
	$(BIN)/python -m hatchling build --target sdist --directory dist
	$(BIN)/pip --disable-pip-version-check wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	$(BIN)/python -m pytest -m "slow or not slow" tests/test_package.py
	@if test -x $(BIN)/auditwheel && ls dist/*-linux_*.whl >/dev/null 2>&1; then \
		PATH="$(abspath $(BIN)):$$PATH" auditwheel repair --wheel-dir dist dist/*-linux_*.whl && rm dist/*-linux_*.whl; \
	else echo "No auditwheel in .venv or nothing for it to do: a wheel for linux_* is for this machine, not an index."; fi
	@if test -x $(BIN)/twine; then $(BIN)/twine check --strict dist/*; \
	else echo "No twine in .venv: what an index would say of the page was not checked."; fi
	@ls -l dist

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt hatch_build.py $(wildcard native/*/*) | .venv/bin/python
	$(PIP) --editable .
	@touch $@

.venv/installed-test: .venv/installed
	$(PIP) --editable '.[test]'
	@touch $@

.venv/installed-lint: .venv/installed-test
	$(PIP) --editable '.[test,lint]'
	@touch $@

clean:
	rm -rf .venv demo dist
