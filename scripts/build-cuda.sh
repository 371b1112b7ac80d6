#!/usr/bin/env bash
# Compiles the CUDA backend on a machine without a GPU and without NVIDIA's toolkit, and checks what was linked. nvcc and
# the libraries come from PyPI, into target/cuda-toolkit; the build goes into target/cuda. Nothing is run on a GPU.
# The first build takes 36 CPU minutes for one kind of GPU, most of them nvcc's, and 3 GB of disk.
# CMAKE_CUDA_ARCHITECTURES names the GPUs to compile for, with semicolons between (90, the H100's, if it is not set).
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'build-cuda: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

packages=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-cccl==13.0.85
  nvidia-cuda-runtime==13.0.88 nvidia-cuda-culibos==13.0.85 nvidia-cublas==13.0.2.14)
# What llama.cpp calls in the driver.
driver=(cuDeviceGet cuDeviceGetAttribute cuGetErrorString cuMemAddressFree cuMemAddressReserve cuMemCreate
  cuMemGetAllocationGranularity cuMemMap cuMemRelease cuMemSetAccess cuMemUnmap)

toolkit=$PWD/target/cuda-toolkit/nvidia/cu13
if [ ! -e "$toolkit/.complete" ]; then
  say "fetching nvcc and CUDA's libraries from PyPI (0.5 GB)"
  rm -rf target/cuda-toolkit
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --target target/cuda-toolkit "${packages[@]}"
  # The layout of NVIDIA's installer.
  ln -s lib "$toolkit/lib64"
  for name in cublas cublasLt cudart; do ln -s "$(basename "$toolkit/lib/lib$name".so.*)" "$toolkit/lib/lib$name.so"; done
  # The bindings ask for cuBLAS's static libraries, which PyPI lacks: these are empty, and the shared ones are linked.
  for name in cublas cublasLt; do ar rcs "$toolkit/lib/lib${name}_static.a"; done
  # Stands in for the driver, as the toolkit's stub does: whatever is asked, there is no device (100).
  mkdir "$toolkit/lib/stubs"
  printf 'int %s(void) { return 100; }\n' "${driver[@]}" |
    cc -shared -fPIC -Wl,-soname,libcuda.so.1 -x c -o "$toolkit/lib/stubs/libcuda.so.1" -
  ln -s libcuda.so.1 "$toolkit/lib/stubs/libcuda.so"
  touch "$toolkit/.complete"
fi

export CMAKE_CUDA_ARCHITECTURES=${CMAKE_CUDA_ARCHITECTURES:-90}
export CUDA_PATH=$toolkit CUDA_LIBRARY_PATH=$toolkit PATH=$toolkit/bin:$PATH
say "compiling for $CMAKE_CUDA_ARCHITECTURES with $(nvcc --version | grep -o 'release [0-9.]*')"
begun=$SECONDS
# shellcheck disable=SC2016 # The loader replaces ORIGIN.
cargo rustc --release --features cuda --bin ko-sentiment --target-dir target/cuda -- \
  -C link-arg=-lcublas -C link-arg=-Wl,-rpath,'$ORIGIN/../../cuda-toolkit/nvidia/cu13/lib'
say "built in $(((SECONDS - begun + 59) / 60)) min"

binary=target/cuda/release/ko-sentiment
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nm "$binary" >"$work/symbols"
for symbol in ggml_backend_cuda_init ggml_backend_cuda_reg ggml_backend_cuda_buffer_type; do
  grep -q " T $symbol$" "$work/symbols" || fail "$binary lacks $symbol"
done
readelf --dynamic --section-headers --wide "$binary" >"$work/headers"
for part in .nv_fatbin libcuda.so.1 libcublas.so.13; do
  grep -qF "$part" "$work/headers" || fail "$binary lacks $part"
done
say "the backend's symbols, its code for the GPU (.nv_fatbin), libcuda.so.1 and libcublas.so.13 are there"

# Where there is no driver, its stand-in lets the binary start.
ldconfig -p | grep -q 'libcuda\.so\.1' || export LD_LIBRARY_PATH=$toolkit/lib/stubs
"$binary" --version
"$binary" devices | tee "$work/devices"
grep -q '^backend CUDA' "$work/devices" || fail "'devices' does not name the CUDA backend"
