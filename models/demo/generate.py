"""Writes the tokenizer, the training and validation tokens and the held-out sets.

python generate.py OUT [--samples N] [--workers W] [--seed S]

OUT gets tokenizer.json, train_*.npz and val.npz (tokens as one flat array with sample and prompt lengths),
heldout.jsonl (2,000 plain, 500 glossary, 200 context, 500 tag, 200 homograph and 100 pronoun requests) and
heldout_small.jsonl (a subset).
The same seed and worker count give the same files.
"""

import argparse
import json
import multiprocessing
import os
import random
import time
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import numpy as np
from tokenizers import Tokenizer

import samples
import tokenization
from phrasebook import Phrasebook

# Longer samples are dropped (long glossaries in byte-level spelling); the model never trains past this position.
MAX_TOKENS = 192
SMALL_SET = dict(default=200, terms=60, context=40, tags=100, homograph=40, pronoun=20)


def tokenizer_corpus(book, rng, count):
    """Prompts and translations; few invented words, so that they stay spelled in small pieces."""
    for value in (v for values in book.slots.values() for v in values[:60]):
        yield from (form for forms in value.forms.values() for form in forms)
    for phrase, _ in book.fixed:
        yield from phrase.values()
    # Every kana gets a token of its own, so that katakana terms are copied sign by sign.
    for code in (*range(0x3041, 0x3097), *range(0x30A1, 0x30FD)):
        yield from [chr(code)] * 200
    for i in range(count):
        sample = samples.training_sample(book, rng)
        if sample["kind"] != "terms" or i % 4 == 0:
            yield samples.prompt_of(sample)
            yield samples.answer_of(sample)


def write_shard(job):
    """One worker's share. The seed string names the shard, so shards do not depend on each other."""
    out, name, seed, count = job
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    book = samples.prepare(Phrasebook())
    encoder = tokenization.Encoder(Tokenizer.from_file(str(out / "tokenizer.json")))
    rng = random.Random(f"{seed}/{name}")
    tokens, lengths, prompts = [], [], []
    for _ in range(count):
        sample = samples.training_sample(book, rng)
        prompt = encoder.prompt(samples.prompt_of(sample))
        ids = prompt + encoder.target(samples.answer_of(sample))
        if len(ids) <= MAX_TOKENS:
            tokens.append(np.array(ids, np.int16))
            lengths.append(len(ids))
            prompts.append(len(prompt))
    np.savez(out / f"{name}.npz", tokens=np.concatenate(tokens), lengths=np.array(lengths, np.int16), prompts=np.array(prompts, np.int16))
    return len(lengths), sum(lengths)


def check_encoder(book, tokenizer, rng):
    """Encoding line by line must equal encoding the whole prompt."""
    encoder = tokenization.Encoder(tokenizer)
    for _ in range(300):
        sample = samples.training_sample(book, rng)
        prompt = samples.prompt_of(sample)
        assert encoder.text(prompt) == tokenizer.encode(prompt, add_special_tokens=False).ids, prompt
        assert tokenizer.decode(encoder.text(prompt)) == prompt, prompt


def write_held_out(book, out, seed):
    rows = samples.held_out_set(book, f"{seed}/heldout")
    dump_jsonl(out / "heldout.jsonl", rows)
    small = []
    for kind, count in SMALL_SET.items():
        of_kind = [r for r in rows if r["kind"] == kind]
        step = len(of_kind) / count
        small += [of_kind[int(i * step)] for i in range(count)]
    fields = ("kind", "source", "target", "text", "reference", "terms", "context", "tags")
    dump_jsonl(out / "heldout_small.jsonl", [{k: r[k] for k in fields if k in r} for r in small])


def dump_jsonl(path, rows):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--corpus", type=int, default=60_000, help="samples the tokenizer is trained on")
    parser.add_argument("--seed", type=int, default=20261124)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    started = time.time()
    book = samples.prepare(Phrasebook())
    print("phrasebook:", json.dumps(book.counts()))

    tokenizer = tokenization.train(tokenizer_corpus(book, random.Random(f"{args.seed}/tokenizer"), args.corpus))
    tokenizer.save(str(args.out / "tokenizer.json"), pretty=False)
    check_encoder(book, tokenizer, random.Random(f"{args.seed}/check"))
    print(f"tokenizer: {tokenizer.get_vocab_size()} tokens, {time.time() - started:.1f} s", flush=True)

    write_held_out(book, args.out, args.seed)
    share = args.samples // args.workers
    jobs = [(args.out, f"train_{i:02d}", args.seed, share) for i in range(args.workers)]
    jobs.append((args.out, "val", args.seed, 4000))
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        done = pool.map(write_shard, jobs, chunksize=1)
    n, tokens = map(sum, zip(*done))
    print(f"samples: {n}, tokens: {tokens}, mean {tokens / n:.1f}, {time.time() - started:.1f} s", flush=True)


if __name__ == "__main__":
    main()
