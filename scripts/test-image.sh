#!/usr/bin/env bash
# Packs the built binary into the image, runs it as a cluster would, probes it and stops it. Needs podman and the
# default model.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/container.sh

image=localhost/ko-sentiment:test
name=ko-sentiment-test-$$
cleanup() {
  podman rm --force --time 0 "$name" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

mkdir "$work/release"
cp "$binary" LICENSE "$work/release/"
build --file deploy/docker/Dockerfile --tag "$image" --build-context "release=$work/release" .
find_engine "$image"

# A network of its own, without a way out.
container run --detach --name "$name" --network none --health-interval disable "${limits[@]}" \
  --read-only --read-only-tmpfs=false --cap-drop all --security-opt no-new-privileges \
  --volume "$model:/models/model.gguf:ro" "$image" >/dev/null
inside() { container exec "$name" "$@"; }
# The image's own probe.
healthy() { container healthcheck run "$name"; }

for _ in $(seq 120); do
  healthy >/dev/null 2>&1 && break
  [ "$(podman inspect --format '{{.State.Running}}' "$name")" = true ] || fail "$(podman logs "$name" 2>&1)"
  sleep 1
done
healthy || fail "not serving: $(podman logs "$name" 2>&1)"
inside /opt/ko-sentiment/ko-sentiment classify --timeout 60 --endpoint 127.0.0.1:50051 "영상 잘 봤어요, 최고예요!"

[ "$(inside id -u)" = 65532 ] || fail "not the user that the image names"
inside sh -c 'touch /opt/ko-sentiment/x || touch /tmp/x' 2>/dev/null && fail "the root file system can be written"
inside grep -q '^CapBnd:.*0000000000000000$' /proc/1/status || fail "there are capabilities"
container stop --time 40 "$name" >/dev/null
code=$(podman inspect --format '{{.State.ExitCode}}' "$name")
[ "$code" = 0 ] || fail "exit code $code after SIGTERM"
say "built, served, probed and stopped"
