"""Checks and runs an exported graph with ONNX's own tools, which know nothing of this project.

usage: run_graph.py GRAPH REQUEST OUT

REQUEST is JSON: {"prompts": [[ids]], "answers": [[ids]], "chunk": n, "optimise": bool, "garbage": x}.
All prompts are prefilled as one padded batch, at most n tokens at a time, rows that are through
being idle; then the answers are fed token by token. New keys and values are copied into the cache
after each step, as an engine has to. OUT gets the token with the
largest logit after each step, which is the greedy answer as long as it is the one fed; OUT.logits
the logits themselves as little-endian f32, prompt by prompt.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime as ort

GRAPH, REQUEST, OUT = sys.argv[1:]
FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class Engine:
    """Feeds the graph as docs/onnx.md says an engine has to."""

    def __init__(self, request):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if not request["optimise"]:
            # The graph as it is written: no fusion, no folding.
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = ort.InferenceSession(GRAPH, options, providers=["CPUExecutionProvider"])
        self.batch = len(request["prompts"])
        self.caches = {}
        for spec in self.session.get_inputs():
            if spec.name.startswith("past_key") or spec.name.startswith("past_value"):
                _, heads, context, width = spec.shape
                shape = (self.batch, heads, context, width)
                # What is beyond a row's length must not matter, as long as it is a number.
                self.caches[spec.name] = np.full(shape, request["garbage"], FLOATS[spec.type])
                self.context = context
        self.lengths = np.zeros(self.batch, np.int32)

    def step(self, rows):
        """Logits after the last of each row's tokens, [batch, vocab]."""
        width = max(len(row) for row in rows)
        ids = np.zeros((self.batch, width), np.int32)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
        counts = np.array([len(row) for row in rows], np.int32)
        feeds = {
            "token_ids": ids,
            "positions": self.lengths[:, None] + np.arange(width, dtype=np.int32)[None, :],
            "past_lengths": self.lengths,
            # Two rows of logits, of which the second is wanted: an index must not be a place.
            "logits_at": np.stack([np.zeros_like(counts), np.maximum(counts - 1, 0)], 1),
            **self.caches,
        }
        names = [spec.name for spec in self.session.get_outputs()]
        found = dict(zip(names, self.session.run(names, feeds)))
        for name, cache in self.caches.items():
            new = found[name.replace("past", "new")]
            for row, count in enumerate(counts):
                start = self.lengths[row]
                cache[row, :, start : start + count] = new[row, :, :count]
        self.lengths = self.lengths + counts
        return found["logits"][:, 1]

    def prefill(self, prompts, chunk):
        """Logits after the last token of each prompt, [batch][vocab]."""
        last = [None for _ in prompts]
        for start in range(0, max(len(prompt) for prompt in prompts), chunk):
            rows = [prompt[start : start + chunk] for prompt in prompts]
            for row, scores in enumerate(self.step(rows)):
                if rows[row]:
                    last[row] = scores
        return last


def main():
    # The path, not the loaded model: weights beyond 2 GiB are in another file.
    onnx.checker.check_model(GRAPH, full_check=True)
    with open(REQUEST, encoding="utf-8") as file:
        request = json.load(file)
    engine = Engine(request)
    answers = [[] for _ in request["prompts"]]
    logits = [[] for _ in request["prompts"]]
    found = engine.prefill(request["prompts"], request["chunk"])
    for step in range(len(request["answers"][0])):
        if step > 0:
            found = engine.step([[answer[step - 1]] for answer in request["answers"]])
        for row, scores in enumerate(found):
            logits[row].append(scores)
            answers[row].append(int(scores.argmax()))
    with open(OUT, "w", encoding="utf-8") as file:
        json.dump({"answers": answers}, file)
    np.array(logits, "<f4").tofile(OUT + ".logits")


main()
