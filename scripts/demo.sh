#!/usr/bin/env bash
# Starts the server on a free port, classifies three comments, streams the reasons of one, stops the server.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=target/release/ko-sentiment
model=models/ko-gemma3-270m-sentiment.gguf
log=$(mktemp)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -f "$log"' EXIT

"$binary" serve --model "$model" --listen 127.0.0.1:0 --log-format json 2>"$log" &
server=$!
endpoint=
for _ in $(seq 300); do
  endpoint=$(sed -n 's/.*"address":"\([0-9.:]*\)".*/\1/p' "$log")
  [ -n "$endpoint" ] && "$binary" health --endpoint "$endpoint" >/dev/null 2>&1 && break
  kill -0 "$server" 2>/dev/null || { echo "the server did not start:" >&2; cat "$log" >&2; exit 1; }
  sleep 0.1
done
"$binary" health --endpoint "$endpoint"
echo

bold= plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
ask() {
  local command=$1
  shift
  printf '%s%s%s\n' "$bold" "$1" "$plain"
  "$binary" "$command" --endpoint "$endpoint" "$@"
  echo
}
ask classify '정말 감동이었습니다. 눈물이 났어요. 잘 보고 갑니다~'
ask classify '광고가 너무 많아서 도저히 못 보겠네요. 구독 취소합니다.'
ask classify '결국 또 졌네 ㅋㅋㅋ' --title '[하이라이트] 한국 대 일본 평가전' \
  --summary '한국 축구 대표팀이 평가전에서 일본에 0 대 3으로 졌다. 수비 실책이 잇따랐고 감독은 경기 뒤 사과했다.'
ask reason '설명이 쉽고 친절해서 큰 도움이 됐어요. 고맙습니다!' --max-tokens 160

kill -TERM "$server"
wait "$server"
server=
echo "The server stopped cleanly. Start your own: $binary serve --model $model"
