#!/usr/bin/env python3
"""Converts the demo model with the gguf package and says what transformers computes from it.

    python convert_demo.py OUT

Writes OUT/demo-<type>.gguf with the demo's tokenizer, and OUT/demo-<type>.safetensors: `ids`, `logits`
of the weights that the gguf package reads back, and `bf16`, the logits of the unconverted model.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from make_formats import add_config, add_tokenizer, gguf_name, parts
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import HunYuanDenseV1ForCausalLM

DEMO = Path(__file__).resolve().parents[4] / "models/demo/bf16"


def main():
    out = Path(sys.argv[1])
    cfg = json.loads((DEMO / "config.json").read_text())
    cfg.setdefault("head_dim", cfg.get("attention_head_dim"))
    tokenizer = Tokenizer.from_file(str(DEMO / "tokenizer.json"))
    tokens, merges = parts(tokenizer)
    added = sorted(tokenizer.get_added_tokens_decoder().items())
    specials = [token.content for index, token in added]
    # Added tokens may stand in the vocabulary of the model too.
    tokens = [token for token in tokens if token not in specials]
    prompt = (
        "<｜hy_begin▁of▁sentence｜><｜hy_User｜>Translate the following text into German. Note that you should only output "
        "the translated result without any additional explanation:\n\nThe robot is at the door.<｜hy_Assistant｜>"
    )
    ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    stored = {k: v for k, v in load_file(DEMO / "model.safetensors").items() if k != "lm_head.weight"}
    model = HunYuanDenseV1ForCausalLM.from_pretrained(DEMO, dtype=torch.float32).eval()

    def logits():
        with torch.no_grad():
            return model(torch.tensor([ids])).logits[0].float().contiguous()

    bf16 = logits()
    for kind in (Q.F16, Q.BF16, Q.Q8_0, Q.Q4_0):
        name = f"demo-{kind.name.lower()}"
        writer = gguf.GGUFWriter(out / f"{name}.gguf", "hunyuan-dense")
        add_config(writer, cfg)
        add_tokenizer(writer, tokens, merges, specials, "hunyuan-dense")
        state = {}
        for key, w in stored.items():
            array = w.float().numpy()
            # As llama.cpp: vectors stay f32, and the embedding keeps at least eight bits.
            own = Q.F32 if w.dim() == 1 else Q.Q8_0 if kind == Q.Q4_0 and "embed" in key else kind
            raw = gguf.quants.quantize(array, own)
            writer.add_tensor(gguf_name(key), raw, raw_dtype=own)
            state[key] = torch.from_numpy(gguf.quants.dequantize(raw, own).astype(np.float32).reshape(array.shape))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
        model.load_state_dict(state)
        tensors = {"ids": torch.tensor(ids, dtype=torch.int32), "logits": logits(), "bf16": bf16}
        save_file(tensors, out / f"{name}.safetensors")


if __name__ == "__main__":
    main()
