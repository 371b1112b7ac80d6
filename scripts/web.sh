#!/usr/bin/env bash
# The page of `serve --web`: `build` makes web/dist from web/, `check` compares the two, `test` does that and runs the page
# in Chromium before the built binary. `test` skips where there is no Node or no Chromium.
set -euo pipefail
cd "$(dirname "$0")/.."

# What package-lock.json names, no newer and no older.
packages() {
  if [ ! "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ]; then
    npm ci --prefix "$1" --silent
    touch "$1/node_modules/.package-lock.json"
  fi
}

has_node() {
  command -v npm >/dev/null && node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 12) || (a == 20 && b >= 19) ? 0 : 1)' 2>/dev/null
}

build() {
  packages web
  npm run --prefix web --silent build -- --outDir "$1" --emptyOutDir --logLevel warn
}

check() {
  made=$(mktemp -d)
  trap 'rm -rf "$made"' EXIT
  build "$made"
  if ! diff -r "$made" web/dist; then
    echo "web/dist is not what web/ gives; run \`make web\` and commit it" >&2
    exit 1
  fi
  echo "web/dist is what web/ gives"
}

find_chromium() {
  type -P "${CHROMIUM:-chromium}" || type -P chromium-browser || type -P google-chrome
}

skip() {
  echo "test-web: skipped: $1"
  exit 0
}

case "${1:-}" in
build)
  has_node || { echo "the page is built with Node 20.19, 22.12 or later; install it" >&2; exit 1; }
  build dist
  ;;
check)
  has_node || skip "there is no Node 20.19, 22.12 or later"
  check
  ;;
test)
  has_node || skip "there is no Node 20.19, 22.12 or later"
  check
  CHROMIUM=$(find_chromium) || skip "there is no Chromium (Debian: apt-get install chromium)"
  export CHROMIUM
  packages tests/web
  node --test tests/web/*.test.js
  ;;
*)
  echo "usage: scripts/web.sh build|check|test" >&2
  exit 2
  ;;
esac
