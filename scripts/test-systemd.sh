#!/usr/bin/env bash
# Runs the units under a real systemd, in a container: socket, READY, hardening, watchdog, reload, stop. Needs podman and
# the default model.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/container.sh

image=localhost/ko-sentiment-systemd:test
name=ko-sentiment-systemd-$$
cleanup() {
  podman rm --force --time 0 "$name" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT

# A shorter watchdog, so that the test waits less; longer than a step on a busy machine.
mkdir "$work/context"
cp "$binary" deploy/systemd/ko-sentiment.* "$work/context/"
printf '[Service]\nWatchdogSec=20s\n' >"$work/context/test.conf"
cat >"$work/context/Dockerfile" <<'DOCKERFILE'
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends dbus libgomp1 libstdc++6 systemd systemd-sysv
COPY ko-sentiment /opt/ko-sentiment/
COPY ko-sentiment.service ko-sentiment.socket /etc/systemd/system/
COPY ko-sentiment.sysusers.conf /etc/sysusers.d/ko-sentiment.conf
COPY test.conf /etc/systemd/system/ko-sentiment.service.d/
RUN systemd-sysusers
CMD ["/sbin/init"]
DOCKERFILE
build --tag "$image" "$work/context"
find_engine "$image"
container run --detach --name "$name" --systemd always --privileged --network none "${limits[@]}" \
  --volume "$model:/var/lib/ko-sentiment/model.gguf:ro" "$image" >/dev/null
inside() { container exec "$name" "$@"; }
property() { inside systemctl show --value --property "$1" ko-sentiment.service; }
log() { inside journalctl --no-pager --unit ko-sentiment.service; }
client() { inside /opt/ko-sentiment/ko-sentiment "$@" --timeout 60 --endpoint 127.0.0.1:50051; }

for _ in $(seq 60); do
  inside systemctl is-system-running --quiet 2>/dev/null && break
  sleep 1
done

inside systemctl start ko-sentiment.socket
# Nothing serves yet: the first connection starts the service, and `start` returns when it is ready.
client health || fail "the socket did not start the service: $(log)"
inside systemctl start ko-sentiment.service || fail "$(log)"
[ "$(property ActiveState)/$(property StatusText)" = active/Serving ] || fail "$(inside systemctl status ko-sentiment)"
client classify "영상 잘 봤어요, 최고예요!" || fail "$(log)"
say "ready, by its socket"

first=$(property MainPID)
beat=$(property WatchdogTimestampMonotonic)
for _ in $(seq 60); do
  [ "$(property WatchdogTimestampMonotonic)" -gt "$beat" ] && break
  sleep 1
done
[ "$(property WatchdogTimestampMonotonic)" -gt "$beat" ] || fail "no sign of life"
inside systemctl reload ko-sentiment.service
[ "$(property MainPID)" = "$first" ] || fail "reload started another process"
say "alive and reloaded"

inside sh -c "kill -STOP $first"
for _ in $(seq 120); do
  now=$(property MainPID)
  [ "$now" != "$first" ] && [ "$now" != 0 ] && [ "$(property ActiveState)" = active ] && break
  sleep 1
done
[ "$(property NRestarts)" = 1 ] || fail "the watchdog did not restart it: $(log)"
log | grep -q "Watchdog timeout" || fail "$(log)"
client health || fail "not serving after the watchdog's restart"
say "killed by the watchdog, and serving again"

inside systemctl stop ko-sentiment.socket ko-sentiment.service
[ "$(property Result)" = success ] || fail "$(log)"
say "stopped"
