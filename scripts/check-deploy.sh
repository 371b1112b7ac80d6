#!/usr/bin/env bash
# Builds the Kubernetes overlays and checks them: schemas, checkov, and what holds between their numbers.
# Installs its tools below target/ the first time.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/target/deploy
mkdir -p "$work"

# Two environments: checkov pins packages that the others need newer.
for tool in checkov schemas; do
  requirements=tests/deploy/requirements-$tool.txt
  if ! cmp -s "$requirements" "$work/$tool/installed.txt"; then
    python3 -m venv --clear "$work/$tool"
    "$work/$tool/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$work/$tool/installed.txt"
  fi
done

if command -v kubectl >/dev/null; then kustomize="kubectl kustomize"
elif command -v kustomize >/dev/null; then kustomize="kustomize build"
else
  echo "neither kubectl nor kustomize is installed; install one of them to check deploy/kubernetes" >&2
  exit 1
fi
rm -rf "$work/built" && mkdir "$work/built"
for overlay in deploy/kubernetes/overlays/*/; do
  $kustomize "$overlay" >"$work/built/$(basename "$overlay").yaml"
done
# Custom resources have no schema there: kubernetes-validate warns of them, and fails for anything else.
"$work/schemas/bin/kubernetes-validate" --strict --quiet --no-warn "$work"/built/*.yaml
"$work/checkov/bin/checkov" --framework kubernetes --skip-download --compact --quiet --skip-check CKV_K8S_11,CKV_K8S_15,CKV_K8S_43 \
  --directory "$work/built"
BUILT="$work/built" "$work/schemas/bin/python" -m pytest -q -p no:cacheprovider tests/deploy
