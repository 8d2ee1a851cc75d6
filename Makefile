# Setup, demo, tests and checks. `make demo` and `make test` need only Python 3.11, make and git;
# the tests install Debian packages if they have the permissions (.ci/install_dicom_tools lists them).
PYTHON ?= python3
BUNDLE ?= chest_xray_multitask
JOBS ?= 2
VENV := .venv
ENGINES_VENV := .venv_engines
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Federation engines, which are extras, and whose modules can only be imported with them.
ENGINES := $(foreach name,flare flower,--ignore=mtmedformer_monai/federated/$(name))

.PHONY: demo test test-slow test-engines check format clean setup monai-label
.DEFAULT_GOAL := test

setup: $(STAMP)

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is required, as the pinned packages need it (3.11 is tested); select one with: make PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/mtmedformer demo --bundle bundles/$(BUNDLE) --output demo_output/$(BUNDLE)

test: $(STAMP)
	./.ci/install_dicom_tools
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# What takes minutes, or repeats another test with more cases: before a release.
test-slow: $(STAMP)
	./.ci/install_dicom_tools
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m slow

check: $(STAMP)
	./.ci/install_dicom_tools
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mtmedformer format-bundles --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --doctest-modules mtmedformer_monai --ignore=mtmedformer_monai/cli/main.py $(ENGINES)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

# The tests of FLARE (with its encryption) and Flower, which `make test` skips, in an environment of its own (3 GB).
test-engines:
	test -x $(ENGINES_VENV)/bin/python || $(PYTHON) -m venv $(ENGINES_VENV)
	$(ENGINES_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt --editable '.[flare,flower]' tenseal
	OMP_NUM_THREADS=1 $(ENGINES_VENV)/bin/python -m pytest tests/federated/flare tests/federated/flower

# Tests both bundles in a real MONAI Label server, in a separate, persistent environment (3 GB); see docs/monai_label.md.
monai-label: $(STAMP)
	$(BIN)/python benchmarks/monai_label.py --environment .monai_label

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mtmedformer format-bundles

clean:
	rm -rf demo_output federation_output build dist *.egg-info
