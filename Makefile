# What can be done with the project; `make` lists it. Everything that is built once lives in the user's cache folder.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export WEIR_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/weir
export CARGO_TARGET_DIR ?= $(WEIR_CACHE)/target
export KEEP ?=

cargo := cargo
release := --release --locked
programs := $(CARGO_TARGET_DIR)/release
rig := tests/rig/rig.sh
generated := crds charts/weir/files/crds

.PHONY: help demo demo-down test bench rig-up rig-down prerequisites build image crds lint fmt

help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' Makefile | column -t -s '|'

demo: ## From nothing to a drained backlog on a real cluster and real brokers (KEEP=1 leaves everything up)
	@tests/support/demo.sh

demo-down: ## Remove what `make demo KEEP=1` left: the example, the operator and the rig
	@$(rig) down

test: ## Everything that is checked, from formatting to the tests on the rig (KEEP=1 leaves the rig up)
	@tests/support/test.sh

bench: build ## Weir's worker and Kafka's own performance tools, measured side by side on the rig (KEEP=1 leaves it up)
	@benches/worker.sh

rig-up: ## Start the rig (a cluster and three brokers) and print the exports to use it by hand
	@$(rig) up
	@$(rig) env

rig-down: ## Stop the rig and leave nothing behind
	@$(rig) down

prerequisites:
	@command -v cargo > /dev/null || { echo "Rust is missing; install it from https://rustup.rs (rust-toolchain.toml names the version)." >&2; exit 1; }
	@$(rig) prerequisites
	@# Checkouts share the cache of compiled programs, and cargo compares times, not contents: sources that were last compiled
	@# in another checkout count as changed.
	@[ "$$(cat $(CARGO_TARGET_DIR)/checkout 2> /dev/null)" = "$(CURDIR)" ] || { \
	  mkdir -p $(CARGO_TARGET_DIR) && find src crates tests -name '*.rs' -exec touch -c {} + && echo "$(CURDIR)" > $(CARGO_TARGET_DIR)/checkout; }

build: prerequisites ## Build the programs
	$(cargo) build $(release) --workspace --bins

image: build ## Build the images from the local programs and load them into the rig, if it is up
	@mkdir -p target/images
	@$(rig) image localhost/weir:dev $(programs)/weir $(programs)/weir-worker > target/images/weir
	@$(rig) image localhost/weir-sequence-sink:dev $(programs)/sequence-sink > target/images/sequence-sink
	@cat target/images/weir target/images/sequence-sink

crds: prerequisites ## Write the custom resource definitions (crds/, the chart) and docs/reference from the Rust types
	@for folder in $(generated); do $(cargo) run $(release) --quiet --bin weir -- crds --output $$folder; done
	@$(cargo) run $(release) --quiet --bin weir -- reference --output docs/reference

lint: prerequisites ## clippy with warnings as errors, and the chart
	$(cargo) clippy $(release) --workspace --all-targets -- -D warnings
	@tests/support/chart.sh

fmt: ## Format the Rust code
	$(cargo) fmt --all
