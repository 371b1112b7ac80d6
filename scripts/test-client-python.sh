#!/usr/bin/env bash
# Builds the Python client (wheel and source distribution, into dist/python) and tests the wheel in a fresh virtual
# environment against a real server. With --build, it only builds. KO_SENTIMENT_BINARY and KO_SENTIMENT_MODEL name
# another server and model.
set -euo pipefail
cd "$(dirname "$0")/.."
package=$PWD/clients/python
work=$PWD/target/client-python
pip="-m pip install --quiet --disable-pip-version-check"
mkdir -p "$work"

# The build's own tools: kept, and renewed when the list changes.
if ! cmp -s "$package/pyproject.toml" "$work/built-with.toml"; then
  python3 -m venv --clear "$work/build"
  "$work/build/bin/python" $pip build==1.6.1 hatchling==1.33.0 grpcio-tools==1.76.0
  cp "$package/pyproject.toml" "$work/built-with.toml"
fi
rm -rf dist/python
"$work/build/bin/python" -m build --no-isolation --outdir dist/python "$package" >"$work/build.log" 2>&1 ||
  { cat "$work/build.log"; exit 1; }
ls dist/python/*
if [ "${1:-}" = --build ]; then exit 0; fi

python3 -m venv --clear "$work/test"
"$work/test/bin/python" $pip "$(ls dist/python/*.whl)[pandas,polars]" \
  mypy==2.4.1 pyarrow==26.0.0 pytest==9.2.0 types-grpcio==1.85.0.20261028 types-protobuf==7.35.1.20260906
(cd "$package" && "$work/test/bin/python" -m mypy --cache-dir "$work/mypy" src/ko_sentiment tests)
export KO_SENTIMENT_REPOSITORY=$PWD
# From another folder, so that the wheel is imported and not the checkout.
cd "$work"
test/bin/python -m pytest --rootdir "$package" -c "$package/pyproject.toml" "$package/tests"
