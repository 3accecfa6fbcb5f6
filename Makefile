# Everything runs from .venv, with the exact versions of constraints.txt. `make help` says what there is.
.DEFAULT_GOAL := help
.PHONY: help install run stop check test test-all test-packages compiler lint mutants bench clean
.DELETE_ON_ERROR:

BIN := .venv/bin
RECIPE_OF_VENV := pyproject.toml constraints.txt scripts/install.sh

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile

install: .venv/installed  ## make .venv with bin/slapos
	@echo "Ready: $(BIN)/slapos"

run: .venv/installed  ## bring a small cloud up on this machine, with a service in it
	@$(BIN)/slapos standalone up

stop:  ## end every process that `make run` started
	@if [ -x $(BIN)/slapos ]; then $(BIN)/slapos standalone down; else echo "Nothing runs: make run was never used here."; fi

# Tests wait as much as they work: there are more at a time than the two processors of the smallest machine.
# What was compiled once is kept, whatever the environment says of that: each of them would compile all tests anew.
check test test-all: export PYTHONDONTWRITEBYTECODE =

check: .venv/installed-test  ## house rules, linters, types and unit tests: what to run while writing code
	@$(BIN)/pytest -n 3 --dist worksteal tests/house tests/unit

test: .venv/installed-test test-packages  ## all tests, linters and types among them
	@$(BIN)/pytest -n 4 --dist worksteal --durations 10 tests/house tests/unit tests/contract
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 10 tests/system

test-all: .venv/installed-test test-packages  ## the same, with the master on PostgreSQL in all of its tests
	@$(BIN)/pytest -n 4 --dist worksteal --durations 10 --all-databases tests/house tests/unit tests/contract
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --durations 10 tests/system

test-packages:
	@sh scripts/packages.sh postgresql=initdb build-essential=cc make=make npm=npm git=git curl=curl procps=ps iproute2=ip nftables=nft socat=socat qemu-system-x86=qemu-system-x86_64 qemu-utils=qemu-img libvirt-daemon=libvirtd libvirt-daemon-driver-qemu openssh-client=ssh e2fsprogs=mke2fs chromium=chromium

# What Python packages are compiled with and against.
compiler:
	@sh scripts/packages.sh build-essential=cc python3-dev=python3-config pkgconf=pkg-config libvirt-dev

lint: .venv/installed-test  ## style, format and types only
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

mutants: .venv/installed-test test-packages  ## remove one defence at a time, and see a test notice (ONLY=TEXT: some of them)
	@$(BIN)/python -m tests.mutants $(ONLY)

bench: .venv/installed-test  ## measure this project against slapos.core
	@$(BIN)/python bench/node
	@$(BIN)/python bench/master
	@sh scripts/packages.sh nginx-light=nginx zstd=zstd curl=curl
	@$(BIN)/python bench/cache
	@$(BIN)/python bench/cli
	@if [ "$$(id -u)" = 0 ]; then $(BIN)/python bench/vm; else echo "bench/vm makes network namespaces: run it as root."; fi
	@if [ "$$(id -u)" = 0 ]; then $(BIN)/python bench/neighbour; else echo "bench/neighbour makes users: run it as root."; fi

clean: stop  ## remove what was installed; the data of the cloud stays in var/
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/installed: $(RECIPE_OF_VENV)
	@sh scripts/install.sh
	@touch $@

.venv/installed-test: $(RECIPE_OF_VENV) | compiler
	@sh scripts/install.sh test
	@touch .venv/installed $@
