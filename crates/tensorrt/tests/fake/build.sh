#!/usr/bin/env bash
# Builds the FAKE TensorRT for the tests: build.sh <TensorRT 11.4 headers> <output folder>
# Prints the path of libfake_nvinfer.so, for HYMT_FAKE_TENSORRT. Needs g++ and python3.
set -euo pipefail
headers=${1:?the folder with NvInfer.h of TensorRT 11.4}
out=${2:?the folder for libfake_nvinfer.so}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out/include"
# All that TensorRT's headers want of CUDA's.
printf '%s\n' '#pragma once' 'typedef struct CUstream_st *cudaStream_t;' \
    'typedef struct CUevent_st *cudaEvent_t;' >"$out/include/cuda_runtime_api.h"
python3 "$here/stubs.py" "$headers" >"$out/include/stubs.h"
g++ -std=c++17 -O1 -g -fPIC -shared -Wall -Wextra -Wno-deprecated-declarations \
    -fvisibility-inlines-hidden -isystem "$headers" -isystem "$out/include" \
    "$here"/{control,plan,model,runtime,onnx,builder}.cpp -o "$out/libfake_nvinfer.so"
echo "$out/libfake_nvinfer.so"
