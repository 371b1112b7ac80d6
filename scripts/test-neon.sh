#!/usr/bin/env bash
# Runs the tests of the kernels for ARM under QEMU, from a build of its own in target/neon. Installs Rust's target, the
# cross compiler and QEMU if they are missing. On an ARM machine it runs `cargo test` and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'test-neon: %s\n' "$*"; }

if [ "$(uname -m)" = aarch64 ] || [ "$(uname -m)" = arm64 ]; then
  exec cargo test --release -p ko-sentiment-kernels
fi

target=aarch64-unknown-linux-gnu
sysroot=/usr/aarch64-linux-gnu

missing=()
command -v aarch64-linux-gnu-gcc >/dev/null || missing+=(gcc-aarch64-linux-gnu)
[ -e "$sysroot/lib/crt1.o" ] || missing+=(libc6-dev-arm64-cross)
command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static)
if [ ${#missing[@]} -gt 0 ]; then
  . scripts/apt.sh
  install_packages "${missing[@]}"
fi
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target" ]; then
  rustup target add "$target"
fi

# `max` has the dot products, without which the tests of products would pass without doing anything.
export QEMU_CPU=max
export CARGO_TARGET_DIR=target/neon
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L $sysroot"
# Instead of this machine's CPU, which .cargo/config.toml names.
export CARGO_ENCODED_RUSTFLAGS=-Ctarget-cpu=generic
cargo test --release --target "$target" -p ko-sentiment-kernels
