#!/usr/bin/env bash
# Prints a folder with the headers of TensorRT 11.4, for HYMT_TENSORRT_INCLUDE, on machines without
# TensorRT. They are Apache-2.0 and come with a crate of the registry, which nothing of ours uses: it is
# fetched into cargo's cache and read there. Usage: headers.sh <folder for a throw-away manifest>
set -euo pipefail
work=${1:?a folder for a throw-away manifest}
mkdir -p "$work/src"
: >"$work/src/lib.rs"
cat >"$work/Cargo.toml" <<'TOML'
[package]
name = "headers"
version = "0.0.0"
edition = "2024"
[dependencies]
trtx-sys = { version = "=0.9.1", default-features = false }
[workspace]
TOML
cd "$work"
cargo fetch --quiet
manifest=$(cargo metadata --offline --format-version 1 |
    python3 -c 'import json, sys; print(next(p["manifest_path"]
        for p in json.load(sys.stdin)["packages"] if p["name"] == "trtx-sys"))')
headers="$(dirname "$manifest")/TensorRT-Headers/TRT-Enterprise-11.4"
[ -f "$headers/NvInfer.h" ] && [ -f "$headers/NvOnnxParser.h" ]
echo "$headers"
