# The commands of the project. Cargo does the work; this file fetches what is missing and gives each job one name.
.DEFAULT_GOAL := help
.PHONY: help deps demo test bench bench-streams results results-rate results-loss results-ablation soak network prior pair lint fmt doc fuzz install deb clean

CARGO ?= cargo
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 600
DEMO_OUT ?= demo-out
SOAK_MINUTES ?= 30
# Some of the measurements of make results; empty = all.
RESULTS ?=
# Options of make results-loss: --scene, --seeds N.
LOSS ?=
# Options of make results-ablation: --only SEQUENCES, --jobs N.
ABLATION ?=
MESON_BUILD ?= build/meson

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install what the build and the tests need and this machine lacks (Debian, Ubuntu)
	@scripts/install-deps build infer

demo: ## Follow persons in a rendered street through the codec, print and plot accuracy at each rate into demo-out/
	@scripts/install-deps build infer demo
	$(CARGO) build --release --locked
	$(CARGO) run --release --locked --example demo -- --out $(DEMO_OUT)

test: ## Build everything and run all tests
	@scripts/install-deps build infer test
	@CARGO="$(CARGO)" scripts/run-tests

bench: ## Measure throughput, its stages, and the bounds they stand under
	@scripts/install-deps build
	@CARGO="$(CARGO)" scripts/bench

bench-streams: ## Measure a server with 1 to 24 streams: frames, delay, processor, memory
	@scripts/install-deps build
	@CARGO="$(CARGO)" scripts/bench-streams

soak: ## Cameras and a server over a bad network for SOAK_MINUTES (30): memory flat, no stream stops
	@scripts/install-deps build
	@CARGO="$(CARGO)" scripts/soak $(SOAK_MINUTES)

results: ## Rate against task accuracy, all chains: rendered scenes, and real sequences where ../shared/data is: long
	@scripts/install-deps build infer eval
	@CARGO="$(CARGO)" scripts/results $(RESULTS)

results-rate: ## Rate against the prototype on a real sequence (needs ../shared/data)
	@scripts/install-deps build
	python3 benches/evaluation/rate_check.py

results-loss: ## Packet loss against tracking, on a real sequence, without ../shared/data or with LOSS=--scene on a rendered one: long
	@scripts/install-deps build
	python3 benches/evaluation/loss_table.py $(LOSS)

results-ablation: ## What every tool of the codec is worth, on rendered scenes and, with ../shared/data, real sequences: a quarter of an hour
	@scripts/install-deps build infer
	@CARGO="$(CARGO)" python3 benches/evaluation/ablation_table.py $(ABLATION)

network: ## Train the project's own network again and compute the features of examples/data from it: long
	@scripts/install-deps build python
	@CARGO="$(CARGO)" scripts/train-network

prior: ## Learn the first states of the native inner codec's models again, and compare: long
	@scripts/install-deps build infer
	@CARGO="$(CARGO)" scripts/learn-prior

pair: ## Train a learned pair for the project's own network, or with PAIR="--network N.toml --models DIR SOURCE ..." for another: long
	@scripts/install-deps build infer python
	@CARGO="$(CARGO)" scripts/train-pair $(PAIR)

lint: ## Formatting and clippy, warnings are errors
	@scripts/install-deps build
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

fmt: ## Format the sources
	$(CARGO) fmt --all

doc: ## Build the Rust documentation, warnings are errors
	@scripts/install-deps build
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps

fuzz: ## Fuzz every target for FUZZ_SECONDS (600) each: long
	@CARGO="$(CARGO)" scripts/fuzz $(FUZZ_SECONDS)

install: ## Install plugin, pkg-config file and command below PREFIX (/usr/local), honours DESTDIR
	@scripts/install-deps build package
	@test -f $(MESON_BUILD)/build.ninja || meson setup $(MESON_BUILD) --prefix=$(PREFIX) --buildtype=release
	meson configure $(MESON_BUILD) -Dprefix=$(PREFIX)
	DESTDIR="$(DESTDIR)" meson install -C $(MESON_BUILD)

deb: ## Build the Debian package
	@scripts/install-deps build package
	@scripts/build-deb

clean: ## Remove everything that was built
	$(CARGO) clean
	rm -rf build $(DEMO_OUT) fuzz/target
