# Two commands matter to a newcomer: `make demo` and `make test`.  The rest is for those who stay.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PY := .venv/bin/python
WORKERS ?= 2

.PHONY: help demo test test-fast interop prove check format cover bench networks docs servers clean

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.venv/.installed: pyproject.toml constraints.txt scripts/bootstrap
	@scripts/bootstrap run

.venv/.installed-dev: pyproject.toml constraints.txt scripts/bootstrap
	@scripts/bootstrap dev

demo: .venv/.installed  ## install, then register and call inside an embedded sandbox: no configuration, no network
	@.venv/bin/sipcli demo

servers: .venv/.installed-dev  ## install the real servers that the tests talk to (apt, npm)
	@scripts/install-servers

test: .venv/.installed-dev servers  ## run every test, the ones against real servers included
	@scripts/run-tests

test-fast: .venv/.installed-dev  ## run the tests that need no server and no long time
	@$(PY) -m pytest -q -n $(WORKERS) -m "not real and not slow"

interop: .venv/.installed-dev servers  ## run the tests behind docs/interop.md: calls with telephones nobody here wrote
	@$(PY) scripts/make_interop.py --check
	@# Four at once: for the most part they wait for what is said.
	@tests=$$($(PY) scripts/make_interop.py --tests) && WORKERS=4 SIPCLI_REQUIRE_REAL=1 scripts/run-tests $$tests

prove: .venv/.installed-dev servers  ## take each defence of tests/defences.toml out and see its tests fail
	@$(PY) scripts/prove_defences.py

check: .venv/.installed-dev  ## format, lint, types, import direction, generated documents
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/pyright
	.venv/bin/lint-imports
	@$(PY) scripts/check_sizes.py
	@$(PY) scripts/make_docs.py --check

format: .venv/.installed-dev  ## put the code into its one format
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

cover: .venv/.installed-dev  ## branch coverage, a report in htmlcov/
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -q -m "not slow"
	$(PY) -m coverage combine -q
	$(PY) -m coverage html -q
	$(PY) -m coverage report --skip-covered

bench: .venv/.installed-dev  ## measure, beside peers, and write docs/performance.md
	@$(PY) -m bench

networks: .venv/.installed-dev servers  ## call over bad networks (root), and write the figures into docs/networks.md
	@$(PY) scripts/measure_networks.py

docs: .venv/.installed-dev  ## write the generated documents again
	@$(PY) scripts/make_docs.py

clean:  ## remove what the other targets made
	rm -rf .venv .work build dist htmlcov .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache tests/support/servers/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
