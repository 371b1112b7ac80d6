#!/usr/bin/env bash
# Tests many machines' worth of ko-sentiment on one: replicas behind Envoy, Spark, Ray, streams that replay.
#   scripts/test-scale.sh [short|envoy|spark|ray|streams|all] [--if-installable]
# `short` takes under four minutes and is CI's. Each part installs what it needs below target/ the first time; with
# --if-installable, a machine that can't says so and succeeds.
# KO_SENTIMENT_BINARY and KO_SENTIMENT_MODEL name another server and model.
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:-all} lenient=${2:-}
source scripts/scale-setup.sh

run() {
  echo "test-scale: $1"
  "$work/venv/bin/python" -m pytest -p no:cacheprovider --rootdir tests/scale -q --durations=5 "${@:2}"
}

case $part in short | envoy | all) install envoy ;; esac
case $part in spark | all) install spark; java_17 ;; esac
case $part in ray | all) install ray ;; esac

case $part in
  short) run short tests/scale/test_envoy.py -m "not long" ;;
  envoy) run envoy tests/scale/test_envoy.py tests/scale/test_policies.py -s ;;
  spark) run spark tests/scale/test_spark.py ;;
  ray) run ray tests/scale/test_ray.py ;;
  streams) run streams tests/scale/test_streams.py ;;
  all)
    run streams tests/scale/test_streams.py
    run envoy tests/scale/test_envoy.py tests/scale/test_policies.py -s
    run spark tests/scale/test_spark.py
    run ray tests/scale/test_ray.py
    ;;
  *) echo "no part is called $part; choose short, envoy, spark, ray, streams or all" >&2; exit 2 ;;
esac
