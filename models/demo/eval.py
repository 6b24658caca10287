"""Scores an exported model on the held-out sets: exact match, chrF++ and glossary use, in f32 and in INT8.

python eval.py MODELS HELDOUT.jsonl RESULT.json [--limit N]

MODELS holds bf16/ and int8/. The bf16 weights run in f32; the int8 folder runs with simulated W8A8 arithmetic.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import torch
from sacrebleu.metrics import CHRF
from tokenizers import Tokenizer

import prompts
import samples
import tokenization
from export import load_folder
from model import greedy

MAX_NEW_TOKENS = 96
# Requests that are also scored with the HY-MT1.5 prompt.
N_HY_MT15 = dict(default=300, tags=300)


def translate(model, tokenizer, rows, device):
    encoder = tokenization.Encoder(tokenizer)
    ids = [encoder.prompt(samples.prompt_of(r)) for r in rows]
    tokens = greedy(model, ids, encoder.end, tokenizer.token_to_id(tokenization.PAD), MAX_NEW_TOKENS, device)
    return [tokenizer.decode(t) for t in tokens]


def scores(rows, outputs):
    references = [samples.answer_of(r) for r in rows]
    exact = sum(o == r for o, r in zip(outputs, references)) / len(rows)
    chrf = CHRF(word_order=2).corpus_score(outputs, [references]).score
    result = dict(n=len(rows), exact_match=round(exact, 4), chrf_pp=round(chrf, 2))
    wanted = [(w, o) for r, o in zip(rows, outputs) for w in r.get("wanted", [])]
    if wanted:
        result |= dict(terms=len(wanted), terms_used=round(sum(w in o for w, o in wanted) / len(wanted), 4))
    return result


def report(rows, outputs):
    groups = defaultdict(list)
    for row, output in zip(rows, outputs):
        kind = row["kind"] if row["family"] == prompts.HY_MT2 else row["kind"] + "_hy_mt15"
        groups[kind].append((row, output))
        if kind == "default":  # of Hy-MT2
            groups[f"into_{row['target']}"].append((row, output))
            groups[f"from_{row['source']}"].append((row, output))
    result = {name: scores(*zip(*members)) for name, members in sorted(groups.items())}
    mistakes = [
        dict(kind=r["kind"], source=r["source"], target=r["target"], text=r["text"], terms=r["terms"], context=r["context"], reference=samples.answer_of(r), output=o)
        for r, o in zip(rows, outputs)
        if o != samples.answer_of(r)
    ]
    return result, mistakes


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path)
    parser.add_argument("heldout", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--limit", type=int, default=0, help="use only every k-th request, about this many in all")
    args = parser.parse_args()
    rows = [json.loads(l) for l in args.heldout.read_text(encoding="utf-8").splitlines()]
    if args.limit:
        rows = rows[:: max(1, len(rows) // args.limit)]
    rows += [r | dict(family=prompts.HY_MT15) for kind, n in N_HY_MT15.items() for r in [r for r in rows if r["kind"] == kind][:n]]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    result = {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu"}
    outputs = {}
    for folder in ("bf16", "int8"):
        started = time.time()
        model, _ = load_folder(args.models / folder)
        model.set_int8(folder == "int8")
        tokenizer = Tokenizer.from_file(str(args.models / folder / "tokenizer.json"))
        outputs[folder] = translate(model.to(device), tokenizer, rows, device)
        result[folder], mistakes = report(rows, outputs[folder])
        result[folder]["first_mistakes"] = mistakes[:40]
        kinds = {k: v for k, v in result[folder].items() if not k.startswith(("into_", "from_", "first_"))}
        print(folder, json.dumps(kinds), f"{time.time() - started:.1f} s", flush=True)
    same = sum(a == b for a, b in zip(outputs["bf16"], outputs["int8"])) / len(rows)
    result["int8_equals_bf16"] = round(same, 4)
    print(f"int8 output equals bf16 output: {same:.4f}")
    args.result.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
