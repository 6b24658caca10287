#!/usr/bin/env python3
"""Holds a folder of `hymt quantize` against transformers and compressed-tensors.

    pip install torch transformers compressed-tensors
    quantized_folder.py FOLDER IDS LOGITS

IDS is a JSON list of token id lists; LOGITS is a JSON list with, for each of them, the most probable
token after every position, as our CPU engine computed them in INT8 from FOLDER. Prints one JSON object.

transformers loads the folder twice:

- as it does by itself. On a CPU compressed-tensors dequantises the weights and wraps the linear
  layers so that activations are fake-quantised per token ("as_loaded");
- with every activation quantiser switched off, which leaves the weights alone ("weights_only").
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM


def best_tokens(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].argmax(-1).tolist()


def agreement(model, all_ids, ours):
    pairs = [
        (theirs, mine)
        for ids, expected in zip(all_ids, ours, strict=True)
        for theirs, mine in zip(best_tokens(model, ids), expected, strict=True)
    ]
    return {"positions": len(pairs), "agree": sum(a == b for a, b in pairs)}


def main():
    folder, ids_path, ours_path = sys.argv[1:]
    all_ids = json.load(open(ids_path))
    ours = json.load(open(ours_path))
    torch.manual_seed(0)
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    model.eval()
    quantized = [
        (name, module)
        for name, module in model.named_modules()
        if getattr(module, "quantization_scheme", None) is not None
    ]
    result = {
        "missing": sorted(info["missing_keys"]),
        "unexpected": sorted(info["unexpected_keys"]),
        "quantized_linears": len(quantized),
        "quantizes_activations": sum(
            module.quantization_scheme.input_activations is not None for _, module in quantized
        ),
        "as_loaded": agreement(model, all_ids, ours),
    }
    for _, module in quantized:
        module.quantization_enabled = False
    result["weights_only"] = agreement(model, all_ids, ours)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
