"""Scores what our own engine translated: exact match, chrF++ and glossary use, per kind of request.

HYMT_HELDOUT=HELDOUT.jsonl HYMT_DUMP=OUT.jsonl cargo test --release --test quality
python score.py OUT.jsonl
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

from sacrebleu.metrics import CHRF


def scores(rows):
    outputs = [r["hypothesis"] for r in rows]
    references = [r["reference"] for r in rows]
    chrf = CHRF(word_order=2)
    result = dict(
        n=len(rows),
        exact_match=round(sum(o == r for o, r in zip(outputs, references)) / len(rows), 4),
        chrf_pp=round(chrf.corpus_score(outputs, [references]).score, 2),
    )
    # A term is requested when its source occurs in the text.
    used = [t in r["hypothesis"] for r in rows for s, t in r["terms"] if s.lower() in r["text"].lower()]
    if used:
        result |= dict(terms=len(used), terms_used=round(sum(used) / len(used), 4))
    tagged = [all(r["hypothesis"].count(t) == r["text"].count(t) for t in r["tags"]) for r in rows if r.get("tags")]
    if tagged:
        result |= dict(tagged=len(tagged), tags_kept=round(sum(tagged) / len(tagged), 4))
    return result, str(chrf.get_signature())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dump", type=Path, help="requests with a hypothesis each, one JSON object a line")
    args = parser.parse_args()
    groups = defaultdict(list)
    for line in args.dump.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        groups[row["kind"]].append(row)
    signature = ""
    for name, rows in groups.items():
        result, signature = scores(rows)
        print(f"{name:<9}", json.dumps(result))
    print(signature)


if __name__ == "__main__":
    main()
