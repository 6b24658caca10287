#!/usr/bin/env bash
# Rebuilds the demo model: data, training, export, scores. Needs one GPU for the real thing.
#   bash models/demo/make.sh OUT
# leaves OUT/model.tar.gz (int8/, bf16/, eval.json), OUT/heldout.tar.gz and OUT/train.log.
# MINUTES, SAMPLES, TRAIN_ARGS and EVAL_ARGS change the sizes; the default takes under ten minutes on one H100.
set -u -o pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "$1" && cd "$1" && pwd)
work=${WORK:-$(mktemp -d)}
python=${PYTHON:-python3}
data=$work/data models=$work/models
log=$out/train.log
started=$SECONDS
: >"$log"

say() { echo "[$((SECONDS - started)) s] $*" | tee -a "$log"; }
run() { "$@" 2>&1 | tee -a "$log"; }

cd "$here"
say "generating"
# The compiler's cache fills meanwhile.
timeout 150 "$python" train.py --warm-cache ${TRAIN_ARGS:-} >"$out/compile.log" 2>&1 &
warming=$!
run "$python" generate.py "$data" --samples "${SAMPLES:-4000000}" || { say "generation failed"; exit 1; }
wait "$warming" || {
    say "the compiler did not end in time, training goes on without it; see compile.log"
    TRAIN_ARGS="${TRAIN_ARGS:-} --eager"
}
run cat "$out/compile.log"
tar -czf "$out/heldout.tar.gz" -C "$data" heldout.jsonl heldout_small.jsonl

# Training ends at a fixed distance from the start, however long generation took.
total=${MINUTES:-7.6}
minutes=$("$python" -c "print(round($total - $((SECONDS - started)) / 60, 3))")
say "training for $minutes minutes"
# The limit is a net under the trainer's own clock; the last checkpoint survives either way.
limit=$("$python" -c "print(int($minutes * 60 + 25))")
run timeout --signal=TERM --kill-after=15 "$limit" "$python" train.py "$data" "$work" --minutes "$minutes" ${TRAIN_ARGS:-} || say "training ended early"

say "exporting"
status=0
run "$python" export.py "$data" "$work/checkpoint.pt" "$models" || { say "export or its check failed"; status=1; }
pack() { [ -d "$models" ] && tar -czf "$out/model.tar.gz" -C "$models" .; }
pack
say "evaluating"
run timeout 75 "$python" eval.py "$models" "$data/heldout.jsonl" "$models/eval.json" ${EVAL_ARGS:-} || { say "evaluation failed"; status=1; }
pack
ls -l "$out" | tee -a "$log"
say "done"
exit $status
