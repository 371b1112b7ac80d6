# Two commands: `make demo` runs the main job, `make test` passes the tests.
# Both install what is missing, and are quick the second time.

MODEL := models/ko-gemma3-270m-sentiment-q4_k_m.gguf
BASE := models/.cache/gemma-3-270m-q4_k_m.gguf
ADAPTER := models/ko-gemma3-270m-sentiment
BINARY := target/release/ko-sentiment

.PHONY: demo test lint build setup clean

demo: $(MODEL)
	@scripts/demo.sh

test: $(MODEL) .python/.stamp
	cargo test --release

# A Python client for the tests, in a folder of its own.
.python/.stamp: tests/python/requirements.txt
	python3 -m pip install --quiet --disable-pip-version-check --upgrade --target .python -r $<
	@touch $@

# What CI checks beside the tests.
lint: setup
	cargo fmt --check
	cargo clippy --release --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps

build: setup
	cargo build --release

setup:
	@scripts/setup.sh

$(BASE): models/manifest.json models/fetch.py
	@python3 models/fetch.py
	@touch $@

# The embedded default: base and adapter, merged and quantised by our own converter.
$(MODEL): $(BASE) $(wildcard $(ADAPTER)/adapter_*) models/profiles/ko-youtube-sentiment.toml | build
	$(BINARY) convert-model --force --base $(BASE) --out $@ $(if $(wildcard $(ADAPTER)/adapter_config.json),--adapter $(ADAPTER))

clean:
	cargo clean
	rm -rf .python models/.cache models/*.gguf
