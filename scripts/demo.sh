#!/usr/bin/env bash
# Starts the server on a free port, asks for verdicts and their reasons, stops the server.
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
  [ $# -lt 3 ] || printf '(%s)\n' "$3"
  "$binary" "$command" --endpoint "$endpoint" "$@"
  echo
}
ask reason '설명이 쉽고 친절해서 큰 도움이 됐어요. 고맙습니다!'
ask reason '마이크 뭐 쓰세요?'
ask reason '광고가 너무 많아서 도저히 못 보겠네요. 구독 취소합니다.'
# One comment, two videos.
ask reason '진짜 못한다 ㅋㅋㅋ' --title '개그맨 셋이 일부러 지는 가위바위보 내기 ㅋㅋㅋ 웃음 참기 실패'
ask reason '진짜 못한다 ㅋㅋㅋ' --title '[하이라이트] 한국 대 일본 평가전 0:3 완패'

kill -TERM "$server"
wait "$server"
server=
echo "The server stopped cleanly. Start your own: $binary serve --model $model"
