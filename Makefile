# `make help` lists the targets. They use the project's environment where there is one.
PYTHON := $(if $(wildcard .venv/bin/python),.venv/bin/python,python)

.DEFAULT_GOAL := help
.PHONY: help install check fix test story golden docs audit lock peers image clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 12

install:  ## the environment with the test tools
	./scripts/install.sh test --version

check:  ## format, lint, types, the quick tests; before every commit
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -q -n 2 -m "not slow and not browser" tests

fix:  ## let ruff repair what it can
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

test:  ## the whole suite, as users run it
	$(PYTHON) test_trader.py

story:  ## the user's stories only
	$(PYTHON) -m pytest -v test_trader.py

golden:  ## write the generated files anew; a change in them is explained in CHANGELOG.md
	$(PYTHON) -m config --example > .env.example
	$(PYTHON) -m config --markdown > docs/settings.md
	$(PYTHON) run_trader.py features list --markdown > docs/indicators.md
	$(PYTHON) scripts/structure.py > PROJECT_STRUCTURE.md
	$(PYTHON) scripts/reference.py

docs:  ## the documentation site, in build/site; no warning is let through
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

audit:  ## known holes, licences and an SBOM of what runs, in build/
	./scripts/audit.sh

lock:  ## pin the newest versions of what requirements*.in ask for
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate -q -U \
		requirements.in -o requirements.txt
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate -q -U \
		requirements-dev.in -o requirements-dev.txt
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate -q -U \
		requirements-bench.in -o requirements-bench.txt

peers:  ## the other programs that benchmarks/ measures beside ours
	$(PYTHON) -m pip install -q -r requirements-bench.txt

image:  ## the container image
	docker build -t kraken-ai-trader .

clean:  ## caches and build leftovers; data, models and logs stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
