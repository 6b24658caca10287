//! The engine's own three kernels; everything else is TensorRT's. Their CPU twins are in `host`.

/// Source of the kernels, for NVRTC. Offsets are 64-bit: a cache can pass 4 GiB.
pub const SOURCE: &str = r#"
// New keys and values, [batch, heads, tokens, words], go to their place in the cache,
// [slots, heads, context, words]. One block copies one row of one head of one tensor: contiguous on
// both sides, because only tokens follow each other. Bytes of one decode step of HY-MT 1.8B: 64 KiB
// for each row, so the launch is what it costs. First positions come from memory, not as arguments,
// so that the launch can be part of a CUDA graph.
extern "C" __global__ void __launch_bounds__(THREADS)
append(const unsigned long long *table, const int *rows, int tensors, int first_slot, int heads,
       int context, int tokens, int words) {
    const int tensor = blockIdx.x, row = blockIdx.y, head = blockIdx.z;
    const int start = rows[2 * row], n = rows[2 * row + 1] * words;
    const unsigned *from = reinterpret_cast<const unsigned *>(table[tensor]) +
                           (static_cast<size_t>(row) * heads + head) * tokens * words;
    unsigned *to = reinterpret_cast<unsigned *>(table[tensors + tensor]) +
                   ((static_cast<size_t>(first_slot + row) * heads + head) * context + start) * words;
    for (int i = threadIdx.x; i < n; i += blockDim.x) to[i] = from[i];
}

// Places of the cache that an earlier sequence or a refused draft wrote become zeros, with the blocks of
// `append` and rows of first place and number. They are masked, but 0 times infinity is not 0. It
// moves what that sequence held, 64 KiB a token for HY-MT 1.8B, after a sequence and after a refused draft.
extern "C" __global__ void __launch_bounds__(THREADS)
clear(const unsigned long long *table, const int *rows, int tensors, int first_slot, int heads, int context,
      int words) {
    const int tensor = blockIdx.x, row = blockIdx.y, head = blockIdx.z;
    const int start = rows[2 * row], n = rows[2 * row + 1] * words;
    unsigned *to = reinterpret_cast<unsigned *>(table[tensors + tensor]) +
                   ((static_cast<size_t>(first_slot + row) * heads + head) * context + start) * words;
    for (int i = threadIdx.x; i < n; i += blockDim.x) to[i] = 0;
}

struct Candidate {
    float logit;
    unsigned token;
};

// Larger logit first, then the smaller token, as the sampler breaks ties.
__device__ bool better(Candidate a, Candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

// The KEPT best of one slice of a row of logits, [rows, vocab], and the best of what is left. Each round
// finds the best that is worse than the round before; the slice, 15 KB for 120,818 tokens, is in the
// cache after the first.
extern "C" __global__ void __launch_bounds__(THREADS)
shorten(const float *logits, Candidate *best, float *dropped, int vocab) {
    __shared__ Candidate found[THREADS];
    const int row = blockIdx.y, width = (vocab + SLICES - 1) / SLICES;
    const int begin = min(vocab, static_cast<int>(blockIdx.x) * width), end = min(vocab, begin + width);
    const float *of_row = logits + static_cast<size_t>(row) * vocab;
    const Candidate none = {-INFINITY, 0xffffffffu};
    Candidate last = {INFINITY, 0};
    for (int round = 0; round <= KEPT; ++round) {
        Candidate mine = none;
        for (int i = begin + threadIdx.x; i < end; i += THREADS) {
            const Candidate here = {of_row[i], static_cast<unsigned>(i)};
            if ((round == 0 || better(last, here)) && better(here, mine)) mine = here;
        }
        found[threadIdx.x] = mine;
        __syncthreads();
        for (int half = THREADS / 2; half > 0; half /= 2) {
            if (threadIdx.x < half && better(found[threadIdx.x + half], found[threadIdx.x]))
                found[threadIdx.x] = found[threadIdx.x + half];
            __syncthreads();
        }
        last = found[0];
        if (threadIdx.x == 0) {
            const size_t slice = static_cast<size_t>(row) * SLICES + blockIdx.x;
            if (round < KEPT) best[slice * KEPT + round] = last;
            else dropped[slice] = last.logit;
        }
        __syncthreads();
    }
}
"#;

/// Threads of a block.
pub const THREADS: usize = 256;

/// Definitions that [`SOURCE`] is compiled with.
pub fn options() -> Vec<String> {
    use super::{KEPT, SLICES};
    vec![
        format!("-DTHREADS={THREADS}"),
        format!("-DSLICES={SLICES}"),
        format!("-DKEPT={KEPT}"),
        "-DINFINITY=__int_as_float(0x7f800000)".to_owned(),
        "--std=c++14".to_owned(),
    ]
}
