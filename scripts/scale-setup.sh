# Sourced by test-scale.sh and bench-scale.sh: installs what they need below target/scale the first time, and compiles
# the client's proto. With lenient=--if-installable, a machine where that can't be says so and succeeds.
work=$PWD/target/scale
mkdir -p "$work"

cannot() {
  echo "$(basename "$0" .sh): $1"
  [ "${lenient:-}" = --if-installable ] && exit 0
  exit 1
}

# The package is imported from the checkout, so only its dependencies are installed.
install() {
  local list=tests/scale/requirements-$1.txt
  cmp -s "$list" "$work/installed-$1.txt" && return
  if { [ -x "$work/venv/bin/pip" ] || python3 -m venv "$work/venv"; } &&
    "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$list"; then
    cp "$list" "$work/installed-$1.txt"
  else
    cannot "not run, $list can't be installed here"
  fi
}

# Spark 4 needs Java 17 or later.
java_17() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' || true)
  [ "${version:-0}" -ge 17 ] && return
  command -v apt-get >/dev/null || cannot "not run, there is no Java 17; install it"
  local root=()
  [ "$(id -u)" = 0 ] || root=(sudo)
  echo "$(basename "$0" .sh): installing OpenJDK 17"
  { "${root[@]}" apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless; } >/dev/null ||
    cannot "not run, OpenJDK 17 can't be installed here"
}

install client
"$work/venv/bin/python" scripts/generate-client.py
export PYTHONPATH=$PWD/clients/python/src
