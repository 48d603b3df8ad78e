# make demo   scan the example repository, needs no torch
# make test   run the whole suite, with torch, DeepSpeed and several releases of transformers
# make check  what CI checks before it runs the suite

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Twice quiet: errors only.
UNPINNED := .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check
PIP := $(UNPINNED) --constraint constraints.txt

# Older releases of transformers, each in a folder of its own.
RELEASES := $(patsubst tests/releases/%.txt,.venv/old/%/.made,$(wildcard tests/releases/*.txt))

.PHONY: demo test check clean

demo: .venv/.base
	@echo '$$ bufaudit scan examples/leaky_model'
	@.venv/bin/bufaudit scan --no-cache examples/leaky_model; test $$? -eq 1
	@echo
	@echo '$$ bufaudit inventory examples/leaky_model'
	@.venv/bin/bufaudit inventory --no-cache examples/leaky_model
	@echo
	@echo 'What to look at:'
	@echo '  - above: each place in examples/leaky_model that drops state, with the reason, then the buffers themselves;'
	@echo '  - the twin of each in the same file, which keeps its state and is not reported;'
	@echo '  - examples/leaky_model/README.md: what each place loses; show_losses.py there proves it, with torch;'
	@echo '  - .venv/bin/bufaudit rule BUF101: a rule in full. Then try .venv/bin/bufaudit scan on code of your own.'

test: .venv/.test $(RELEASES)
	.venv/bin/python -m pytest -n auto

# mypy reads the types of torch too.
check: .venv/.test
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy --strict
	.venv/bin/bufaudit scan --no-cache bufaudit

clean:
	rm -rf .venv

# Each stamp stands for a finished installation: one that was cut short is made again.
.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bufaudit needs Python 3.11 or newer, this is " + sys.version)'
	@echo 'Making .venv'
	@$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.base: .venv/.made pyproject.toml constraints.txt bufaudit/version.py
	@echo 'Installing bufaudit'
	@$(PIP) --editable .
	@touch $@

.venv/.dev: .venv/.base
	@echo 'Installing the development tools'
	@$(PIP) --editable '.[dev]'
	@touch $@

# torch first: no later requirement may choose another build of it. DeepSpeed compiles nothing before it is used.
.venv/.test: .venv/.dev
	@echo 'Installing torch'
	@$(PIP) torch
	@echo 'Installing transformers, diffusers and DeepSpeed'
	@DS_BUILD_OPS=0 $(PIP) --editable '.[verify]' diffusers
	@touch $@

# Their versions contradict the constraints on purpose.
.venv/old/%/.made: tests/releases/%.txt .venv/.made
	@echo 'Installing $*'
	@rm -rf $(@D)
	@$(UNPINNED) --no-deps --target $(@D) --requirement $<
	@touch $@
