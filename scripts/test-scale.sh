#!/usr/bin/env bash
# Tests many machines' worth of ko-sentiment on one: replicas behind Envoy, Spark, Ray, streams that replay.
#   scripts/test-scale.sh [short|envoy|spark|ray|streams|all] [--if-installable]
# `short` takes under four minutes and is CI's. Each part installs what it needs below target/ the first time; with
# --if-installable, a machine that can't says so and succeeds.
# KO_SENTIMENT_BINARY and KO_SENTIMENT_MODEL name another server and model.
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:-all} lenient=${2:-}
work=$PWD/target/scale
mkdir -p "$work"

# The package is imported from the checkout, so only its dependencies are installed, and its proto is compiled.
install() {
  local list=tests/scale/requirements-$1.txt
  cmp -s "$list" "$work/installed-$1.txt" && return
  if { [ -x "$work/venv/bin/pip" ] || python3 -m venv "$work/venv"; } &&
    "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$list"; then
    cp "$list" "$work/installed-$1.txt"
  elif [ "$lenient" = --if-installable ]; then
    echo "test-scale: not tested, $list can't be installed here"
    exit 0
  else
    exit 1
  fi
}

run() {
  echo "test-scale: $1"
  "$work/venv/bin/python" -m pytest -p no:cacheprovider --rootdir tests/scale -q --durations=5 "${@:2}"
}

java_17() {
  command -v java >/dev/null && return
  echo "test-scale: installing OpenJDK 17"
  apt-get install --yes --quiet openjdk-17-jre-headless >/dev/null
}

install client
"$work/venv/bin/python" scripts/generate-client.py
export PYTHONPATH=$PWD/clients/python/src
case $part in short | envoy | all) install envoy ;; esac
case $part in spark | all) install spark && java_17 ;; esac
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
