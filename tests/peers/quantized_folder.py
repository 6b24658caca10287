#!/usr/bin/env python3
"""Holds a folder of `hymt quantize` against transformers and compressed-tensors.

    pip install torch transformers compressed-tensors
    quantized_folder.py FOLDER CASE

CASE is a JSON object: "ids" holds token id lists, "answer_starts" where in each of them the answer
starts, "int8" and "f32" the most probable token after every position as our CPU engine computed it
from FOLDER in that precision. Prints one JSON object.

transformers loads the folder in float32. On a CPU compressed-tensors dequantises the weights and
wraps the linear layers so that activations are fake-quantised per token; the output head stays a
float, while our INT8 engine quantises it too. Compared are

- that with our INT8 engine, over all positions and over those that predict an answer's tokens;
- with the activation quantisers switched off, which leaves the stored weights, with our f32 engine.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM


def best_tokens(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].argmax(-1).tolist()


def agreement(theirs, ours, starts):
    """How often both agree from position `start - 1` on, which predicts token `start`."""
    pairs = [
        pair
        for their, our, start in zip(theirs, ours, starts, strict=True)
        for pair in list(zip(their, our, strict=True))[max(start - 1, 0) :]
    ]
    return {"positions": len(pairs), "agree": sum(a == b for a, b in pairs)}


def main():
    folder, case_path = sys.argv[1:]
    with open(case_path) as file:
        case = json.load(file)
    starts, nowhere = case["answer_starts"], [0] * len(case["ids"])
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
    }
    theirs = [best_tokens(model, ids) for ids in case["ids"]]
    result["int8_answers"] = agreement(theirs, case["int8"], starts)
    result["int8_everywhere"] = agreement(theirs, case["int8"], nowhere)
    for _, module in quantized:
        module.quantization_enabled = False
    theirs = [best_tokens(model, ids) for ids in case["ids"]]
    result["f32_everywhere"] = agreement(theirs, case["f32"], nowhere)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
