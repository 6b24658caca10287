"""Trains the demo model on the token shards of generate.py, for a given wall time.

python train.py DATA OUT [--minutes M]    writes OUT/checkpoint.pt, at intervals and at the end
python train.py --warm-cache              only fills the compiler's cache, while the data are still being made
"""

import argparse
import json
import math
import signal
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import samples
import tokenization
from model import Config, HunYuanDense, greedy

# Samples are padded to the next of these widths; attention is causal, so padding on the right needs no mask.
# Few, since each is compiled on its own; the rare longer samples (under 0.1 %) are left out.
WIDTHS = [40, 56, 88, 160]
# Room for target positions per padded token. A batch that has more loses the excess from its loss.
TARGET_SHARE = 0.36
IGNORE = -100


class Shards:
    """All tokens on the device; batches are gathered from there, one width per batch."""

    def __init__(self, paths, pad_id, device, tokens_per_batch):
        parts = [np.load(p) for p in paths]
        join = lambda key: np.concatenate([p[key] for p in parts])
        lengths, prompt_lengths = join("lengths").astype(np.int64), join("prompts").astype(np.int64)
        self.tokens = torch.from_numpy(join("tokens")).to(device)
        self.offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)[:-1]])).to(device)
        self.lengths = torch.from_numpy(lengths).to(device)
        self.prompts = torch.from_numpy(prompt_lengths).to(device)
        self.pad_id, self.device = pad_id, device
        low, self.members, self.rows = 0, [], []
        for width in WIDTHS:
            self.members.append(torch.nonzero((self.lengths > low) & (self.lengths <= width)).flatten())
            self.rows.append(rows_of(width, tokens_per_batch))
            low = width

    def epoch(self, generator, full_only=True):
        """Yields (width, sample numbers) in random order, each sample once."""
        batches = []
        for width, members, rows in zip(WIDTHS, self.members, self.rows):
            shuffled = members[torch.randperm(len(members), generator=generator).to(self.device)]
            chunks = shuffled.split(rows)
            batches += [(width, c) for c in chunks if len(c) == rows or not full_only and len(c)]
        for i in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[i]

    def batch(self, width, picked):
        """Inputs [rows, width] and labels, shifted by one, set on target and end tokens only."""
        at = torch.arange(width + 1, device=self.device)
        lengths, prompt_lengths = self.lengths[picked, None], self.prompts[picked, None]
        where = (self.offsets[picked, None] + at).clamp_max(len(self.tokens) - 1)
        ids = torch.where(at < lengths, self.tokens[where].long(), self.pad_id)
        labels = torch.where((at >= prompt_lengths) & (at < lengths), ids, IGNORE)
        return ids[:, :-1].contiguous(), labels[:, 1:].contiguous()


def rows_of(width, tokens_per_batch):
    return max(8, tokens_per_batch // width // 8 * 8)


def run_layer(layer, x, cos, sin):
    return layer(x, cos, sin)


def head_loss(hidden, embedding, labels):
    """Mean cross entropy over the positions that carry a label, gathered into a fixed number of rows."""
    flat = labels.flatten()
    rows = int(flat.numel() * TARGET_SHARE)
    picked = torch.argsort((flat != IGNORE).int(), descending=True)[:rows]
    logits = F.linear(hidden.flatten(0, 1)[picked], embedding)
    return F.cross_entropy(logits.float(), flat[picked], ignore_index=IGNORE)


class Trainer:
    def __init__(self, args):
        self.args = args
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(args.seed)
        torch.backends.cuda.matmul.allow_tf32 = True
        self.config = Config()
        self.model = HunYuanDense(self.config).init_weights().to(self.device)
        self.model.set_fake_int8(not args.no_int8)
        matrices = [p for p in self.model.parameters() if p.dim() == 2]
        vectors = [p for p in self.model.parameters() if p.dim() != 2]
        groups = [dict(params=matrices, weight_decay=args.decay), dict(params=vectors, weight_decay=0.0)]
        self.optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98), eps=1e-8, fused=self.device == "cuda")
        self.layer_call, self.loss_call = None, head_loss
        self.stopped = False
        signal.signal(signal.SIGTERM, self._stop)

    def load(self):
        args = self.args
        tokenizer = Tokenizer.from_file(str(args.data / "tokenizer.json"))
        if tokenizer.get_vocab_size() != self.config.vocab_size:
            raise SystemExit(f"the tokenizer has {tokenizer.get_vocab_size()} entries, the model {self.config.vocab_size}")
        self.tokenizer, self.encoder = tokenizer, tokenization.Encoder(tokenizer)
        self.pad_id = tokenizer.token_to_id(tokenization.PAD)
        self.generator = torch.Generator().manual_seed(args.seed)
        self.train = Shards(sorted(args.data.glob("train_*.npz")), self.pad_id, self.device, args.batch_tokens)
        self.val = Shards([args.data / "val.npz"], self.pad_id, self.device, args.batch_tokens)
        held_out = [json.loads(l) for l in (args.data / "heldout.jsonl").read_text(encoding="utf-8").splitlines()]
        self.held_out = held_out[:: max(1, len(held_out) // args.probe)]

    def _stop(self, *_):
        self.stopped = True

    def loss(self, ids, labels, plain=False):
        with torch.autocast(self.device, torch.bfloat16):
            hidden = self.model.hidden(ids, None if plain else self.layer_call)
            return (head_loss if plain else self.loss_call)(hidden, self.model.model.embed_tokens.weight, labels)

    def warm_up(self):
        """Compiles each width before the schedule starts. Falls back to eager if the compiler fails."""
        if self.device != "cuda" or self.args.eager:
            return
        import torch._dynamo

        torch._dynamo.config.cache_size_limit = 64
        self.layer_call = torch.compile(run_layer, dynamic=False)
        self.loss_call = torch.compile(head_loss, dynamic=False)
        try:
            for width in WIDTHS:
                begun = time.time()
                shape = (rows_of(width, self.args.batch_tokens), width)
                ids = torch.randint(self.config.vocab_size, shape, device=self.device)
                self.loss(ids, ids).backward()
                torch.cuda.synchronize()
                print(f"width {width} compiled in {time.time() - begun:.1f} s", flush=True)
        except Exception as e:
            print(f"compile failed, going on in eager mode: {type(e).__name__}: {e}", flush=True)
            self.layer_call, self.loss_call = None, head_loss
        self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()

    def save(self, step):
        state = {k: v.detach().float().cpu() for k, v in self.model.state_dict().items()}
        temporary = self.args.out / "checkpoint.tmp"
        torch.save(dict(state=state, config=self.config.__dict__, step=step), temporary)
        temporary.replace(self.args.out / "checkpoint.pt")

    @torch.no_grad()
    def validate(self):
        losses = [self.loss(*self.val.batch(w, p), plain=True) for w, p in self.val.epoch(self.generator, full_only=False)]
        return torch.stack(losses).mean().item()

    def exact_match(self):
        ids = [self.encoder.prompt(samples.prompt_of(r)) for r in self.held_out]
        with torch.autocast(self.device, torch.bfloat16):
            out = greedy(self.model, ids, self.encoder.end, self.pad_id, 96, self.device)
        hits = {}
        for row, tokens in zip(self.held_out, out):
            hits.setdefault(row["kind"], []).append(self.tokenizer.decode(tokens) == samples.answer_of(row))
        return " ".join(f"{k} {np.mean(v):.3f}" for k, v in hits.items())

    def learning_rate(self, progress):
        warm = min(1.0, progress / 0.02)
        return self.args.lr * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))

    def run(self):
        begun = time.time()
        self.load()
        n_params = sum(p.numel() for p in self.model.parameters())
        print(f"{n_params} parameters, {len(self.train.lengths)} samples, {len(self.train.tokens)} tokens, {self.device}", flush=True)
        self.warm_up()
        started = time.time()
        budget = max(1.0, self.args.minutes * 60 - (started - begun))
        print(f"compiled in {started - begun:.1f} s, training for {budget:.0f} s", flush=True)
        next_report, step, seen, running = started + self.args.report, 0, 0, 0.0
        while not self.stopped:
            for width, picked in self.train.epoch(self.generator):
                now = time.time()
                progress = max((now - started) / budget, step / self.args.steps if self.args.steps else 0.0)
                if progress >= 1 or self.stopped:
                    self.stopped = True
                    break
                for group in self.optimizer.param_groups:
                    group["lr"] = self.learning_rate(progress)
                loss = self.loss(*self.train.batch(width, picked))
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                step, seen, running = step + 1, seen + picked.numel() * width, loss.detach()
                if step % 20 == 0 and self.device == "cuda":
                    torch.cuda.synchronize()
                if now > next_report:
                    rate = seen / (now - started) / 1e6
                    print(f"{now - started:5.0f} s step {step} loss {running:.4f} val {self.validate():.4f} {self.exact_match()} {rate:.2f} M tokens/s", flush=True)
                    self.save(step)
                    next_report = time.time() + self.args.report
        self.save(step)
        print(f"end: step {step} padded tokens {seen} val {self.validate():.5f} {self.exact_match()}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--warm-cache", action="store_true")
    parser.add_argument("--minutes", type=float, default=6.5, help="wall time, compilation included")
    parser.add_argument("--steps", type=int, default=0, help="end earlier, after this many steps")
    parser.add_argument("--batch-tokens", type=int, default=65536)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--report", type=float, default=30, help="seconds between validations and checkpoints")
    parser.add_argument("--probe", type=int, default=300, help="held-out requests translated at each validation")
    parser.add_argument("--no-int8", action="store_true", help="train without the rounding of INT8 inference")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--seed", type=int, default=20261124)
    args = parser.parse_args()
    if args.warm_cache:
        Trainer(args).warm_up()
        return
    if not args.data or not args.out:
        parser.error("DATA and OUT are needed")
    args.out.mkdir(parents=True, exist_ok=True)
    Trainer(args).run()


if __name__ == "__main__":
    main()
