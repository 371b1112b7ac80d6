#!/usr/bin/env bash
# Builds with the Vulkan backend into target/gpu and tests it, all layers offloaded, on Mesa's software GPU (lavapipe):
# scripts/test-gpu.py says what must hold. Installs Debian's Vulkan packages if they are missing.
# On two cores the test takes five minutes. Before it, llama.cpp with its shaders and our crate take seven minutes to
# compile the first time, and the other crates as long as in a first `make build`.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'test-gpu: %s\n' "$*"; }

missing=()
for package in mesa-vulkan-drivers glslc libvulkan-dev spirv-headers; do
  dpkg-query --show --showformat '${Status}\n' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  . scripts/apt.sh
  install_packages "${missing[@]}"
fi

say "building with --features vulkan"
# Types that older Vulkan headers lack; the file says which.
export CPLUS_INCLUDE_PATH=$PWD/scripts/vulkan${CPLUS_INCLUDE_PATH:+:$CPLUS_INCLUDE_PATH}
cargo build --release --features vulkan --bin ko-sentiment --target-dir target/gpu
scripts/test-gpu.py "$@"
