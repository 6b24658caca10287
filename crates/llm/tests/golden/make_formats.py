#!/usr/bin/env python3
"""Writes the small checkpoints of `formats/`, each by the public tool that owns its layout.

    pip install torch transformers safetensors compressed-tensors gguf tokenizers tiktoken
    python make_formats.py

The weights that each tool reads back are kept as FNV-1a hashes of their f32 bytes, so that equality
is to the bit, and the logits that transformers computes from them in float32 are kept as they are.
K blocks are random but valid: the gguf package reads them and cannot write them. GPTQ has no tool
that runs without a GPU; its files are packed here in AngelSlim's layout from integers, and the
expected weights are computed from the integers, not from the packed words.
"""

import base64
import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import tiktoken
import torch
import transformers
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize
from gguf import GGMLQuantizationType as Q
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import HunYuanDenseV1Config, HunYuanDenseV1ForCausalLM

HERE = Path(__file__).resolve().parent
OUT = HERE / "formats"
ALPHA, THETA = 1000.0, 10000.0
IDS = [5, 17, 3, 42, 11, 29, 8, 40, 1, 33, 20, 6]
SMALL_SPECIALS = [
    "<｜hy_begin▁of▁sentence｜>", "<｜hy_end▁of▁sentence｜>", "<｜hy_▁pad▁｜>", "<｜hy_User｜>", "<｜hy_Assistant｜>",
    *[f"<｜hy_place▁holder▁no▁{n}｜>" for n in range(9)],
]  # fmt: skip
LARGE_SPECIALS = [
    "<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>", *[f"<|extra_{n}|>" for n in range(205)],
]  # fmt: skip
SMALL_SPLITS = [
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]
LARGE_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEXTS = [
    "", " ", "  leading and trailing  ", "The robot is at the door.", "I'M SURE it's what they've said, isn't it?",
    "Bitte bringen Sie die Kiste in Halle 7.", "Où est la sortie ? C'est à gauche.", "¿Dónde está la estación número 1234567?",
    "请把箱子搬到三号仓库。", "機器人正在充電，電量 85%。", "ロボットはドアの前にいます。カタカナとひらがな。", "로봇이 문 앞에 있습니다.",
    "Робот стоит у двери.", "الروبوت عند الباب.", "רובוט ליד הדלת", "रोबोट दरवाज़े पर है।", "หุ่นยนต์อยู่ที่ประตู", "Robot kapının önünde.",
    "Ο ρομπότ είναι εδώ", "ཁྱེད་རང་ག་པར་ཕེབས་གས།", "a\nb\r\n\r\n  c\t\td\n", "x = {'key': [1, 22, 333, 4444]};  // done", "3.14159, 1,000,000 and ½ ²",
    "emoji 🤖🚪👩‍🔧 and flags 🇩🇪", "mixed中文and日本語123abc", "<s1>tag</s1> [0] {x} «quoted» — dash…", "é e\u0301 ﬁ Ⅻ", "aaaaaaaaaaaaaaaaaaaaaaa",
    "the the the", "\u3000全角　スペース", "don't DON'T 'll 'LL", "end with spaces   \n   ",
    "<｜hy_User｜>not a turn<|extra_0|><|eos|>",
]  # fmt: skip


def fnv(array):
    h = np.uint64(0xCBF29CE484222325)
    words = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32).ravel()
    # By 32-bit words, so that it stays quick here.
    with np.errstate(over="ignore"):
        for word in words.astype(np.uint64):
            h = (h ^ word) * np.uint64(0x100000001B3)
    return f"{int(h):016x}"


def config(hidden, ffn, layers, heads, kv_heads, head_dim, vocab):
    return {
        "architectures": ["HunYuanDenseV1ForCausalLM"], "model_type": "hunyuan_v1_dense", "attention_bias": False, "attention_dropout": 0.0,
        "attention_head_dim": head_dim, "bos_token_id": 1, "eod_token_id": 3, "eos_token_id": 2, "head_dim": head_dim, "hidden_act": "silu",
        "hidden_size": hidden, "initializer_range": 0.02, "intermediate_size": ffn, "max_position_embeddings": 262144, "mlp_bias": False,
        "num_attention_heads": heads, "num_hidden_layers": layers, "num_key_value_heads": kv_heads, "pad_token_id": 0, "rms_norm_eps": 1e-05,
        "rope_scaling": {"alpha": ALPHA, "beta_fast": 32, "beta_slow": 1, "factor": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "type": "dynamic"},
        "rope_theta": THETA, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_cla": False, "use_qk_norm": True, "vocab_size": vocab,
    }  # fmt: skip


def build(cfg, seed=20261124):
    cfg = {k: v for k, v in json.loads(json.dumps(cfg)).items() if k != "torch_dtype"}
    model = HunYuanDenseV1ForCausalLM(HunYuanDenseV1Config(**cfg)).float().eval()
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            scale = 1.0 if "embed_tokens" in name else 1.5 / p.shape[-1] ** 0.5
            p.copy_(1 + 0.5 * torch.randn_like(p) if p.dim() == 1 else torch.randn_like(p) * scale)
            # Norms and embedding are stored in bf16 by every folder below.
            if p.dim() == 1 or "embed_tokens" in name:
                p.copy_(p.bfloat16())
    return model


def logits(cfg, weights, before=None):
    model = build(cfg)
    state = model.state_dict()
    for name in state:
        source = "model.embed_tokens.weight" if name == "lm_head.weight" else name
        state[name] = weights[source].float()
    model.load_state_dict(state)
    if before:
        before(model)
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0].float().contiguous()


def is_linear(name, w):
    return w.dim() == 2 and "embed_tokens" not in name and "lm_head" not in name


# --- safetensors folders -------------------------------------------------------------------------

TINY = config(64, 96, 1, 2, 1, 32, 48)


def write_folder(name, cfg, tensors, weights, file="model.safetensors", before=None, extra=None):
    """`weights` are what the tool reads back, by name of the plain checkpoint."""
    folder = OUT / name
    folder.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / file, metadata={"format": "pt"})
    write_json(folder / "config.json", cfg)
    for path, value in (extra or {}).items():
        write_json(folder / path, value)
    linear = {k: fnv(w.float().numpy()) for k, w in weights.items() if is_linear(k, w)}
    write_json(OUT / f"{name}.json", {"fnv": linear})
    save_file({"logits": logits(cfg, weights, before)}, OUT / f"{name}.safetensors")


def plain_parts(weights):
    """Everything that no layout touches, as Tencent ships it."""
    return {k: w.bfloat16() for k, w in weights.items() if not is_linear(k, w) and "lm_head" not in k}


def base_weights():
    return {k: v.clone() for k, v in build(TINY).state_dict().items()}


def fp8():
    weights, tensors = base_weights(), {}
    tensors |= plain_parts(weights)
    for name, w in list(weights.items()):
        if is_linear(name, w):
            scale = w.abs().max() / 448.0
            code = (w / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
            tensors[name], tensors[name + "_scale"] = code, scale.view(1)
            tensors[name.replace(".weight", ".input_scale")] = torch.tensor([0.01])
            weights[name] = code.float() * scale
    scheme = {"num_bits": 8, "strategy": "tensor", "dynamic": False, "type": "float"}
    group = {"weights": scheme, "input_activations": scheme, "output_activations": None, "targets": ["Linear"]}
    cfg = TINY | {"quantization_config": {
        "config_groups": {"group_0": group}, "kv_cache_scheme": None, "format": "naive-quantized", "ignored_layers": ["lm_head"],
        "quantization_status": "compressed", "quant_method": "compressed-tensors",
    }}  # fmt: skip
    write_folder("fp8", cfg, tensors, weights)


def pack_words(codes, bits, axis):
    """Little end first along `axis`, as AngelSlim's GPTQQuantLinear.pack."""
    per_word = 32 // bits
    codes = np.moveaxis(codes.astype(np.uint32), axis, 0)
    words = np.zeros((codes.shape[0] // per_word, *codes.shape[1:]), np.uint32)
    for lane in range(per_word):
        words |= codes[lane::per_word] << np.uint32(bits * lane)
    return torch.from_numpy(np.moveaxis(words, 0, axis).astype(np.int32).copy())


def gptq(name, bits, group, version, desc_act, dtype, file):
    weights, tensors = base_weights(), {}
    tensors |= plain_parts(weights)
    rng = np.random.default_rng(bits * 100 + version)
    for key, w in list(weights.items()):
        if not is_linear(key, w):
            continue
        out, cols = w.shape
        g_idx = np.arange(cols) // group
        if desc_act:
            g_idx = rng.permutation(g_idx)
        n_groups, levels = cols // group, 2**bits
        scale = torch.from_numpy(rng.uniform(0.5, 1.5, (n_groups, out)) * 3.0 / cols**0.5 / levels).to(dtype)
        code = rng.integers(0, levels, (cols, out))
        zero = rng.integers(1, levels, (n_groups, out))
        module = key.removesuffix(".weight")
        tensors[module + ".qweight"] = pack_words(code, bits, 0)
        tensors[module + ".qzeros"] = pack_words(zero - 1 if version == 1 else zero, bits, 1)
        tensors[module + ".scales"] = scale
        if desc_act or version == 1:
            tensors[module + ".g_idx"] = torch.from_numpy(g_idx.astype(np.int32))
        weights[key] = (scale.float()[g_idx] * torch.from_numpy((code - zero[g_idx]).astype(np.float32))).T.contiguous()
    quant = {"bits": bits, "group_size": group, "desc_act": desc_act, "sym": False, "static_groups": False, "true_sequential": True}
    if version == 2:
        quant |= {"quant_method": "gptq", "checkpoint_format": "gptq_v2"}
        write_folder(name, TINY | {"quantization_config": quant}, tensors, weights, file)
    else:
        write_folder(name, TINY, tensors, weights, file, extra={"quantize_config.json": quant})


def compressed_int(name, bits, group, packed):
    """`pack-quantized` and group-wise `int-quantized`, by compressed-tensors' own functions."""
    args = QuantizationArgs(num_bits=bits, type="int", symmetric=True, strategy="group", group_size=group)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    weights, tensors = base_weights(), {}
    tensors |= plain_parts(weights)
    for key, w in list(weights.items()):
        if not is_linear(key, w):
            continue
        scale = w.unflatten(1, (-1, group)).abs().amax(-1) / (2 ** (bits - 1) - 1)
        module = key.removesuffix(".weight")
        if packed:
            state = {"weight": w, "weight_scale": scale}
            compressed = PackedQuantizationCompressor.compress(state, scheme)
            tensors |= {f"{module}.{part}": t for part, t in compressed.items()}
            weights[key] = PackedQuantizationCompressor.decompress(compressed, scheme)["weight"]
        else:
            code = quantize(w, scale, torch.zeros_like(scale), args, dtype=torch.int8)
            tensors[key], tensors[key + "_scale"] = code, scale
            weights[key] = dequantize(code, scale, args=args)
    stored = args.model_dump(mode="json")
    group_0 = {"targets": ["Linear"], "weights": stored, "input_activations": None, "output_activations": None}
    cfg = TINY | {"quantization_config": {
        "quant_method": "compressed-tensors", "format": "pack-quantized" if packed else "int-quantized",
        "quantization_status": "compressed", "config_groups": {"group_0": group_0}, "ignore": ["lm_head"],
    }}  # fmt: skip
    write_folder(name, cfg, tensors, weights)


def smoothed():
    """INT8 with AngelSlim's smooth_weight: the layer multiplies its input by it, as here."""
    weights, tensors = base_weights(), {}
    tensors |= plain_parts(weights)
    factors, stored = {}, {}
    for key, w in list(weights.items()):
        if not is_linear(key, w):
            continue
        module = key.removesuffix(".weight")
        if "q_proj" in key or "down_proj" in key:
            factors[module] = 1 / torch.linspace(0.25, 4.0, w.shape[1])
            w = w / factors[module]
            tensors[module + ".smooth_weight"] = factors[module]
        scale = w.abs().amax(1, keepdim=True) / 127
        code = torch.round(w / scale).to(torch.int8)
        tensors[key], tensors[key + "_scale"] = code, scale
        stored[key] = code.float() * scale
        weights[key] = stored[key] * factors[module] if module in factors else stored[key]

    def before(model):
        model.load_state_dict(model.state_dict() | stored)
        for module, factor in factors.items():
            model.get_submodule(module).register_forward_pre_hook(lambda _, args, factor=factor: (args[0] * factor,))

    args = {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True, "dynamic": False}
    cfg = TINY | {"quantization_config": {
        "quant_method": "compressed-tensors", "format": "int-quantized", "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": args, "input_activations": None}},
    }}  # fmt: skip
    write_folder("int8-smooth", cfg, tensors, weights, before=before)


# --- GGUF ----------------------------------------------------------------------------------------

GGUF_CONFIG = config(256, 32, 2, 2, 1, 16, 352)
PARTS = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.query_layernorm": "attn_q_norm", "self_attn.key_layernorm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
KINDS = [
    {"self_attn.q_proj": Q.Q4_K, "self_attn.k_proj": Q.Q5_K, "self_attn.v_proj": Q.Q6_K, "self_attn.o_proj": Q.Q4_0,
     "mlp.gate_proj": Q.F16, "mlp.up_proj": Q.BF16, "mlp.down_proj": Q.Q8_0},
    {"self_attn.q_proj": Q.Q8_0, "self_attn.k_proj": Q.Q4_0, "self_attn.v_proj": Q.F32, "self_attn.o_proj": Q.Q8_0,
     "mlp.gate_proj": Q.Q5_K, "mlp.up_proj": Q.Q4_K, "mlp.down_proj": Q.F16},
]  # fmt: skip


def random_blocks(kind, shape, rng):
    """Random codes with scales such that the weights are of the size of a network's."""
    block_len, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (shape[0], shape[1] // block_len, block_bytes), dtype=np.uint8)
    halves = lambda x: np.float16(x).view(np.uint8).reshape(*x.shape, 2)
    small = rng.uniform(0.5, 1.5, blocks.shape[:2])
    if kind == Q.Q6_K:
        blocks[..., 208:] = halves(small * 3e-5)
    else:
        levels = 31 if kind == Q.Q5_K else 15
        blocks[..., 0:2] = halves(small * 4e-3 / levels)
        blocks[..., 2:4] = halves(small * 2e-3)
    return blocks.reshape(shape[0], -1)


def encode(kind, w, rng):
    if kind in (Q.Q4_K, Q.Q5_K, Q.Q6_K):
        return random_blocks(kind, w.shape, rng)
    return gguf.quants.quantize(w, kind)


def gguf_name(name):
    outer = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in outer:
        return outer[name]
    _, _, index, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{index}.{PARTS[part]}.weight"


def add_config(writer, cfg):
    """As llama.cpp's converter for HunYuanDenseV1: the scaled base, and no scaling."""
    d = cfg["head_dim"]
    writer.add_block_count(cfg["num_hidden_layers"])
    writer.add_context_length(cfg["max_position_embeddings"])
    writer.add_embedding_length(cfg["hidden_size"])
    writer.add_feed_forward_length(cfg["intermediate_size"])
    writer.add_head_count(cfg["num_attention_heads"])
    writer.add_head_count_kv(cfg["num_key_value_heads"])
    writer.add_key_length(d)
    writer.add_value_length(d)
    writer.add_layer_norm_rms_eps(cfg["rms_norm_eps"])
    writer.add_rope_freq_base(THETA * ALPHA ** (d / (d - 2)))
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    writer.add_rope_scaling_factor(1.0)
    writer.add_rope_scaling_orig_ctx_len(cfg["max_position_embeddings"])


def add_tokenizer(writer, tokens, merges, specials, pre):
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([*tokens, *specials])
    writer.add_token_types([1] * len(tokens) + [3] * len(specials))
    writer.add_token_merges(merges)
    # The trap of real conversions: the id of a dollar sign.
    writer.add_eos_token_id(3)


def whole_gguf(tokens, merges):
    cfg, rng = GGUF_CONFIG, np.random.default_rng(7)
    assert len(tokens) + len(SMALL_SPECIALS) == cfg["vocab_size"]
    writer = gguf.GGUFWriter(OUT / "mixed.gguf", "hunyuan-dense")
    add_config(writer, cfg)
    add_tokenizer(writer, tokens, merges, SMALL_SPECIALS, "hunyuan-dense")
    weights = {k: v.clone() for k, v in build(cfg).state_dict().items() if "lm_head" not in k}
    hashes = {}
    for name, w in list(weights.items()):
        array = w.numpy()
        if w.dim() == 1:
            kind, raw = Q.F32, array
        else:
            layer = name.split(".")[2]
            part = name.removesuffix(".weight").split(".", 3)[-1]
            kind = KINDS[int(layer)][part] if layer.isdigit() else Q.Q6_K
            raw = encode(kind, array, rng)
        read = gguf.quants.dequantize(raw, kind).astype(np.float32)
        if name == "model.embed_tokens.weight":
            # Random blocks are small; an embedding is not.
            raw = raw.reshape(raw.shape[0], -1, 210).copy()
            raw[..., 208:] = (raw[..., 208:].copy().view(np.float16) * np.float16(40)).view(np.uint8)
            raw = raw.reshape(raw.shape[0], -1)
            read = gguf.quants.dequantize(raw, kind).astype(np.float32)
        writer.add_tensor(gguf_name(name), raw, raw_dtype=kind)
        weights[name] = torch.from_numpy(read)
        if w.dim() == 2:
            hashes[name] = fnv(read)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_json(OUT / "mixed.json", {"fnv": hashes})
    save_file({"logits": logits(cfg, weights)}, OUT / "mixed.safetensors")


def blocks():
    """One row of each block format and what the gguf package reads in it."""
    rng, tensors = np.random.default_rng(11), {}
    for kind in (Q.Q4_0, Q.Q8_0, Q.Q4_K, Q.Q5_K, Q.Q6_K):
        row = rng.standard_normal((1, 512)).astype(np.float32)
        raw = encode(kind, row, rng).reshape(-1)
        tensors[kind.name] = torch.from_numpy(raw.copy())
        tensors[kind.name + ".f32"] = torch.from_numpy(gguf.quants.dequantize(raw.reshape(1, -1), kind).astype(np.float32).reshape(-1))
    codes = torch.arange(256, dtype=torch.uint8)
    tensors["F8_E4M3"] = codes
    tensors["F8_E4M3.f32"] = codes.view(torch.float8_e4m3fn).float()
    save_file(tensors, OUT / "blocks.safetensors")


# --- tokenizers ----------------------------------------------------------------------------------


def train(splits, size):
    tokenizer = Tokenizer(models.BPE())
    steps = [pre_tokenizers.Split(Regex(s), behavior="isolated", invert=False) for s in splits]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), min_frequency=1, show_progress=False
    )
    tokenizer.train_from_iterator([t for t in TEXTS if "hy_User" not in t] * 2, trainer)
    assert tokenizer.get_vocab_size() == size
    return tokenizer


def parts(tokenizer):
    vocab = sorted(tokenizer.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [token for token, _ in vocab], [f"{a} {b}" for a, b in merges]


def tokenizers():
    small = train(SMALL_SPLITS, GGUF_CONFIG["vocab_size"] - len(SMALL_SPECIALS))
    tokens, merges = parts(small)
    small.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SMALL_SPECIALS])
    small.save(str(OUT / "tokenizer.json"))
    small.encode_special_tokens = True
    small_ids = [small.encode(text, add_special_tokens=False).ids for text in TEXTS]

    large = train([LARGE_SPLIT], 640)
    large_tokens, _ = parts(large)
    byte_of = {c: b for b, c in bytes_to_unicode().items()}
    ranks = {bytes(byte_of[c] for c in token): rank for rank, token in enumerate(large_tokens)}
    (OUT / "hy.tiktoken").write_text("".join(f"{base64.b64encode(t).decode()} {r}\n" for t, r in ranks.items()))
    specials = {s: len(ranks) + i for i, s in enumerate(LARGE_SPECIALS)}
    encoding = tiktoken.Encoding("hy", pat_str=LARGE_SPLIT, mergeable_ranks=ranks, special_tokens=specials)
    large_ids = [encoding.encode_ordinary(text) for text in TEXTS]
    write_json(OUT / "texts.json", {"texts": TEXTS, "small": small_ids, "large": large_ids, "large_specials": specials})

    writer = gguf.GGUFWriter(OUT / "tokenizer-7b.gguf", "hunyuan-dense")
    add_tokenizer(writer, large_tokens, parts(large)[1], LARGE_SPECIALS, "hunyuan")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return tokens, merges


def bytes_to_unicode():
    own = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [b for b in range(256) if b not in own]
    return {b: chr(b) for b in own} | {b: chr(0x100 + i) for i, b in enumerate(other)}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=None, ensure_ascii=False, separators=(",", ":")) + "\n")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    blocks()
    fp8()
    gptq("gptq-v1", 4, 32, 1, False, torch.float16, "gptq_model-4bit-32g.safetensors")
    gptq("gptq-v2-desc-act", 4, 32, 2, True, torch.bfloat16, "model.safetensors")
    gptq("gptq-8bit", 8, 32, 2, False, torch.float16, "model.safetensors")
    compressed_int("packed-int4", 4, 32, packed=True)
    compressed_int("int8-group", 8, 32, packed=False)
    smoothed()
    whole_gguf(*tokenizers())
    print("gguf", getattr(gguf, "__version__", "?"), "transformers", transformers.__version__, "torch", torch.__version__)


if __name__ == "__main__":
    main()
