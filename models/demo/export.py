"""Writes the trained checkpoint as Hugging Face folders: OUT/bf16 and OUT/int8.

python export.py DATA CHECKPOINT OUT

int8 is compressed-tensors "int-quantized" W8A8: one symmetric scale per weight row, dynamic scale per token.
Its weights are quantised from the bf16 ones, so a loader that quantises bf16/ itself gets the same integers.
Afterwards transformers loads bf16/ and must give the logits of our own model.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

import prompts
import tokenization
from model import ROPE_ALPHA, ROPE_THETA, Config, HunYuanDense

# Longest prompt plus answer the config admits. Training saw at most 192 tokens.
MAX_POSITIONS = 1024
HF_TOLERANCE = 2e-3


def model_config(c, tokenizer):
    ids = {name: tokenizer.token_to_id(t) for name, t in special_tokens().items()}
    return {
        "architectures": ["HunYuanDenseV1ForCausalLM"],
        "model_type": "hunyuan_v1_dense",
        "vocab_size": c["vocab_size"],
        "hidden_size": c["hidden_size"],
        "intermediate_size": c["intermediate_size"],
        "num_hidden_layers": c["num_hidden_layers"],
        "num_attention_heads": c["num_attention_heads"],
        "num_key_value_heads": c["num_key_value_heads"],
        "head_dim": c["head_dim"],
        "attention_head_dim": c["head_dim"],
        "max_position_embeddings": MAX_POSITIONS,
        "rms_norm_eps": c["rms_norm_eps"],
        "rope_theta": ROPE_THETA,
        "rope_scaling": {
            "type": "dynamic",
            "alpha": ROPE_ALPHA,
            "factor": 1.0,
            "beta_fast": 32,
            "beta_slow": 1,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
        },
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "use_qk_norm": True,
        "use_cla": False,
        "use_cache": True,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "torch_dtype": "bfloat16",
        "bos_token_id": ids["bos_token"],
        "eos_token_id": ids["eos_token"],
        "eod_token_id": ids["eos_token"],
        "pad_token_id": ids["pad_token"],
    }


def special_tokens():
    return dict(bos_token=tokenization.BOS, eos_token=tokenization.END_OF_TURN, pad_token=tokenization.PAD)


QUANTIZATION = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False},
            "input_activations": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True},
            "output_activations": None,
        }
    },
    "ignore": ["lm_head"],
    "kv_cache_scheme": None,
}


def quantize(state):
    """int8 rows and f32 scales for every linear layer; everything else unchanged."""
    out = {}
    for name, w in state.items():
        if not name.endswith("_proj.weight"):
            out[name] = w
            continue
        w = w.float()
        scale = w.abs().amax(-1, keepdim=True) / 127
        out[name] = (w / scale).round().clamp(-128, 127).to(torch.int8)
        out[name + "_scale"] = scale
    return out


def write_folder(folder, state, config, tokenizer_file, template):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    dump(folder / "config.json", config)
    generation = {k: config[k] for k in ("bos_token_id", "pad_token_id")}
    end_of_sentence = Tokenizer.from_file(str(tokenizer_file)).token_to_id(tokenization.END_OF_SENTENCE)
    generation |= {"eos_token_id": [config["eos_token_id"], end_of_sentence], "do_sample": False, "max_new_tokens": 96}
    dump(folder / "generation_config.json", generation)
    tokenizer_config = special_tokens() | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": MAX_POSITIONS,
    }
    dump(folder / "tokenizer_config.json", tokenizer_config)
    shutil.copy(tokenizer_file, folder / "tokenizer.json")
    shutil.copy(template, folder / "chat_template.jinja")


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def load_folder(folder):
    """The model of an exported folder, in f32; int8 weights are restored to their exact real values."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = HunYuanDense(Config(**{k: config[k] for k in Config.__dataclass_fields__}))
    tensors = load_file(folder / "model.safetensors")
    state = {}
    for name, w in tensors.items():
        if name.endswith("_scale"):
            continue
        scale = tensors.get(name + "_scale")
        state[name] = w.float() * scale if scale is not None else w.float()
    model.load_state_dict(state)
    return model.eval(), config


def check_against_transformers(folder):
    """transformers must load the folder and give the same logits, with and without its cache."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ours, _ = load_folder(folder)
    theirs = AutoModelForCausalLM.from_pretrained(folder).float().eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = prompts.build(prompts.HY_MT2, "en", "de", "Where is the charging station?")
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([tokenizer(rendered, add_special_tokens=False)["input_ids"]])
    expected = tokenization.Encoder(Tokenizer.from_file(str(folder / "tokenizer.json"))).prompt(prompt)
    assert ids[0].tolist() == expected, "the chat template and the training format differ"
    ids = torch.cat([ids, torch.randint(0, ours.config.vocab_size, (1, 64), generator=torch.Generator().manual_seed(1))], 1)
    with torch.no_grad():
        a, b = ours.logits(ours.hidden(ids)), theirs(ids).logits
    difference = (a - b).abs().max().item()
    print(f"logits against transformers: max difference {difference:.2e} (range {b.min():.1f} to {b.max():.1f})")
    assert difference < HF_TOLERANCE, difference
    answer = theirs.generate(ids[:, : len(expected)], attention_mask=torch.ones(1, len(expected)), max_new_tokens=40, do_sample=False)
    print("transformers says:", tokenizer.decode(answer[0, len(expected) :], skip_special_tokens=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    checkpoint = torch.load(args.checkpoint, map_location="cpu")
    tokenizer_file, template = args.data / "tokenizer.json", Path(__file__).with_name("chat_template.jinja")
    config = model_config(checkpoint["config"], Tokenizer.from_file(str(tokenizer_file)))
    bf16 = {k: v.to(torch.bfloat16) for k, v in checkpoint["state"].items()}
    write_folder(args.out / "bf16", bf16, config, tokenizer_file, template)
    write_folder(args.out / "int8", quantize(bf16), config | {"quantization_config": QUANTIZATION}, tokenizer_file, template)
    for folder in ("bf16", "int8"):
        size = sum(f.stat().st_size for f in (args.out / folder).iterdir())
        print(f"{folder}: {size / 1e6:.2f} MB")
    check_against_transformers(args.out / "bf16")


if __name__ == "__main__":
    main()
