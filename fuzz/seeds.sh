#!/bin/sh
# Seeds for the targets that read model files, from the golden checkpoints: corpus/<target>/.
set -eu
cd "$(dirname "$0")"
golden=../crates/llm/tests/golden
mkdir -p corpus/gguf corpus/gguf_tokenizer corpus/tiktoken corpus/stored_matrix corpus/model_config
for target in gguf gguf_tokenizer; do
    cp "$golden/formats/tokenizer-7b.gguf" "corpus/$target/"
    # More than its header; the targets need no tensor data.
    head -c 9000 "$golden/formats/mixed.gguf" >"corpus/$target/mixed.gguf"
done
cp "$golden/formats/hy.tiktoken" corpus/tiktoken/
for folder in "$golden"/formats/*/ "$golden/int8/"; do
    name=$(basename "$folder")
    cp "$folder/config.json" "corpus/model_config/$name.json"
    python3 - "$folder" "corpus/stored_matrix/$name" <<'PY'
import json, pathlib, struct, sys
folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
config = json.loads((folder / "config.json").read_text())
gptq = folder / "quantize_config.json"
if gptq.exists():
    config["quantization_config"] = {"quant_method": "gptq"} | json.loads(gptq.read_text())
config = json.dumps(config, separators=(",", ":")).encode()
weights = next(folder.glob("*.safetensors")).read_bytes()
out.write_bytes(struct.pack("<H", len(config)) + config + weights)
PY
done
