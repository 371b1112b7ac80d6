#!/usr/bin/env bash
# Installs what a source build needs and this machine lacks: a C++ compiler, cmake and libclang.
# Idempotent; does nothing where all is there.
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }

have_libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] || ldconfig -p 2>/dev/null | grep -q 'libclang[-.0-9]*\.so' ||
    compgen -G '/usr/lib/llvm-*/lib/libclang[-.][0-9s]*' >/dev/null # not libclang-cpp, another library
}

if ! command -v cargo >/dev/null; then
  say "Rust is missing: install it with rustup, https://rustup.rs, and run this again" >&2
  exit 1
fi

missing=()
command -v c++ >/dev/null || missing+=(g++)
command -v cmake >/dev/null || missing+=(cmake)
if [ "$(uname)" = Darwin ]; then
  # Xcode's command line tools bring the compiler and libclang.
  if ! xcode-select -p >/dev/null 2>&1; then
    say "the command line tools are missing: run 'xcode-select --install', then this again" >&2
    exit 1
  fi
  if ! command -v cmake >/dev/null; then
    say "cmake is missing: run 'brew install cmake', then this again" >&2
    exit 1
  fi
  exit 0
fi
have_libclang || missing+=(libclang-dev)
[ ${#missing[@]} -eq 0 ] && exit 0

. "$(dirname "$0")/apt.sh"
install_packages "${missing[@]}"
