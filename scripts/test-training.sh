#!/usr/bin/env bash
# The training recipe on a tiny model, with the first Python that has its libraries: python3's own, else
# .venv, into which they are installed (6 GB). With --if-installed, nothing is installed: without the
# libraries it says so and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."
needs=models/training/requirements.txt

ready() {
  "$1" -c 'import torch, transformers, peft, sklearn, gguf, matplotlib, pytest' 2>/dev/null
}

python=python3
if ! ready $python; then
  python=.venv/bin/python
  if ! cmp -s $needs .venv/installed.txt; then
    if [ "${1:-}" = --if-installed ]; then
      echo "training recipe: not tested, its libraries are not installed (make test-training installs them)"
      exit 0
    fi
    python3 -m venv .venv
    $python -m pip install --quiet --disable-pip-version-check -r $needs
    cp $needs .venv/installed.txt
  fi
fi
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} $python -m pytest -q models/training/smoke_test.py
