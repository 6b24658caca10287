"""HunYuanDenseV1 in plain PyTorch: the training model and the oracle of the exports.

Parameter names and arithmetic follow transformers' HunYuanDenseV1ForCausalLM: rotary embedding first, then
RMSNorm on queries and keys; the rotary base is the static 10000 * alpha^(d/(d-2)).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

ROPE_THETA, ROPE_ALPHA = 10000.0, 1000.0


@dataclass(frozen=True)
class Config:
    vocab_size: int = 3584
    hidden_size: int = 256
    intermediate_size: int = 512
    num_hidden_layers: int = 6
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 32
    rms_norm_eps: float = 1e-5


def rounded_to_int8(x):
    """x on its 8-bit grid per row (straight-through estimator)."""
    with torch.no_grad():
        h = x.float()
        scale = h.abs().amax(-1, keepdim=True).clamp_min(1e-10) / 127
        error = ((h / scale).round() * scale - h).to(x.dtype)
    return x + error


class Linear(nn.Linear):
    """No bias. With `int8` set, runs W8A8: one scale per weight row, one per token, rounding to nearest even.

    With `fake_int8` set, training sees the same rounding but gradients pass it unchanged, so the INT8 model loses nothing.
    """

    int8 = False
    fake_int8 = False

    def __init__(self, n_in, n_out):
        super().__init__(n_in, n_out, bias=False)

    def forward(self, x):
        if self.fake_int8:
            return F.linear(rounded_to_int8(x), rounded_to_int8(self.weight))
        if not self.int8:
            return F.linear(x, self.weight)
        w_scale = self.weight.abs().amax(-1, keepdim=True) / 127
        x_scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-10) / 127
        wq = (self.weight / w_scale).round().clamp(-128, 127)
        xq = (x / x_scale).round().clamp(-128, 127)
        # Sums of products of 8-bit integers stay below 2^24 here, so f32 holds them exactly.
        return F.linear(xq, wq) * x_scale * w_scale.T


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        h = x.float()
        return self.weight * (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


def rope_tables(length, head_dim, device):
    """cos and sin, [length, head_dim], for the rotate-half layout."""
    base = ROPE_THETA * ROPE_ALPHA ** (head_dim / (head_dim - 2))
    inv_freq = 1.0 / base ** (torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim)
    angles = torch.outer(torch.arange(length, dtype=torch.float32, device=device), inv_freq)
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    a, b = x.float().chunk(2, -1)
    return x.float() * cos + torch.cat([-b, a], -1) * sin


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.q_proj = Linear(c.hidden_size, c.num_attention_heads * c.head_dim)
        self.k_proj = Linear(c.hidden_size, c.num_key_value_heads * c.head_dim)
        self.v_proj = Linear(c.hidden_size, c.num_key_value_heads * c.head_dim)
        self.o_proj = Linear(c.num_attention_heads * c.head_dim, c.hidden_size)
        self.query_layernorm = RMSNorm(c.head_dim, c.rms_norm_eps)
        self.key_layernorm = RMSNorm(c.head_dim, c.rms_norm_eps)

    def forward(self, x, cos, sin):
        c, (b, n, _) = self.c, x.shape
        q = self.q_proj(x).view(b, n, c.num_attention_heads, c.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(b, n, c.num_key_value_heads, c.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(b, n, c.num_key_value_heads, c.head_dim).transpose(1, 2)
        q = self.query_layernorm(rotate(q, cos, sin)).to(v.dtype)
        k = self.key_layernorm(rotate(k, cos, sin)).to(v.dtype)
        groups = c.num_attention_heads // c.num_key_value_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(out.transpose(1, 2).reshape(b, n, -1))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = Linear(c.hidden_size, c.intermediate_size)
        self.up_proj = Linear(c.hidden_size, c.intermediate_size)
        self.down_proj = Linear(c.intermediate_size, c.hidden_size)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn = Attention(c)
        self.mlp = MLP(c)
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        return x + self.mlp(self.post_attention_layernorm(x))


class Backbone(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.num_hidden_layers))
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)


class HunYuanDense(nn.Module):
    def __init__(self, config=Config()):
        super().__init__()
        self.config = config
        self.model = Backbone(config)

    def init_weights(self):
        for name, p in self.named_parameters():
            if p.dim() == 2:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = (2 * self.config.num_hidden_layers) ** -0.5 if residual else 1.0
                nn.init.normal_(p, std=(0.02 if "embed" in name else p.shape[1] ** -0.5 * 0.6) * scale)
        return self

    def hidden(self, ids, run_layer=None):
        """Final normed states, [batch, length, hidden]. `run_layer` may be a compiled layer call."""
        cos, sin = rope_tables(ids.shape[1], self.config.head_dim, ids.device)
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = run_layer(layer, x, cos, sin) if run_layer else layer(x, cos, sin)
        return self.model.norm(x)

    def logits(self, hidden):
        return F.linear(hidden, self.model.embed_tokens.weight)

    def set_int8(self, on):
        for module in self._linears():
            module.int8 = on

    def set_fake_int8(self, on):
        for module in self._linears():
            module.fake_int8 = on

    def _linears(self):
        return [m for m in self.modules() if isinstance(m, Linear)]


@torch.no_grad()
def greedy(model, prompts, end_id, pad_id, max_new, device, batch=512):
    """Greedy continuations of token lists. No cache: rows are padded on the right and causal attention hides it."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out = [None] * len(prompts)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        lengths = torch.tensor([len(prompts[i]) for i in rows], device=device)
        width = int(lengths.max()) + max_new
        host = torch.full((len(rows), width), pad_id, dtype=torch.long)
        for r, i in enumerate(rows):
            host[r, : len(prompts[i])] = torch.tensor(prompts[i])
        ids, at = host.to(device), torch.arange(len(rows), device=device)
        done = torch.zeros(len(rows), dtype=torch.bool, device=device)
        first = lengths.clone()
        for step in range(max_new):
            used = int(first.max()) + step
            h = model.hidden(ids[:, :used])[at, lengths - 1]
            token = model.logits(h).argmax(-1)
            ids[at, lengths] = torch.where(done, pad_id, token)
            done |= token == end_id
            lengths = lengths + (~done).long()
            if bool(done.all()):
                break
        for r, i in enumerate(rows):
            new = ids[r, int(first[r]) :].tolist()
            stop = [k for k, t in enumerate(new) if t in (end_id, pad_id)]
            out[i] = new[: stop[0]] if stop else new
    return out
