// One decode step as one persistent cooperative kernel: one block on every SM, a grid barrier
// between phases, and a stream of weights that never waits for a barrier.
//
// Weights do not depend on activations. Each warp knows all units that it will read in this pass
// and keeps its ring full of the next ones, across phases and layers, so memory stays busy while
// the block normalises, quantises, attends or waits.

struct DecodeStep {
  const u64* phases;       // [phase]{weights, scales}
  const float* norms;      // [2 * LAYERS + 1][HIDDEN]
  const float* head_norms; // [LAYERS][2][HEAD_DIM]
  float* x;                // [n][HIDDEN], then [n][HEAD_DIM] rotations at `rotations`
  const float* rotations;
  float* qkv;              // [n][QKV_ROWS]
  float* attended;         // [n][Q_SIZE]
  float* gated;            // [n][FFN]
  float* partials;
  u32* arrivals;           // [n][KV_HEADS]
  const u64* pages;        // [slots][pages_max]
  float* logits;           // [n][VOCAB]
  u64* best;               // [n][blocks][BEST]: packed candidates
  float* dropped;          // [n][blocks]: largest logit that is no candidate
  u32* tops;               // [4 * LAYERS + 1][8]: largest magnitudes of what a phase reads
  float* squares;          // [8][SUMS_OF_ROW(HIDDEN)]: sums of squares of x
  u32* barrier;
  u32 barrier_base;
  int pages_max;
  int n;
  int wants_logits;
  int positions[8];
  int slots[8];
};

// Candidates that one block reports for a token.
#define BEST 4

#define X_BYTES(n, k) ((n) * (PADDED(k) + 32))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define K_MAX MAX_OF(HIDDEN, MAX_OF(Q_SIZE, FFN))

// Tiles of a round times WARPS * 16 * N sums.
#define CELLS(n) ((n) >= 8 ? 4 * WARPS * 16 * 8 : 4096)

template <int N>
struct DecodeShared {
  union {
    struct {
      __align__(16) i8 x[MAX_OF(X_BYTES(N, K_MAX), THREADS * 4)];
      // Each warp's sums of each tile of a round; the candidates of `report`.
      __align__(16) int cells[CELLS(N)];
    };
    AttentionShared attention;
  };
  float scales[N];
  u32 tops[8];
  float factors[N];
  int firsts[5];
  QuantizeShared quantize;
  u64 barriers[WARPS * 8];
};

enum Epilogue { STORE, ADD, GATE };

// A candidate as a number that orders by logit, then by lower id.
__device__ __forceinline__ u64 packed(float logit, int id) {
  const u32 bits = __float_as_uint(logit);
  const u32 key = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return (u64)key << 32 | (u32)~id;
}
__device__ __forceinline__ float logit_of(u64 candidate) {
  const u32 key = (u32)(candidate >> 32);
  return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

template <int N, int STAGES>
struct Decoder {
  const DecodeStep& step;
  DecodeShared<N>& s;
  Ring<STAGES> ring;
  UnitStream ahead;
  u32 barrier_target;
  u64 best;       // of the logits this thread has seen, its best
  float dropped;  // and the largest of the others

  // One phase's products: every tile of this block, a round of tiles at a time.
  template <int K, Epilogue E>
  __device__ __forceinline__ void products(int phase, int row_base, float* out, int out_stride,
                                           int rows, const float* next_norm = nullptr) {
    constexpr int STRIDE = PADDED(K) + 32, KU = UNITS(K);
    constexpr int TILE_OUT = E == GATE ? 8 : 16, TILE_CELLS = 16 * N;
    constexpr int ROUND = MIN_OF(CELLS(N) / (WARPS * TILE_CELLS), THREADS / (TILE_OUT * N));
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    const int tiles = phase_tiles(phase);
    const float* w_scales = reinterpret_cast<const float*>(__ldg(step.phases + 2 * phase + 1));
    const int first = s.firsts[phase_kind(phase)];
    const int count = first < tiles ? (tiles - 1 - first) / gridDim.x + 1 : 0;
    for (int start = 0; start < count; start += ROUND) {
      const int in_round = min(ROUND, count - start);
      // This thread's one output; what it needs is fetched before the products.
      const int row = threadIdx.x % TILE_OUT, of_tile = threadIdx.x / TILE_OUT;
      const int token = of_tile % N, slot = of_tile / N;
      const int tile = first + (start + slot) * gridDim.x;
      const int out_row = tile * TILE_OUT + row;
      const bool mine = slot < in_round && token < step.n && row_base + out_row < rows;
      float scale = 0.f, up_scale = 0.f, old = 0.f, norm = 0.f;
      float* to = out + (size_t)token * out_stride + row_base + out_row;
      if (mine) {
        scale = __ldg(w_scales + tile * 16 + row);
        if (E == GATE) up_scale = __ldg(w_scales + tile * 16 + 8 + row);
        if (E == ADD) old = fresh(to), norm = __ldg(next_norm + out_row);
      }
      for (int j = 0; j < in_round; j++) {
        int sums[SUMS(N)];
#pragma unroll
        for (int i = 0; i < SUMS(N); i++) sums[i] = 0;
        const int at_tile = first + (start + j) * gridDim.x;
        for (int unit = warp; unit < KU; unit += WARPS) {
          const i8* x = s.x + unit * UNIT_COLS;
#if __CUDA_ARCH__ >= 800
          ring.wait();
          const uint4* a = reinterpret_cast<const uint4*>(ring.bytes + ring.stage * UNIT_BYTES) +
                           lane;
#pragma unroll
          for (int i = 0; i < UNIT_BYTES / 512; i++)
            multiply<N>(sums, a[i * 32], x + i * 32, STRIDE, step.n);
          __syncwarp();
          ring.request(ahead.next());
          (void)at_tile;
#else
          const i8* base = reinterpret_cast<const i8*>(__ldg(step.phases + 2 * phase)) +
                           ((size_t)at_tile * KU + unit) * UNIT_BYTES;
          uint4 a[UNIT_BYTES / 512];
#pragma unroll
          for (int i = 0; i < UNIT_BYTES / 512; i++)
            a[i] = __ldg(reinterpret_cast<const uint4*>(base) + i * 32 + lane);
#pragma unroll
          for (int i = 0; i < UNIT_BYTES / 512; i++)
            multiply<N>(sums, a[i], x + i * 32, STRIDE, step.n);
#endif
        }
        if (warp < KU)
          put_cells<N>(sums, s.cells + (j * WARPS + warp) * TILE_CELLS, N, step.n);
      }
      __syncthreads();
      auto sum = [&](int of_row) {
        const int* cell = s.cells + slot * WARPS * TILE_CELLS + of_row * N + token;
        int all = 0;
#pragma unroll
        for (int w = 0; w < MIN_OF(WARPS, KU); w++) all += cell[w * TILE_CELLS];
        return all;
      };
      float v = 0.f;
      if (mine) {
        v = dequantized(sum(row), s.scales[token], scale);
        if (E == ADD) v = old + v;
        if (E == GATE) v = silu_times(v, dequantized(sum(row + 8), s.scales[token], up_scale));
        *to = v;
        if (E == STORE && phase >= 4 * LAYERS) remember(v, row_base + out_row);
      }
      if (E == ADD) {
        const float square = sum16(v * v);
        if (row == 0 && slot < in_round && token < step.n)
          step.squares[token * SUMS_OF_ROW(HIDDEN) + tile] = square;
      }
      if (E != STORE) {
        u32 top = magnitude(E == ADD ? v * norm : v);
        for (int o = TILE_OUT / 2; o > 0; o >>= 1) top = max(top, __shfl_xor_sync(FULL, top, o));
        if (row == 0 && top) atomicMax(s.tops + token, top);
      }
      if (start + ROUND < count) __syncthreads();
    }
  }

  // Keeps the best logit of this thread's token: in the head a thread's token never changes.
  __device__ __forceinline__ void remember(float logit, int id) {
    const u64 candidate = packed(logit, id);
    const u64 loser = candidate > best ? best : candidate;
    if (loser) dropped = fmaxf(dropped, logit_of(loser));
    if (candidate > best) best = candidate;
  }

  // Reports the block's BEST candidates of each token and what the rest is bounded by.
  __device__ __forceinline__ void report() {
    __syncthreads();
    u64* all = reinterpret_cast<u64*>(s.cells);  // [THREADS]
    static_assert(sizeof(s.cells) >= THREADS * sizeof(u64), "a candidate a thread");
    float* all_dropped = reinterpret_cast<float*>(s.x);
    all[threadIdx.x] = best;
    all_dropped[threadIdx.x] = dropped;
    __syncthreads();
    const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
    if (warp < step.n) {
      constexpr int OF_TOKEN = THREADS / N, EACH = DIV_UP(OF_TOKEN, 32);
      u64 held[EACH];
      float drop = NEGATIVE_INFINITY;
#pragma unroll
      for (int i = 0; i < EACH; i++) {
        // Thread `t` holds token (t / 16) % N.
        const int at = i * 32 + lane, thread = (at / 16 * N + warp) * 16 + at % 16;
        held[i] = at < OF_TOKEN ? all[thread] : 0;
        if (at < OF_TOKEN) drop = fmaxf(drop, all_dropped[thread]);
      }
      for (int b = 0; b < BEST; b++) {
        u64 top = 0;
#pragma unroll
        for (int i = 0; i < EACH; i++) top = held[i] > top ? held[i] : top;
        for (int o = 16; o > 0; o >>= 1) {
          const u64 other = __shfl_xor_sync(FULL, top, o);
          top = other > top ? other : top;
        }
        if (lane == 0) step.best[((size_t)warp * gridDim.x + blockIdx.x) * BEST + b] = top;
#pragma unroll
        for (int i = 0; i < EACH; i++)
          if (held[i] == top) held[i] = 0;
      }
#pragma unroll
      for (int i = 0; i < EACH; i++)
        if (held[i]) drop = fmaxf(drop, logit_of(held[i]));
      for (int o = 16; o > 0; o >>= 1) drop = fmaxf(drop, __shfl_xor_sync(FULL, drop, o));
      if (lane == 0) step.dropped[(size_t)warp * gridDim.x + blockIdx.x] = drop;
    }
  }

  // All blocks meet; `next` is the phase that comes, whose maxima this block tells first.
  __device__ __forceinline__ void meet(int next) {
    __syncthreads();
    if (threadIdx.x < 32) {
      if (threadIdx.x < step.n) {
        u32* top = step.tops + next * 8 + threadIdx.x;
        if (s.tops[threadIdx.x]) atomicMax(top, s.tops[threadIdx.x]);
        s.tops[threadIdx.x] = 0;
        // What the phase before the one that ends read is of no use any more.
        if (blockIdx.x == 0 && next >= 2) step.tops[(next - 2) * 8 + threadIdx.x] = 0;
        __threadfence();
      }
      __syncwarp();
    }
    barrier_target += gridDim.x;
    grid_barrier(step.barrier, barrier_target);
  }

  template <int K, bool NORM>
  __device__ __forceinline__ void quantize(int phase, const float* rows, const float* weight) {
    quantize_known<N, K, NORM>(rows, weight, step.n, step.tops + phase * 8, step.squares, s.x,
                               PADDED(K) + 32, s.scales, s.factors);
  }

  __device__ __forceinline__ void attention(int layer) {
    int splits_max = 1;
    for (int t = 0; t < step.n; t++) splits_max = max(splits_max, step.positions[t] / PAGE + 1);
    const int items = step.n * KV_HEADS * splits_max;
    for (int item = blockIdx.x; item < items; item += gridDim.x) {
      const int split = item / (step.n * KV_HEADS), pair = item % (step.n * KV_HEADS);
      const int t = pair / KV_HEADS, kv_head = pair % KV_HEADS;
      AttentionToken token;
      token.position = step.positions[t];
      if (split > token.position / PAGE) continue;
      token.q = step.qkv + (size_t)t * QKV_ROWS;
      token.k = token.q + Q_SIZE;
      token.v = token.k + KV_SIZE;
      token.rotation = step.rotations + (size_t)t * HEAD_DIM;
      token.page = __ldg(step.pages + (size_t)step.slots[t] * step.pages_max + split);
      attend(s.attention, token, layer, kv_head, split, step.head_norms + layer * 2 * HEAD_DIM,
             step.head_norms + (layer * 2 + 1) * HEAD_DIM, step.attended + (size_t)t * Q_SIZE,
             step.partials + (size_t)t * step.pages_max * HEADS * (HEAD_DIM + 2),
             step.arrivals + t * KV_HEADS + kv_head, s.tops + t);
    }
  }

  __device__ __forceinline__ void run() {
    if (blockIdx.x == 0 && threadIdx.x < 16) step.tops[(4 * LAYERS - 1) * 8 + threadIdx.x] = 0;
    for (int layer = 0; layer < LAYERS; layer++) {
      const int p = layer * 4;
      const float* norms = step.norms + (size_t)layer * 2 * HIDDEN;
      if (layer == 0) {
        for (int t = 0; t < step.n; t++)
          quantize_row<HIDDEN, true>(step.x + t * HIDDEN, norms, s.x + t * (PADDED(HIDDEN) + 32),
                                     s.scales + t, s.quantize);
      } else {
        quantize<HIDDEN, true>(p, step.x, norms);
      }
      products<HIDDEN, STORE>(p, 0, step.qkv, QKV_ROWS, QKV_ROWS);
      meet(p + 1);
      attention(layer);
      meet(p + 1);
      quantize<Q_SIZE, false>(p + 1, step.attended, nullptr);
      products<Q_SIZE, ADD>(p + 1, 0, step.x, HIDDEN, HIDDEN, norms + HIDDEN);
      meet(p + 2);
      quantize<HIDDEN, true>(p + 2, step.x, norms + HIDDEN);
      products<HIDDEN, GATE>(p + 2, 0, step.gated, FFN, FFN);
      meet(p + 3);
      quantize<FFN, false>(p + 3, step.gated, nullptr);
      products<FFN, ADD>(p + 3, 0, step.x, HIDDEN, HIDDEN, norms + 2 * HIDDEN);
      meet(p + 4);
    }
    if (!step.wants_logits) return;
    quantize<HIDDEN, true>(4 * LAYERS, step.x, step.norms + (size_t)2 * LAYERS * HIDDEN);
    for (int piece = 0; piece < HEAD_PIECES; piece++) {
      products<HIDDEN, STORE>(4 * LAYERS + piece, piece * HEAD_PIECE_TILES * 16, step.logits,
                              VOCAB, VOCAB);
      __syncthreads();
    }
    report();
  }
};

template <int N, int STAGES>
__device__ __forceinline__ void decode(const DecodeStep& step, i8* dynamic) {
  DecodeShared<N>& s = *reinterpret_cast<DecodeShared<N>*>(dynamic);
  i8* ring_bytes = dynamic + ROUND_UP((int)sizeof(DecodeShared<N>), 128);
  if (threadIdx.x < 8) s.tops[threadIdx.x] = 0;
  Decoder<N, STAGES> decoder{step, s};
  decoder.barrier_target = step.barrier_base;
  decoder.best = 0;
  decoder.dropped = NEGATIVE_INFINITY;
  if (threadIdx.x < 5) s.firsts[threadIdx.x] = first_tile(threadIdx.x);
  __syncthreads();
#if __CUDA_ARCH__ >= 800
  decoder.ring.init(ring_bytes, s.barriers);
  UnitStream& ahead = decoder.ahead;
  ahead.phases = step.phases;
  ahead.firsts = s.firsts;
  ahead.phase = 0;
  ahead.end = 4 * LAYERS + (step.wants_logits ? HEAD_PIECES : 0);
  ahead.seek();
#pragma unroll 1
  for (int stage = 0; stage < STAGES; stage++) decoder.ring.request(ahead.next());
  decoder.ring.parity = 0;
#endif
  decoder.run();
}

#define DECODE_KERNEL(N, STAGES)                                                       \
  extern "C" __global__ void __launch_bounds__(THREADS, 1)                      \
      decode_##N(const __grid_constant__ DecodeStep step) {                            \
    extern __shared__ __align__(128) i8 dynamic[];                                     \
    decode<N, STAGES>(step, dynamic);                                                  \
  }                                                                                    \
  extern "C" __device__ const int decode_shared_##N =                                  \
      ROUND_UP((int)sizeof(DecodeShared<N>), 128) + WARPS * STAGES * UNIT_BYTES;

#ifdef STAGES_1
DECODE_KERNEL(1, STAGES_1)
#endif
#ifdef STAGES_2
DECODE_KERNEL(2, STAGES_2)
#endif
#ifdef STAGES_4
DECODE_KERNEL(4, STAGES_4)
#endif
#ifdef STAGES_8
DECODE_KERNEL(8, STAGES_8)
#endif
