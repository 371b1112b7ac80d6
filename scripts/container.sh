# shellcheck shell=bash disable=SC2034
# Sourced by the tests of images and units: `build` and `container` run podman as this machine allows.
# Where no registry can be reached, BASE names a Debian image that is there already.

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*"; }
fail() { say "$*" >&2; exit 1; }

if ! command -v podman >/dev/null; then
  say "skipped: podman is missing"
  exit 0
fi

binary=${BINARY:-target/release/ko-sentiment}
model=$(realpath "${MODEL:-models/ko-gemma3-270m-sentiment.gguf}")
work=$(mktemp -d)
base=()
[ -z "${BASE:-}" ] || base=(--build-arg "BASE=$BASE")
engine=(podman)
limits=()

build() {
  podman build --quiet --format docker "${base[@]}" "$@" >/dev/null 2>"$work/build.log" ||
    BUILDAH_ISOLATION=chroot podman build --quiet --format docker "${base[@]}" "$@" >/dev/null ||
    fail "$(cat "$work/build.log")"
}

# Where a container may not set limits or has cgroups of both versions, runc with limits of our own still runs.
find_engine() {
  local probe=(run --rm --network none --entrypoint /bin/true)
  "${engine[@]}" "${probe[@]}" "$1" 2>/dev/null && return
  engine=(podman --runtime runc --cgroup-manager cgroupfs)
  limits=(--ulimit nofile=16384:16384 --ulimit nproc=4096:4096)
  "${engine[@]}" "${probe[@]}" "${limits[@]}" "$1" || fail "podman can build here, but not run"
}

container() { "${engine[@]}" "$@"; }
