#!/usr/bin/env python3
"""Writes `sampling.json`: what Hugging Face's logits processors leave to draw from.

    pip install torch transformers
    python make_sampling_golden.py
"""

import json
from pathlib import Path

import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

VOCAB = 40

# temperature, top_k, top_p, repetition_penalty; the second is the recommendation for HY-MT.
PARAMS = [
    (1.0, 0, 1.0, 1.0),
    (0.7, 20, 0.6, 1.05),
    (0.7, 20, 0.6, 1.5),
    (1.5, 5, 1.0, 1.0),
    (0.3, 0, 0.9, 1.0),
    (1.0, 1, 1.0, 1.3),
    (2.0, 0, 0.05, 1.0),
    (1.0, 8, 0.95, 0.8),
    (0.7, 39, 0.999, 3.0),
]


def processed(ids, logits, temperature, top_k, top_p, penalty):
    """The order of `GenerationMixin._get_logits_processor`."""
    steps = [RepetitionPenaltyLogitsProcessor(penalty)]
    if temperature != 1.0:
        steps.append(TemperatureLogitsWarper(temperature))
    if top_k:
        steps.append(TopKLogitsWarper(top_k))
    if top_p < 1.0:
        steps.append(TopPLogitsWarper(top_p))
    for step in steps:
        logits = step(ids, logits)
    return logits


def main():
    torch.manual_seed(11)
    cases = []
    for seed_row in range(3):
        # Quarters make ties likely, so that the handling of equal logits shows.
        logits = torch.randn(1, VOCAB) * 3
        if seed_row == 2:
            logits = (logits * 4).round() / 4
        ids = torch.randint(0, VOCAB, (1, 12))
        for temperature, top_k, top_p, penalty in PARAMS:
            if seed_row == 2 and top_p < 1.0:
                continue  # which of several equal tokens top-p cuts is up to torch's sort
            out = processed(ids, logits.clone(), temperature, top_k, top_p, penalty)
            probabilities = out.softmax(-1)[0].tolist()
            cases.append(
                {
                    "ids": ids[0].tolist(),
                    "logits": logits[0].tolist(),
                    "temperature": temperature,
                    "top_k": top_k,
                    "top_p": top_p,
                    "repetition_penalty": penalty,
                    "kept": {i: p for i, p in enumerate(probabilities) if p > 0},
                }
            )
    text = ",\n".join(json.dumps(case) for case in cases)
    (Path(__file__).resolve().parent / "sampling.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
