#!/usr/bin/env bash
# Measures Envoy before replicas, and Spark with its own servers, by benches/scale.
#   scripts/bench-scale.sh envoy|spark [FLAGS OF THE SCRIPT]
# KO_SENTIMENT_BINARY and KO_SENTIMENT_MODEL name another server and model. On a busy machine, the figures mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  envoy | spark) ;;
  *) echo "usage: scripts/bench-scale.sh envoy|spark [FLAGS]" >&2; exit 2 ;;
esac
source scripts/scale-setup.sh
install "$1"
if [ "$1" = spark ]; then java_17; fi
exec "$work/venv/bin/python" "benches/scale/$1.py" "${@:2}"
