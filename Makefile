# make study [DATA=folder] [PRESET=quick] [OUT=runs/name]   the main job; prints the report's path
# make seed DATA=folder [OUT=runs/name]                     the seed report's own systems at their own size: hours; it can be stopped
# make serve                                                the page with the packaged models and phantoms
# make test                                                 all tests
# make check                                                style and types
PYTHON ?= python3
DATA ?= phantom
PRESET ?= quick
OUT ?= runs/$(notdir $(DATA:/=))-$(PRESET)
BIN := .venv/bin
READY := .venv/ready

.PHONY: setup study seed serve test check clean

setup: $(READY)

# The marker is made last, so that a set-up that was cut off is done again.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)

study: $(READY)
	$(BIN)/hilum study "$(DATA)" --preset "$(PRESET)" --out "$(OUT)" --resume

seed:
	$(MAKE) study PRESET=seed

serve: $(READY)
	$(BIN)/hilum serve --demo

test: $(READY)
	$(BIN)/python -m pytest -q -n auto

check: $(READY)
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/pyright

clean:
	rm -rf .venv build src/*.egg-info .pytest_cache .ruff_cache .hypothesis
