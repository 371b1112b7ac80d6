#!/usr/bin/env bash
# Puts Prometheus and promtool of the distribution's package on this machine, without root and without starting a
# service, and prints the folder that holds them. Idempotent. Exit code 3: they cannot be had here.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$PWD/target/prometheus
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
  dirname "$(command -v promtool)"
  exit
fi
if [ -x "$folder/usr/bin/prometheus" ] && [ -x "$folder/usr/bin/promtool" ]; then
  echo "$folder/usr/bin"
  exit
fi

give_up() {
  printf 'install-prometheus: %s; install prometheus and promtool yourself\n' "$1" >&2
  exit 3
}

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "no apt-get here"
rm -rf "$folder" && mkdir -p "$folder"
cd "$folder"
if ! apt-get -qq download prometheus >apt.log 2>&1; then
  # The package lists may be missing or old; renewing them needs root.
  apt-get -qq update >>apt.log 2>&1 && apt-get -qq download prometheus >>apt.log 2>&1 ||
    give_up "the package cannot be downloaded ($folder/apt.log)"
fi
dpkg-deb -x prometheus_*.deb . && rm -f prometheus_*.deb
usr/bin/promtool --version >/dev/null 2>&1 || give_up "promtool does not run"
echo "$folder/usr/bin"
