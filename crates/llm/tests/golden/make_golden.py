#!/usr/bin/env python3
"""Writes the tiny random HunYuanDenseV1 models of this folder and their reference logits.

    pip install torch transformers safetensors compressed-tensors
    python make_golden.py

The reference is Hugging Face transformers on the CPU in float32. The q/k norm weights are
1 + 0.5 * randn: with weights of 1, normalising before RoPE gives the same logits and the fixture
would not see that mistake. `logits.wrong_order` holds what that mistake yields.
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, HunYuanDenseV1Config, HunYuanDenseV1ForCausalLM

HERE = Path(__file__).resolve().parent
N_TOKENS = 24
HIDDEN, FFN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 64, 112, 2, 4, 2, 16, 200
ALPHA, THETA = 1000.0, 10000.0

# The key set and spelling of Tencent's own files (transformers 4).
CONFIG_V4 = {
    "architectures": ["HunYuanDenseV1ForCausalLM"],
    "model_type": "hunyuan_v1_dense",
    "add_classification_head": False,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attention_head_dim": HEAD_DIM,
    "bos_token_id": 1,
    "cla_share_factor": 2,
    "eod_token_id": 3,
    "eos_token_id": 2,
    "head_dim": HEAD_DIM,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": FFN,
    "max_position_embeddings": 262144,
    "mlp_bias": False,
    "norm_type": "rms",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": KV_HEADS,
    "pad_token_id": 0,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "alpha": ALPHA,
        "beta_fast": 32,
        "beta_slow": 1,
        "factor": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "type": "dynamic",
    },
    "rope_theta": THETA,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cla": False,
    "use_qk_norm": True,
    "vocab_size": VOCAB,
}


def random_model():
    config = HunYuanDenseV1Config(**{k: v for k, v in CONFIG_V4.items() if k != "torch_dtype"})
    model = HunYuanDenseV1ForCausalLM(config).float().eval()
    torch.manual_seed(20261124)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.copy_(1 + 0.5 * torch.randn_like(p))
            elif "embed_tokens" in name:
                p.copy_(torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (1.5 / p.shape[1] ** 0.5))
    return model


def prefill(model, ids):
    with torch.no_grad():
        return model(ids[None]).logits[0].float().contiguous()


def decode(model, ids):
    """One token at a time through the KV cache."""
    rows, past = [], None
    with torch.no_grad():
        for i in range(len(ids)):
            out = model(ids[None, i : i + 1], past_key_values=past, use_cache=True)
            past = out.past_key_values
            rows.append(out.logits[0, 0].float())
    return torch.stack(rows).contiguous()


def plain(x, w):
    return x @ w.T


def w8a8(x, w):
    """Per-row symmetric INT8 of both operands, with exact sums."""

    def quantise(m):
        scale = m.abs().amax(-1, keepdim=True) / 127
        return torch.round(m / scale), scale

    (xq, xs), (wq, ws) = quantise(x.float()), quantise(w.float())
    return (xq.double() @ wq.double().T) * xs.double() * ws.double().T


def softmax_attention(q, k, v, mask):
    """`[n, heads, head_dim]`, as are queries, keys and values."""
    att = torch.einsum("qhd,khd->hqk", q, k) * HEAD_DIM**-0.5 + mask
    return torch.einsum("hqk,khd->qhd", att.softmax(-1), v)


def attention_in_levels(q, k, v, mask):
    """The same over whole numbers of a power of two that bring the largest magnitude to 2^13 .. 2^14: of
    queries, keys and values with one unit for each token and head, of weights (times the unit of their
    value) with one for all, as there are fewer tokens than a split has."""
    assert len(k) <= 128

    def quantise(m):
        unit = 2.0 ** (m.abs().amax(-1, keepdim=True).log2().floor() - 13)
        return torch.round(m / unit), unit

    (q, q_unit), (k, k_unit), (v, v_unit) = quantise(q), quantise(k), quantise(v)
    units = q_unit.permute(1, 0, 2) * k_unit.permute(1, 2, 0)
    scores = torch.einsum("qhd,khd->hqk", q, k) * units * HEAD_DIM**-0.5 + mask
    e = (scores - scores.amax(-1, keepdim=True)).exp()
    weights, unit = quantise(e * v_unit.permute(1, 2, 0))
    out = unit * torch.einsum("hqk,khd->hqd", weights, v)
    return (out / e.sum(-1, keepdim=True)).permute(1, 0, 2)


def own_forward(w, ids, norm_first=False, linear=plain, attention=softmax_attention):
    """A second forward in plain torch, for what transformers cannot produce: the logits of the
    wrong q/k order, and our own INT8, whose output head is INT8 and whose attention sums integers."""

    def rms(x, weight):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * weight

    base = THETA * ALPHA ** (HEAD_DIM / (HEAD_DIM - 2))
    inv = 1.0 / base ** (torch.arange(0, HEAD_DIM, 2).double() / HEAD_DIM)
    angle = torch.arange(len(ids)).double()[:, None] * inv
    cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)

    def rope(x):
        half = torch.cat([-x[..., HEAD_DIM // 2 :], x[..., : HEAD_DIM // 2]], -1)
        return x * cos[:, None] + half * sin[:, None]

    w = {k: v.double() for k, v in w.items()}
    n = len(ids)
    x = w["model.embed_tokens.weight"][ids]
    mask = torch.full((n, n), float("-inf")).double().triu(1)
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        h = rms(x, w[p + "input_layernorm.weight"])
        q = linear(h, w[p + "self_attn.q_proj.weight"]).view(n, HEADS, HEAD_DIM)
        k = linear(h, w[p + "self_attn.k_proj.weight"]).view(n, KV_HEADS, HEAD_DIM)
        v = linear(h, w[p + "self_attn.v_proj.weight"]).view(n, KV_HEADS, HEAD_DIM)
        qn, kn = w[p + "self_attn.query_layernorm.weight"], w[p + "self_attn.key_layernorm.weight"]
        q, k = (rope(rms(q, qn)), rope(rms(k, kn))) if norm_first else (rms(rope(q), qn), rms(rope(k), kn))
        group = HEADS // KV_HEADS
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        out = attention(q, k, v, mask).reshape(n, HEADS * HEAD_DIM)
        x = x + linear(out, w[p + "self_attn.o_proj.weight"])
        h = rms(x, w[p + "post_attention_layernorm.weight"])
        gate, up = linear(h, w[p + "mlp.gate_proj.weight"]), linear(h, w[p + "mlp.up_proj.weight"])
        x = x + linear(torch.nn.functional.silu(gate) * up, w[p + "mlp.down_proj.weight"])
    return linear(rms(x, w["model.norm.weight"]), w["model.embed_tokens.weight"]).float().contiguous()


def write_int8(f32_dir, out_dir):
    """Symmetric W8A8 in the compressed-tensors `int-quantized` layout."""
    tensors = {}
    for name, w in load_file(f32_dir / "model.safetensors").items():
        if w.dim() == 2 and "embed_tokens" not in name:
            scale = w.abs().amax(1, keepdim=True) / 127
            tensors[name] = torch.round(w / scale).clamp(-128, 127).to(torch.int8)
            tensors[name + "_scale"] = scale
        else:
            tensors[name] = w.bfloat16()
    config = dict(CONFIG_V4)
    group = {
        "targets": ["Linear"],
        "weights": {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True, "dynamic": False},
        "input_activations": {"num_bits": 8, "type": "int", "strategy": "token", "symmetric": True, "dynamic": True},
        "output_activations": None,
    }
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
    }
    out_dir.mkdir()
    save_file(tensors, out_dir / "model.safetensors", metadata={"format": "pt"})
    write_json(out_dir / "config.json", config)


def dequantised(int8_dir):
    """The same weights widened to float32, as a plain HF model."""
    model = random_model()
    stored = load_file(int8_dir / "model.safetensors")
    state = model.state_dict()
    for name in state:
        key = "model.embed_tokens.weight" if name == "lm_head.weight" else name
        w = stored[key].float()
        state[name] = w * stored[key + "_scale"].float() if key + "_scale" in stored else w
    model.load_state_dict(state)
    return model


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def main():
    f32_dir, bf16_dir, int8_dir = HERE / "f32", HERE / "bf16-sharded", HERE / "int8"
    for d in (f32_dir, bf16_dir, int8_dir):
        shutil.rmtree(d, ignore_errors=True)

    model = random_model()
    ids = torch.randint(3, VOCAB, (N_TOKENS,), generator=torch.Generator().manual_seed(7))
    golden = {"ids": ids.to(torch.int32)}

    # f32 with the transformers-4 spelling that Tencent ships.
    model.save_pretrained(f32_dir)
    (f32_dir / "generation_config.json").unlink(missing_ok=True)
    write_json(f32_dir / "config.json", CONFIG_V4)
    golden["logits.prefill"] = prefill(model, ids)
    golden["logits.decode"] = decode(model, ids)

    w = model.state_dict()
    right, wrong = own_forward(w, ids), own_forward(w, ids, norm_first=True)
    assert (right - golden["logits.prefill"]).abs().max() < 1e-4, "own forward disagrees with transformers"
    golden["logits.wrong_order"] = wrong

    # bf16, two shards, with the spelling the installed transformers writes.
    random_model().bfloat16().save_pretrained(bf16_dir, max_shard_size="100KB")
    (bf16_dir / "generation_config.json").unlink(missing_ok=True)
    # Loaded again: `.bfloat16().float()` would leave the RoPE frequencies rounded to bf16.
    golden["logits.bf16_weights"] = prefill(HunYuanDenseV1ForCausalLM.from_pretrained(bf16_dir, dtype=torch.float32).eval(), ids)

    # INT8: dequantised weights in f32, and transformers' own W8A8 path with dynamic activations.
    write_int8(f32_dir, int8_dir)
    golden["logits.int8_dequantised"] = prefill(dequantised(int8_dir), ids)
    quantised = AutoModelForCausalLM.from_pretrained(int8_dir, dtype=torch.float32).eval()
    golden["logits.int8_w8a8"] = prefill(quantised, ids)
    golden["logits.int8_with_head"] = own_forward(
        dequantised(int8_dir).state_dict(), ids, linear=w8a8, attention=attention_in_levels
    )

    save_file(golden, HERE / "golden.safetensors")
    for name, t in golden.items():
        if name.startswith("logits"):
            d = (t - golden["logits.prefill"]).abs().max().item()
            top1 = (t.argmax(-1) == golden["logits.prefill"].argmax(-1)).float().mean().item()
            print(f"{name:26} {t.min():.1f}..{t.max():.1f}  to prefill: max {d:.3g}, top-1 agreement {top1:.3f}")
    print("transformers", transformers.__version__, "torch", torch.__version__)


if __name__ == "__main__":
    main()
