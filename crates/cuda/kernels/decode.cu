// Stages of the stream of which there are barriers.
#define STAGES_MAX 8
// From this many tokens on, one block quantises a row for all, and blocks multiply slices of columns.
#define TOLD_FROM 3
// Most quantised vectors that a thread asks for at once.
#define LEVELS_AT_ONCE 6

// One decode step as one persistent cooperative kernel: one block on every SM, a stream of weights
// that waits for nothing, and no barrier between blocks.
//
// What a phase needs of the one before, it reads word by word until it is there. Each layer has its
// own words, and a step finds all of them AWAITED or UNTOLD: the step before saw to that. A
// barrier would have to flush memory, and behind a stream that keeps memory busy a flush takes
// longer than a phase.

// Words that a token leaves in a layer: what the phases yield, then what they read, quantised, and
// its scales.
#define EXCHANGED (QKV_ROWS + Q_SIZE + HIDDEN + FFN + HIDDEN)
#define LEVEL_WORDS ((2 * PADDED(HIDDEN) + PADDED(Q_SIZE) + PADDED(FFN)) / 4)
#define EXCHANGED_ALL (EXCHANGED + LEVEL_WORDS + 4)

struct DecodeStep {
  const u64* phases;       // [phase]{weights, scales}
  const float* norms;      // [2 * LAYERS + 1][HIDDEN]
  const float* head_norms; // [LAYERS][2][HEAD_DIM]
  // In page-locked memory of the host, like `best` and `dropped`: each copy would take longer.
  const float* x;          // [n][HIDDEN]: what comes in
  const float* rotations;  // [n][HEAD_DIM]
  float* exchange;         // [LAYERS + 1][rows * EXCHANGED_ALL]
  float* used;             // the same of the step before
  u64* partials;           // [n][splits_max][HEADS][SPLIT_WIDTH], tagged
  const u64* pages;        // [slots][pages_max]
  float* logits;           // [n][VOCAB]
  u64* best;               // [n][BEST][blocks]: packed candidates
  float* dropped;          // [n][blocks]: largest logit that is no candidate
  u32 tag;                 // of layer 0; the next layers count on
  int rows;                // tokens that the exchange has room for
  int used_n;              // tokens that the kernel of the step before is for: so many rows it leaves
  int pages_max;
  int n;
  int wants_logits;
  int positions[8];
  int slots[8];
  // Of the sequence's first token in this step. Its others follow it, one position each.
  int first_positions[8];
};

// Where the tokens of one layer leave what the next phase reads; each [rows][size]. Behind the last
// layer there is one more, for what the output head reads.
struct Exchange {
  float* base;
  int rows;
  __device__ __forceinline__ Exchange(float* all, int n, int layer)
      : base(all + (size_t)layer * n * EXCHANGED_ALL), rows(n) {}
  // Computed where it is used: kept in registers, it would push out more.
  __device__ __forceinline__ float* at(int word_of_row) const {
    int n = rows;
    asm volatile("" : "+r"(n));
    return base + n * word_of_row;
  }
  __device__ __forceinline__ float* qkv() const { return at(0); }
  __device__ __forceinline__ float* attended() const { return at(QKV_ROWS); }
  __device__ __forceinline__ float* middle() const { return at(QKV_ROWS + Q_SIZE); }
  __device__ __forceinline__ float* gated() const { return at(QKV_ROWS + Q_SIZE + HIDDEN); }
  __device__ __forceinline__ float* x() const { return at(EXCHANGED - HIDDEN); }
  // What phase `kind` of a layer reads, quantised: [rows][PADDED(k) / 4].
  __device__ __forceinline__ u32* levels(int kind = 0) const {
    const int before = kind == 0   ? 0
                       : kind == 1 ? PADDED(HIDDEN)
                       : kind == 2 ? PADDED(HIDDEN) + PADDED(Q_SIZE)
                                   : 2 * PADDED(HIDDEN) + PADDED(Q_SIZE);
    return reinterpret_cast<u32*>(at(EXCHANGED + before / 4));
  }
  // And its scales: [rows].
  __device__ __forceinline__ float* scales(int kind) const {
    return at(EXCHANGED + LEVEL_WORDS + kind);
  }
};

// A quantised row that other blocks wait for.
struct ToldRow {
  u32* levels;
  float *scale, *own_scale;
  static constexpr bool HAS_RIVALS = false;
  __device__ __forceinline__ void put(int vector, u32 word) const {
    tell_levels(levels + vector, word);
  }
  __device__ __forceinline__ void put_scale(float unit) const {
    tell(scale, unit);
    *own_scale = unit;
  }
};

// The residual stream of one token, to which what a phase added up is added when all parts have come. Each
// thread keeps its own elements in `residual`, which nobody else reads.
template <int K, int PARTS>
struct SummedRow {
  const float* sums;
  float* residual;
  float x_scale;  // of the levels that were multiplied
  float4 row_scales[ROW_ITEMS(K)], before[ROW_ITEMS(K)];

  __device__ __forceinline__ SummedRow(const float* sums, float* residual, float x_scale,
                                       const float* scales)
      : sums(sums), residual(residual), x_scale(x_scale) {
#pragma unroll
    for (int i = 0; i < ROW_ITEMS(K); i++) {
      const int vector = i * THREADS + thread_now();
      row_scales[i] = make_float4(0.f, 0.f, 0.f, 0.f);
      before[i] = make_float4(0.f, 0.f, 0.f, 0.f);
      if (vector >= K / 4) continue;
      row_scales[i] = far_constant4(scales + vector * 4);
      before[i] = now4(residual + vector * 4);
    }
  }
  __device__ __forceinline__ float4 ask(int, int vector) const {
    return now4(sums + vector * 4);
  }
  __device__ __forceinline__ void await_one(int, int) const {}
  __device__ __forceinline__ bool is_missing(const float4& v) const {
    return is_partial<PARTS>(v.x) | is_partial<PARTS>(v.y) | is_partial<PARTS>(v.z) |
           is_partial<PARTS>(v.w);
  }
  __device__ __forceinline__ float4 numbers(int i, int vector, const float4& v) const {
    float4 x = before[i];
    const float4& scales = row_scales[i];
    x.x = x.x + dequantized(sum_of_parts<PARTS>(v.x), x_scale, scales.x);
    x.y = x.y + dequantized(sum_of_parts<PARTS>(v.y), x_scale, scales.y);
    x.z = x.z + dequantized(sum_of_parts<PARTS>(v.z), x_scale, scales.z);
    x.w = x.w + dequantized(sum_of_parts<PARTS>(v.w), x_scale, scales.w);
    *reinterpret_cast<float4*>(residual + vector * 4) = x;
    return x;
  }
};

// Partial results of attention with the tag of their layer; the block with the newest tokens adds
// them up. It waits for items of lower number only, and blocks take items in order: so they end.
struct TaggedPartials {
  u64* words;
  u32 tag;
  __device__ __forceinline__ void put(size_t at, float value) { tell_tagged(words + at, value, tag); }
  // `n` splits' results for element `i` of the head whose first split's results are at `head`.
  __device__ __forceinline__ void get(size_t head, int i, int n, SplitSum* into) {
    const u64* first = words + head;
    constexpr size_t NEXT = (size_t)HEADS * SPLIT_WIDTH;
    bool complete;
    do {
      u64 held[SPLITS_AT_ONCE][3];
      complete = true;
#pragma unroll
      for (int p = 0; p < SPLITS_AT_ONCE; p++) {
        if (p >= n) continue;
        held[p][0] = now_tagged(first + p * NEXT + HEAD_DIM);
        held[p][1] = now_tagged(first + p * NEXT + HEAD_DIM + 1);
        held[p][2] = now_tagged(first + p * NEXT + i);
      }
#pragma unroll
      for (int p = 0; p < SPLITS_AT_ONCE; p++) {
        into[p] = {NEGATIVE_INFINITY, 0.f, 0.f};
        if (p >= n) continue;
        for (int w = 0; w < 3; w++) complete &= (u32)(held[p][w] >> 32) == tag;
        into[p] = {__uint_as_float((u32)held[p][0]), __uint_as_float((u32)held[p][1]),
                   __uint_as_float((u32)held[p][2])};
      }
    } while (!complete);
  }
  __device__ __forceinline__ bool is_mine_to_add(int split, int splits, u32*) {
    return split == splits - 1;
  }
};

// Candidates that one block reports for a token.
#define BEST 4

// Columns that a block multiplies of rows of `k` columns which are sliced, and the parts of each sum.
#define SLICE_OF(k) (PADDED(k) / SLICES_OF(k))
#define PARTS_OF(k) \
  (SLICES_OF(k) > 1 ? SLICES : MIN_OF(WARPS, DIV_UP(UNITS(k), UNITS_OF_WARP)))

// Bytes from the levels of one token to the next's in shared memory: eight tokens lie in different banks.
#define X_STRIDE(columns) ((columns) + 32)
// Columns of the levels that a block holds at a time.
#define HELD_MAX(n) \
  ((n) < TOLD_FROM ? PADDED(K_MAX) : MAX_OF(PADDED(HIDDEN), MAX_OF(SLICE_OF(Q_SIZE), SLICE_OF(FFN))))

// Tiles of a round times WARPS * 16 * N sums.
#define CELLS(n) MAX_OF(4 * WARPS * 16 * (n), 2048)

// A head's part of attention: block `item`, `item + gridDim.x`, .. take one each.
struct Item {
  int t, head, split;
  AttentionToken token;
};

template <int N>
struct DecodeShared {
  union {
    struct {
      __align__(16) i8 x[MAX_OF(N * X_STRIDE(HELD_MAX(N)), THREADS * 4)];
      // Each warp's sums of each tile of a round; the candidates of `report`.
      __align__(16) int cells[CELLS(N)];
    };
    AttentionShared<N> attention;
  };
  float scales[N];  // where each block quantises for itself
  // This block's first tile of a phase of each kind, and their number; of the head's, that changes.
  int firsts[5], counts[4];
  // Scales of each phase's rows.
  const float* scales_of[4 * LAYERS + HEAD_PIECES];
  // Where each block quantises for itself, all rows at once.
  QuantizeShared quantize[N < TOLD_FROM ? N : 1];
  // Of the levels that this block told last.
  float told_scale;
  Item item;  // the first part of attention that is this block's
  int has_item, items;
  u64 barriers[STAGES_MAX * (PIECES_MAX + 1)];
};

enum Epilogue { STORE, ADD, GATE, HEAD };

// Chunks whose weights a warp has in registers before it has what it multiplies them with; more would be spilled, as
// the compilers report. Two tokens leave fewer registers, for each thread has its part of two rows that are to be
// quantised; gate and up (kind 2) have room all the same. sm_80 to sm_89 have room for one chunk everywhere.
#define CHUNKS_HELD(n, kind) (__CUDA_ARCH__ >= 900 && ((n) != 2 || (kind) == 2) ? 2 : 1)
// Chains of sums of a warp: one would wait for itself.
#define CHAINS 2

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

// What a warp has of CHUNKS chunks.
template <int CHUNKS, int BLOCKS>
struct Held {
  static constexpr int COUNT = CHUNKS;
  // To be set on every way that leads to a product: else compilers keep the registers from phase to phase.
  uint4 w[MAX_OF(CHUNKS, 1)][BLOCKS];
};

template <int N, int STAGES>
struct Decoder {
  const DecodeStep& step;
  DecodeShared<N>& s;
#if __CUDA_ARCH__ >= 800
  using StreamOfBlock = Stream<STAGES, N == 1 ? PIECE_OF_ONE : PIECE_OF_MANY>;
  StreamOfBlock stream;
#endif
  // Whether one block a token quantises for all, and blocks multiply slices of columns.
  static constexpr bool IS_TOLD = N >= TOLD_FROM;
  static_assert(!IS_TOLD || UNITS(K_MAX) <= 128, "sums of parts are unmistakable");
  u64 best;       // of the logits this thread has seen, its best
  float dropped;  // and the largest of the others

  __device__ __forceinline__ int tiles_of_block(int phase) const {
    const int kind = phase_kind(phase), step = gridDim.x / (IS_TOLD ? phase_slices(kind) : 1);
    const int first = first_tile<IS_TOLD>(kind), tiles = phase_tiles(phase);
    return first < tiles ? (tiles - 1 - first) / step + 1 : 0;
  }

  // What of a round of tiles becomes this thread's one output.
  template <Epilogue E, int KIND>
  struct Output {
    static constexpr int TILE_OUT = E == GATE ? 8 : 16;
    // Tiles of a round.
    static constexpr int ROUND =
        MIN_OF(CELLS(N) / (WARPS * 16 * N), THREADS / (TILE_OUT * N));
    int row, token, slot, tile;
    // Where the tile's `row` is among all rows.
    int at;
    bool is_there;
    __device__ __forceinline__ Output(const Decoder& d, int phase, int start, int row_base, int rows) {
      const int tid = thread_now();
      row = tid % TILE_OUT, token = tid / TILE_OUT % N, slot = tid / TILE_OUT / N;
      tile = d.s.firsts[KIND] + (start + slot) * gridDim.x;
      at = row_base + tile * TILE_OUT + row;
      is_there = slot < ROUND && tile < kind_tiles<KIND>(phase) && token < d.step.n && at < rows;
    }
  };
  // What an output needs beside its products. Each is a word from far away, so they are asked for
  // before the products' inputs are awaited.
  struct Operands {
    float scale, up_scale, old;
  };
  template <Epilogue E, int KIND>
  __device__ __forceinline__ Operands operands(int phase, int start, int row_base, int rows,
                                               const float* residual) {
    const Output<E, KIND> output(*this, phase, start, row_base, rows);
    Operands needed = {0.f, 0.f, 0.f};
    if (!output.is_there) return needed;
    const float* scales = s.scales_of[phase] + output.tile * 16 + output.row;
    needed.scale = far_constant(scales);
    if (E == GATE) needed.up_scale = far_constant(scales + 8);
    if (E == ADD) needed.old = now(residual + (size_t)output.token * HIDDEN + output.at);
    return needed;
  }

#if __CUDA_ARCH__ >= 800
  // Gives the next `chunks` chunks of the stream, at least one, a warp's part of each, to `multiply`.
  template <class Multiply>
  __device__ __forceinline__ void take_chunks(int chunks, int warp, int lane, Multiply multiply) {
    // One stage would be taken from and waited for at once.
    if constexpr (STAGES > 1) {
      uint4 even[CHUNK_BLOCKS], odd[CHUNK_BLOCKS];
      // Each way through the loop multiplies what it took, for the reason that `Held` gives.
      int of_even = stream.take(even, warp, lane), of_odd;
#pragma unroll 1
      for (int left = chunks;; left -= 2) {
        if (left == 1) {
          multiply(even);
          stream.give_back(of_even);
          break;
        }
        of_odd = stream.take(odd, warp, lane);
        multiply(even);
        stream.give_back(of_even);
        if (left == 2) {
          multiply(odd);
          stream.give_back(of_odd);
          break;
        }
        of_even = stream.take(even, warp, lane);
        multiply(odd);
        stream.give_back(of_odd);
      }
    } else {
#pragma unroll 1
      for (int chunk = 0; chunk < chunks; chunk++) {
        uint4 w[CHUNK_BLOCKS];
        const int taken = stream.take(w, warp, lane);
        multiply(w);
        stream.give_back(taken);
      }
    }
  }
#endif

  // What gate and up need, of which there is a second round almost always.
  struct GateOperands {
    Operands first, second;
  };
  __device__ __forceinline__ GateOperands gate_operands(int phase) {
    return {operands<GATE, 2>(phase, 0, 0, FFN, nullptr),
            operands<GATE, 2>(phase, Output<GATE, 2>::ROUND, 0, FFN, nullptr)};
  }

  // Takes a warp's part of the first chunks of a phase of kind KIND, or of those that there are, and gives them back at
  // once: products come much later, and the ring would stand still. Where a warp's piece of chunks is not the same in
  // all phases, as in `run_told`, the block has met before (`wait_whole`); in `run` it is.
  template <int K, int KIND>
  __device__ __forceinline__ Held<CHUNKS_HELD(N, KIND), CHUNK_BLOCKS> hold() {
    Held<CHUNKS_HELD(N, KIND), CHUNK_BLOCKS> held;
#if __CUDA_ARCH__ >= 800
    const int warp = thread_now() >> 5, lane = thread_now() & 31;
    const int chunks = s.counts[KIND] * DIV_UP(UNITS(K), CHUNK_UNITS);
#pragma unroll
    for (int i = 0; i < held.COUNT; i++)
      if (i < chunks) {
        stream.give_back(stream.take(held.w[i], warp, lane));
      } else {
#pragma unroll
        for (int block = 0; block < CHUNK_BLOCKS; block++) held.w[i][block] = make_uint4(0u, 0u, 0u, 0u);
      }
#endif
    return held;
  }

  // One phase's products: every tile of this block, a round of tiles at a time. `needed` is what the
  // first round needs, `second` what that behind it does, if that is known by now; `held` has its first weights.
  template <int K, Epilogue E, int KIND, int HELD>
  __device__ __forceinline__ void products(Operands needed, const Held<HELD, CHUNK_BLOCKS>& held, int phase,
                                           int row_base, float* out, int out_stride, int rows,
                                           const float* residual = nullptr, Operands second = {}) {
    const int tid = thread_now();
    // Where one block quantised a row for all, its scale comes a little behind it: it is asked for here,
    // and has come when the products have their sums.
    const Exchange of_layer(step.exchange, step.rows, E == HEAD ? LAYERS : phase / 4);
    const float* told_scale =
        of_layer.scales(E == HEAD ? 0 : KIND) + tid / Output<E, KIND>::TILE_OUT % N;
    float x_scale = IS_TOLD ? now(told_scale) : 0.f;
    constexpr int STRIDE = X_STRIDE(PADDED(K)), KU = UNITS(K), TILE_CELLS = 16 * N;
    constexpr int ROUND = Output<E, KIND>::ROUND;
    const int warp = tid >> 5, lane = tid & 31;
    const int count = E == HEAD ? tiles_of_block(phase) : s.counts[KIND];
#if __CUDA_ARCH__ >= 800
    static_assert(N <= 8, "one block of tokens");
    constexpr int TILE_CHUNKS = DIV_UP(KU, CHUNK_UNITS);
    constexpr int SUMMING_WARPS = MIN_OF(WARPS, DIV_UP(KU, UNITS_OF_WARP));
#else
    constexpr int SUMMING_WARPS = MIN_OF(WARPS, KU);
#endif
#if __CUDA_ARCH__ >= 800
    const i8* x_of_lane = s.x + warp * UNITS_OF_WARP * UNIT_COLS;
    int* cells = s.cells + warp * TILE_CELLS;
    int of_tile = 0;
    uint2 x[CHUNK_BLOCKS];
    int sums[CHAINS][SUMS(N)];
    auto clear = [&] {
#pragma unroll
      for (int i = 0; i < CHAINS * SUMS(N); i++) sums[i / SUMS(N)][i % SUMS(N)] = 0;
    };
    auto fetch_columns = [&](int chunk) {
#pragma unroll
      for (int i = 0; i < CHUNK_BLOCKS; i++) {
        const int unit = chunk * CHUNK_UNITS + warp * UNITS_OF_WARP + i / UNIT_BLOCKS;
        x[i] = KU % CHUNK_UNITS == 0 || unit < KU
                   ? columns(x_of_lane + chunk * CHUNK_UNITS * UNIT_COLS + i * 32, STRIDE, step.n)
                   : make_uint2(0u, 0u);
      }
    };
    auto multiply_chunk = [&](const uint4 (&w)[CHUNK_BLOCKS]) {
      if (TILE_CHUNKS > 1) fetch_columns(of_tile);
#pragma unroll
      for (int i = 0; i < CHUNK_BLOCKS; i++) multiply_add(sums[i % CHAINS], w[i], x[i]);
      if (++of_tile < TILE_CHUNKS) return;
      of_tile = 0;
#pragma unroll
      for (int i = 0; i < SUMS(N); i++)
#pragma unroll
        for (int c = 1; c < CHAINS; c++) sums[0][i] += sums[c][i];
      if (warp < SUMMING_WARPS) put_cells<N>(sums[0], cells, N, step.n);
      cells += WARPS * TILE_CELLS;
      clear();
    };
    clear();
    if (TILE_CHUNKS == 1) fetch_columns(0);
    static_assert(HELD <= ROUND * TILE_CHUNKS, "of the first round");
#pragma unroll
    for (int i = 0; i < HELD; i++)
      if (i < count * TILE_CHUNKS) multiply_chunk(held.w[i]);
#endif
    for (int start = 0; start < count; start += ROUND) {
      const int in_round = min(ROUND, count - start);
      Operands next = {0.f, 0.f, 0.f};
      if (E == GATE && start == 0) next = second;
      else if (start + ROUND < count)
        next = operands<E, KIND>(phase, start + ROUND, row_base, rows, residual);
#if __CUDA_ARCH__ >= 800
      const int chunks = in_round * TILE_CHUNKS - (start == 0 ? HELD : 0);
      if (HELD == 0 || chunks > 0) take_chunks(chunks, warp, lane, multiply_chunk);
      cells = s.cells + warp * TILE_CELLS;
#else
      for (int j = 0; j < in_round; j++) {
        // Two chains of sums: one would wait for itself.
        int sums[2][SUMS(N)];
#pragma unroll
        for (int i = 0; i < SUMS(N); i++) sums[0][i] = sums[1][i] = 0;
        const int at_tile = s.firsts[KIND] + (start + j) * gridDim.x;
        for (int unit = warp; unit < KU; unit += WARPS) {
          const i8* x = s.x + unit * UNIT_COLS;
          const i8* base = reinterpret_cast<const i8*>(__ldg(step.phases + 2 * phase)) +
                           ((size_t)at_tile * KU + unit) * UNIT_BYTES;
          uint4 a[UNIT_BLOCKS];
#pragma unroll
          for (int i = 0; i < UNIT_BLOCKS; i++)
            a[i] = __ldg(reinterpret_cast<const uint4*>(base) + i * 32 + lane);
#pragma unroll
          for (int i = 0; i < UNIT_BLOCKS; i++)
            multiply<N>(sums[i & 1], a[i], x + i * 32, STRIDE, step.n);
        }
#pragma unroll
        for (int i = 0; i < SUMS(N); i++) sums[0][i] += sums[1][i];
        if (warp < SUMMING_WARPS)
          put_cells<N>(sums[0], s.cells + (j * WARPS + warp) * TILE_CELLS, N, step.n);
      }
#endif
      block_sync();
      const Output<E, KIND> output(*this, phase, start, row_base, rows);
      auto sum = [&](int of_row) {
        const int* cell = s.cells + output.slot * WARPS * TILE_CELLS + of_row * N + output.token;
        int all = 0;
#pragma unroll
        for (int w = 0; w < SUMMING_WARPS; w++) all += cell[w * TILE_CELLS];
        return all;
      };
      if (output.is_there) {
        if (!IS_TOLD) x_scale = s.scales[output.token];
        while (IS_TOLD && is_untold(x_scale)) x_scale = now(told_scale);
        float v = dequantized(sum(output.row), x_scale, needed.scale);
        if (E == ADD) {
          static_assert(E != ADD || !IS_TOLD, "whoever quantises has what is added to");
          v = needed.old + v;
        }
        if (E == GATE)
          v = silu_times(v, dequantized(sum(output.row + 8), x_scale, needed.up_scale));
        tell(out + (size_t)output.token * out_stride + output.at, v);
        if (E == HEAD) remember(v, output.at);
      }
      needed = next;
      if (start + ROUND < count) block_sync();
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
    block_sync();
    u64* all = reinterpret_cast<u64*>(s.cells);  // [THREADS]
    static_assert(sizeof(s.cells) >= THREADS * sizeof(u64), "a candidate a thread");
    float* all_dropped = reinterpret_cast<float*>(s.x);
    all[threadIdx.x] = best;
    all_dropped[threadIdx.x] = dropped;
    block_sync();
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
        if (lane == 0) step.best[((size_t)warp * BEST + b) * gridDim.x + blockIdx.x] = top;
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

  // Rows as the products of a phase want them, where each block quantises all.
  template <int K, bool NORM>
  __device__ __forceinline__ void quantize(const float* rows, const float* weight) {
    PlainRow out[N];
#pragma unroll
    for (int t = 0; t < N; t++) out[t] = {s.x + t * X_STRIDE(PADDED(K)), s.scales + t};
    quantize_rows<K, NORM>(FloatRows<K, true>{rows}, step.n, weight, out, s.quantize);
  }

  // The token that this block quantises for all, or one that is not.
  __device__ __forceinline__ int told_token() const { return gridDim.x - 1 - block_now(); }
  // Its residual stream: behind the last layer, where the rows that come in lie if all read them.
  __device__ __forceinline__ float* residual() {
    return Exchange(step.exchange, step.rows, LAYERS).x() + (size_t)told_token() * HIDDEN;
  }
  // What is added to the rows that come in.
  __device__ __forceinline__ float* nothing() {
    return Exchange(step.exchange, step.rows, LAYERS).middle();
  }
  // Tells what phase `kind` reads of that token, out of `row`.
  template <int K, bool NORM, class Row>
  __device__ __forceinline__ void tell_row(int kind, const Exchange& e, const Row& row,
                                           const float* weight) {
    const int t = told_token();
    const ToldRow out[1] = {{e.levels(kind) + (size_t)t * (PADDED(K) / 4), e.scales(kind) + t,
                             &s.told_scale}};
    quantize_rows<K, NORM>(row, 1, weight, out, s.quantize);
  }
  // The same where the row is what phase `of` added to the residual stream out of rows of K columns.
  template <int K>
  __device__ __forceinline__ void tell_residual(int kind, const Exchange& e, const float* sums, int of,
                                                const float* weight) {
    if (told_token() >= step.n) return;
    const SummedRow<HIDDEN, PARTS_OF(K)> row(sums + (size_t)told_token() * HIDDEN, residual(),
                                             s.told_scale, s.scales_of[of]);
    tell_row<HIDDEN, true>(kind, e, row, weight);
  }
  // And where it is told as floats.
  template <int K>
  __device__ __forceinline__ void tell_floats(int kind, const Exchange& e, const float* rows) {
    if (told_token() >= step.n) return;
    tell_row<K, false>(kind, e, FloatRows<K, true>{rows + (size_t)told_token() * K}, nullptr);
  }

  // Fetches the levels that phase `kind` reads, of rows of K columns: this block's slice of them. The block has met
  // since it multiplied those that lie where they go.
  template <int K, int SLICES_HERE>
  __device__ __forceinline__ void take_levels(int kind, const Exchange& e) {
    const int tid = thread_now();
    constexpr int COLUMNS = PADDED(K) / SLICES_HERE, STRIDE = X_STRIDE(COLUMNS), OF_ROW = COLUMNS / 16;
    constexpr int AT_ONCE = MIN_OF(LEVELS_AT_ONCE, DIV_UP(N * OF_ROW, THREADS));
    const int all = step.n * OF_ROW;
    const int block = block_now();
    const u32* levels = e.levels(kind) + block % SLICES_HERE * (COLUMNS / 4);
    // Where vector `at` of the slice is, among those of all columns.
    const auto from = [&](int at) { return levels + (at / OF_ROW * (PADDED(K) / 16) + at % OF_ROW) * 4; };
    for (int first = tid; first < all; first += THREADS * AT_ONCE) {
      uint4 held[AT_ONCE];
#pragma unroll
      for (int i = 0; i < AT_ONCE; i++) {
        held[i] = make_uint4(0u, 0u, 0u, 0u);
        if (first + i * THREADS < all) held[i] = levels_now(from(first + i * THREADS));
      }
      bool complete;
      do {
        complete = true;
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
          if (is_untold(held[i])) {
            held[i] = levels_now(from(first + i * THREADS));
            complete = false;
          }
      } while (!complete);
#pragma unroll
      for (int i = 0; i < AT_ONCE; i++) {
        const int at = first + i * THREADS;
        if (at < all) *reinterpret_cast<uint4*>(s.x + at / OF_ROW * STRIDE + at % OF_ROW * 16) = held[i];
      }
    }
    block_sync();
  }

  // How a phase of rows of K columns, [N][ROWS] in the end, is shared out where blocks add up sums.
  template <int K, int KIND, int ROWS>
  struct Parts {
    static constexpr bool IS_SLICED = SLICES_OF(K) > 1;
    static constexpr int KU = UNITS(SLICE_OF(K));
    // Warps that share a tile: all; or two, each half of a piece of a chunk; or none where a slice is one piece.
    static constexpr int OF_TILE = !IS_SLICED ? WARPS : KU == PIECE_OF_MANY ? 1 : 2;
    static constexpr int UNITS_AT_ONCE = OF_TILE == 1 ? PIECE_OF_MANY : UNITS_OF_WARP;
    static constexpr int BLOCKS = UNITS_AT_ONCE * UNIT_BLOCKS;
    // Units of a tile that a chunk has, chunks until a tile is done, and tiles of which a chunk has pieces.
    static constexpr int OF_CHUNK = OF_TILE * UNITS_AT_ONCE, CHUNKS = DIV_UP(KU, OF_CHUNK);
    static constexpr int IN_CHUNK = IS_SLICED ? SLICES : 1;
    // Chunks of which a warp holds its part: of its first tile.
    static constexpr int HELD = MIN_OF(CHUNKS_HELD(N, KIND), OF_TILE == 1 ? 1 : CHUNKS);
    using Weights = Held<HELD, BLOCKS>;
    // Where a warp has a whole piece, the others are the other half's.
    static constexpr int HALVES = OF_TILE == 1 ? 2 : 1;
    static __device__ __forceinline__ bool is_mine(int chunk, int warp) {
      return HALVES == 1 || chunk % 2 == warp / SLICES;
    }
    static constexpr int TILES = KIND == 0 ? QKV_TILES : HIDDEN_TILES;
    float* to;  // where the lane's sums of the warp's current tile go
    int tile, chunks;
    __device__ __forceinline__ Parts(const Decoder& d, float* out) {
      tile = d.s.firsts[KIND] + (thread_now() >> 5) / OF_TILE * step();
      to = out + first_part<ROWS>() + tile * TILE_ROWS;
      chunks = DIV_UP(d.s.counts[KIND], IN_CHUNK) * CHUNKS;
      // Here, and not where it is used: nothing is left to do when levels come.
      asm volatile("" : "+l"(to), "+r"(tile), "+r"(chunks));
    }
    __device__ __forceinline__ void next() {
      constexpr int WARP_TILES = WARPS / OF_TILE;
      tile += WARP_TILES * step(), to += WARP_TILES * step() * TILE_ROWS;
    }

   private:
    static __device__ __forceinline__ int step() { return gridDim.x / SLICES_OF(K); }
  };
#if __CUDA_ARCH__ >= 800
  // Waits for the warp's part of a chunk. Which piece that is changes from phase to phase here. It may, as
  // `wait_whole` says, since the block meets between any two phases: by then all pieces of the one before have come.
  template <class P>
  __device__ __forceinline__ const i8* wait_part(int warp, int lane) {
    return stream.wait(P::OF_TILE > 1 ? warp : warp % SLICES * 2) + lane * 16;
  }
#endif
  // As the other `hold`.
  template <class P>
  __device__ __forceinline__ typename P::Weights hold(const P& parts) {
    typename P::Weights held = {};
#if __CUDA_ARCH__ >= 800
    const int warp = thread_now() >> 5, lane = thread_now() & 31;
#pragma unroll
    for (int chunk = 0; chunk < P::HELD * P::HALVES; chunk++) {
      if (chunk >= parts.chunks) continue;
      const i8* from = wait_part<P>(warp, lane);
      if (P::is_mine(chunk, warp))
#pragma unroll
        for (int i = 0; i < P::BLOCKS; i++)
          held.w[chunk / P::HALVES][i] = *reinterpret_cast<const uint4*>(from + i * 512);
      stream.give_back();
    }
#endif
    return held;
  }
  // Adds this block's part to the sums of such a phase: its slice of the columns. Each word of memory gets few parts
  // from few warps, for it is these additions that take long.
  template <int K, int KIND, int ROWS>
  __device__ __forceinline__ void add_products(Parts<K, KIND, ROWS> parts, int phase,
                                               const typename Parts<K, KIND, ROWS>::Weights& held) {
    using P = Parts<K, KIND, ROWS>;
    constexpr int STRIDE = X_STRIDE(SLICE_OF(K));
    const int warp = thread_now() >> 5, lane = thread_now() & 31;
    const int first_unit = warp % P::OF_TILE * P::UNITS_AT_ONCE;
    const bool has_units = first_unit < P::KU;
    const i8* x_of_lane = s.x + first_unit * UNIT_COLS;
    int turn = 0;
    const auto put = [&](int* sums) {
      bool adds = parts.tile < P::TILES && has_units;
      if (P::OF_TILE == 2) {
        // The first of the two adds for both. Two places take turns, so that it may read while the other goes on.
        int* const cells = s.cells + ((turn ^= 1) * WARPS / 2 + warp / 2) * SUMS(N) * 32 + lane;
        static_assert(CELLS(N) >= WARPS * SUMS(N) * 32, "room for both");
#pragma unroll
        for (int i = 0; i < SUMS(N); i++)
          if (warp % 2 == 1) cells[i * 32] = sums[i];
        block_sync();
        adds &= warp % 2 == 0;
#pragma unroll
        for (int i = 0; i < SUMS(N); i++)
          if (adds) sums[i] += cells[i * 32];
      }
      if (adds) add_parts<N, ROWS>(sums, parts.to, ROWS - parts.tile * TILE_ROWS);
      parts.next();
    };
#if __CUDA_ARCH__ >= 800
    uint2 x[P::BLOCKS];
    int of_tile = 0, sums[CHAINS][SUMS(N)] = {};
    const auto fetch_columns = [&](int chunk) {
#pragma unroll
      for (int i = 0; i < P::BLOCKS; i++) {
        const int unit = chunk * P::OF_CHUNK + i / UNIT_BLOCKS;
        x[i] = P::KU % P::OF_CHUNK == 0 || first_unit + unit < P::KU
                   ? columns(x_of_lane + chunk * P::OF_CHUNK * UNIT_COLS + i * 32, STRIDE, step.n)
                   : make_uint2(0u, 0u);
      }
    };
    const auto multiply_part = [&](const uint4 (&w)[P::BLOCKS]) {
      if (P::CHUNKS > 1) fetch_columns(of_tile);
#pragma unroll
      for (int i = 0; i < P::BLOCKS; i++) multiply_add(sums[i % CHAINS], w[i], x[i]);
      if (++of_tile < P::CHUNKS) return;
      of_tile = 0;
#pragma unroll
      for (int i = 0; i < SUMS(N); i++) sums[0][i] += sums[1][i];
      put(sums[0]);
#pragma unroll
      for (int i = 0; i < CHAINS * SUMS(N); i++) sums[i / SUMS(N)][i % SUMS(N)] = 0;
    };
    if (P::CHUNKS == 1) fetch_columns(0);
#pragma unroll
    for (int chunk = 0; chunk < P::HELD * P::HALVES; chunk++)
      if (chunk < parts.chunks && P::is_mine(chunk, warp)) multiply_part(held.w[chunk / P::HALVES]);
#pragma unroll 1
    for (int chunk = P::HELD * P::HALVES; chunk < parts.chunks; chunk++) {
      const i8* from = wait_part<P>(warp, lane);
      if (P::is_mine(chunk, warp)) {
        uint4 w[P::BLOCKS];
#pragma unroll
        for (int i = 0; i < P::BLOCKS; i++) w[i] = *reinterpret_cast<const uint4*>(from + i * 512);
        multiply_part(w);
      }
      stream.give_back();
    }
#else
    // The same number of times for each warp, for `put` may be a meeting.
    for (int left = DIV_UP(s.counts[KIND], WARPS / P::OF_TILE); left > 0; left--) {
      int sums[2][SUMS(N)] = {};
      for (int chunk = 0; chunk < P::CHUNKS; chunk++)
#pragma unroll
        for (int i = 0; i < P::BLOCKS; i++) {
          const int unit = chunk * P::OF_CHUNK + i / UNIT_BLOCKS;
          if (parts.tile >= P::TILES || first_unit + unit >= P::KU) continue;
          const size_t at = (size_t)parts.tile * UNITS(K) + blockIdx.x % SLICES_OF(K) * P::KU +
                            first_unit + unit;
          const i8* base =
              reinterpret_cast<const i8*>(__ldg(step.phases + 2 * phase)) + at * UNIT_BYTES;
          const uint4 w = __ldg(reinterpret_cast<const uint4*>(base) + i % UNIT_BLOCKS * 32 + lane);
          multiply<N>(sums[i & 1], w, x_of_lane + unit * UNIT_COLS + i % UNIT_BLOCKS * 32, STRIDE,
                      step.n);
        }
#pragma unroll
      for (int i = 0; i < SUMS(N); i++) sums[0][i] += sums[1][i];
      put(sums[0]);
    }
#endif
  }

  // Makes what the step before left in a layer AWAITED or UNTOLD again. By one warp of each block.
  __device__ __forceinline__ void forget(int layer) {
    const Exchange used(step.used, step.rows, layer);
    const int first = blockIdx.x * 32 + (threadIdx.x & 31), all = gridDim.x * 32;
    constexpr auto four = [](u32 word) { return make_uint4(word, word, word, word); };
    auto clear = [&](float* rows, int size) {
      for (int i = first; i < step.used_n * size / 4; i += all)
        reinterpret_cast<uint4*>(rows)[i] = four(AWAITED);
    };
    clear(used.qkv(), QKV_ROWS), clear(used.attended(), Q_SIZE), clear(used.middle(), HIDDEN);
    clear(used.gated(), FFN), clear(used.x(), HIDDEN);
    // What was quantised for all lies together, so all of it goes, if the kernel was one that does so.
    if (step.used_n >= TOLD_FROM)
      for (int i = first; i < step.rows * (LEVEL_WORDS + 4) / 4; i += all)
        reinterpret_cast<uint4*>(used.levels())[i] = four(UNTOLD);
  }

  // Brings what a layer needs beside its weights near: what has been cleared long ago has gone to memory, and
  // whoever adds to it, or reads what was written of it in part, would wait until it is back. By one warp of each
  // block.
  __device__ __forceinline__ void expect(int layer) {
    const Exchange e(step.exchange, step.rows, layer);
    constexpr int LINE = 128 / sizeof(float);
    int line = blockIdx.x * 32 + (threadIdx.x & 31);
    const int all = gridDim.x * 32;
    // Lines are counted on from one array to the next, so that each lane has some.
    auto fetch = [&](const float* words, int n) {
      const int lines = DIV_UP(n, LINE);
      for (; line < lines; line += all)
        asm volatile("prefetch.global.L2 [%0];" ::"l"(words + line * LINE));
      line -= lines;
    };
    if (IS_TOLD) {
      fetch(e.qkv(), N * QKV_ROWS), fetch(e.middle(), N * HIDDEN), fetch(e.x(), N * HIDDEN);
      fetch(e.scales(0), 4 * N);
    }
    fetch(step.norms + (size_t)layer * 2 * HIDDEN, 2 * HIDDEN);
    fetch(step.head_norms + layer * 2 * HEAD_DIM, 2 * HEAD_DIM);
  }

  __device__ __forceinline__ int attention_items() {
    int splits_max = 1;
    for (int t = 0; t < step.n; t++) splits_max = max(splits_max, step.positions[t] / SPLIT + 1);
    return step.n * HEADS * splits_max;
  }
  __device__ __forceinline__ bool attention_item(int number, Item& item) {
    item.split = number / (step.n * HEADS);
    const int pair = number % (step.n * HEADS);
    item.t = pair / HEADS, item.head = pair % HEADS;
    item.token.position = step.positions[item.t];
    item.token.first_new = step.first_positions[item.t];
    if (item.split > item.token.position / SPLIT) return false;
    item.token.rotation = rotations() + (size_t)item.t * HEAD_DIM;
    item.token.page = __ldg(step.pages + (size_t)step.slots[item.t] * step.pages_max +
                            item.split / (PAGE / SPLIT));
    return true;
  }

  __device__ __forceinline__ void attention(int layer, const Exchange& e) {
#pragma unroll 1
    for (int number = blockIdx.x; number < s.items; number += gridDim.x) {
      Item item = s.item;
      if (number == (int)blockIdx.x ? s.has_item : attention_item(number, item))
        attend_item(layer, e, item);
    }
  }
  __device__ __forceinline__ void attend_item(int layer, const Exchange& e, const Item& item) {
    AttentionToken token = item.token;
    token.q = e.qkv() + (size_t)item.t * QKV_ROWS;
    token.x_scale = e.scales(0) + item.t;
    token.row_scales = s.scales_of[4 * layer];
    const TaggedPartials partials = {
        step.partials +
            (size_t)item.t * step.pages_max * (PAGE / SPLIT) * HEADS * SPLIT_WIDTH,
        step.tag + layer};
#if __CUDA_ARCH__ >= 800
    StreamRows rows = {stream};
#else
    const PageRows rows(token, layer, item.head / GROUP, item.split);
#endif
    attend<IS_TOLD ? PARTS_OF(HIDDEN) : AS_AWAITED, N>(s.attention, token, rows, layer, item.head, item.split,
                    step.head_norms + layer * 2 * HEAD_DIM,
                    step.head_norms + (layer * 2 + 1) * HEAD_DIM,
                    e.attended() + (size_t)item.t * Q_SIZE, partials);
  }

#if __CUDA_ARCH__ >= 800
  // Old keys and values of a split come with the stream, behind the weights of q, k and v: they do not
  // depend on this step. Each are SPLIT_CHUNKS chunks, and the keys of a warp are in one piece of one.
  struct StreamRows {
    StreamOfBlock& stream;

    __device__ __forceinline__ const i8* keys() { return enter(); }
    __device__ __forceinline__ void end_keys() { leave(); }
    __device__ __forceinline__ const i8* values(int) {
      stream.wait_whole();
      return stream.bytes + stream.stage * CHUNK_BYTES;
    }
    __device__ __forceinline__ void end_values() { stream.give_back(); }

   private:
    // Where the warp's rows begin.
    static __device__ __forceinline__ int first_byte() {
      static_assert(WARP_KEYS * ROW_BYTES <= PIECE_OF_MANY * UNIT_BYTES, "in one piece");
      return (thread_now() >> 5) * WARP_KEYS * ROW_BYTES;
    }
    __device__ __forceinline__ void pass(int chunks) {
#pragma unroll 1
      for (int i = 0; i < chunks; i++) end_chunk();
    }
    __device__ __forceinline__ void end_chunk() {
      if (SPLIT * ROW_BYTES != CHUNK_BYTES) stream.wait_whole();
      else stream.wait(thread_now() >> 5);
      stream.give_back();
    }
    // The first of all keys, as if the warp's were not the only ones here.
    __device__ __forceinline__ const i8* enter() {
      constexpr int PART = UNITS_OF_WARP * UNIT_BYTES;
      const int first = first_byte(), here = first % CHUNK_BYTES;
      pass(first / CHUNK_BYTES);
      return stream.wait(here / PART) + here % PART - first;
    }
    __device__ __forceinline__ void leave() {
      end_chunk();
      pass(SPLIT_CHUNKS - 1 - first_byte() / CHUNK_BYTES);
    }
  };

  // Sends what `attention` takes, in the same order. `first` is the block's first part, if it has one.
  template <class Send>
  __device__ __forceinline__ void send_keys(int layer, const Item& first, bool has_first, Send send) {
    const int items = attention_items();
#pragma unroll 1
    for (int number = blockIdx.x; number < items; number += gridDim.x) {
      Item item = first;
      if (!(number == (int)blockIdx.x ? has_first : attention_item(number, item))) continue;
      const int count = min(SPLIT, first_own_of(item.token, item.split));
      const PageRows rows(item.token, layer, item.head / GROUP, item.split);
      send(rows.keys(), SPLIT_CHUNKS, count * ROW_BYTES);
      send(rows.values(0), SPLIT_CHUNKS, ROUND_UP(count, 4) * ROW_BYTES);
    }
  }
#endif

  // Behind the last layer there is room for what comes in: the rows themselves where the residual
  // stream lies, rotations where attention's results lie.
  __device__ __forceinline__ float* rotations() {
    return Exchange(step.exchange, step.rows, LAYERS).attended();
  }

  // One block a token fetches it from the host, and tells all; or keeps it where it quantises for all.
  __device__ __forceinline__ void bring_inputs(const Exchange& last) {
    static_assert(Q_SIZE >= HEAD_DIM, "rotations fit");
    for (int t = IS_TOLD ? told_token() : blockIdx.x; t < step.n; t += gridDim.x) {
      // All of it is asked for at once: it takes a microsecond or two to come.
      constexpr int EACH = DIV_UP(HIDDEN, 4 * THREADS);
      const float* x = step.x + t * HIDDEN;
      float4 held[EACH], rotation;
#pragma unroll
      for (int i = 0; i < EACH; i++) {
        const int at = 4 * (i * THREADS + threadIdx.x);
        if (at < HIDDEN) held[i] = from_host4(x + at);
      }
      const int at = 4 * threadIdx.x;
      if (at < HEAD_DIM) rotation = from_host4(step.rotations + t * HEAD_DIM + at);
#pragma unroll
      for (int i = 0; i < EACH; i++) {
        const int at = 4 * (i * THREADS + threadIdx.x);
        if (at >= HIDDEN) continue;
        if (!IS_TOLD) {
          tell4(last.x() + t * HIDDEN + at, held[i]);
          continue;
        }
        const float none = nothing_added<PARTS_OF(FFN)>();
        *reinterpret_cast<float4*>(residual() + at) = held[i];
        *reinterpret_cast<float4*>(nothing() + t * HIDDEN + at) = make_float4(none, none, none, none);
      }
      if (at < HEAD_DIM) tell4(rotations() + t * HEAD_DIM + at, rotation);
    }
    if (threadIdx.x == 0) {
      s.told_scale = 0.f;
      s.items = attention_items();
      s.has_item = (int)blockIdx.x < s.items && attention_item(blockIdx.x, s.item);
    }
    block_sync();
  }
  // Also where a block's first part of attention is none: a later one may be.
  __device__ __forceinline__ void await_rotations() {
    for (int i = threadIdx.x; i < step.n * HEAD_DIM; i += THREADS)
      while (is_awaited(now(rotations() + i))) {
      }
    block_sync();
  }

  // What the phases of a layer work on. It is made anew where it is used, from a layer that the
  // compiler takes for another: kept in registers, it would push out what attention holds.
  struct Here {
    Exchange e;
    const float* x;
    const float* norms;
    int phase;  // of the layer, its first
    __device__ __forceinline__ Here(const DecodeStep& step, int layer)
        : e(step.exchange, step.rows, hidden(layer)), norms(step.norms + (size_t)layer * 2 * HIDDEN),
          phase(4 * layer) {
      // What comes in lies behind the last layer's.
      x = Exchange(step.exchange, step.rows, layer == 0 ? LAYERS : layer - 1).x();
    }
    static __device__ __forceinline__ int hidden(int& layer) {
      asm volatile("" : "+r"(layer));
      return layer;
    }
  };

  // Of few tokens each block quantises all rows, and has whole sums of its tiles.
  __device__ __forceinline__ void run() {
    bring_inputs(Exchange(step.exchange, step.rows, LAYERS));
#pragma unroll 1
    for (int layer = 0; layer < LAYERS; layer++) {
      {
        const Here here(step, layer);
        const Operands needed = operands<STORE, 0>(here.phase, 0, 0, QKV_ROWS, nullptr);
        const auto held = hold<HIDDEN, 0>();
        quantize<HIDDEN, true>(here.x, here.norms);
        products<HIDDEN, STORE, 0>(needed, held, here.phase, 0, here.e.qkv(), QKV_ROWS, QKV_ROWS);
      }
      if (layer == 0) await_rotations();
      block_sync();
      attention(layer, Here(step, layer).e);
      {
        const Here here(step, layer);
        const Operands needed = operands<ADD, 1>(here.phase + 1, 0, 0, HIDDEN, here.x);
        const auto held = hold<Q_SIZE, 1>();
        quantize<Q_SIZE, false>(here.e.attended(), nullptr);
        products<Q_SIZE, ADD, 1>(needed, held, here.phase + 1, 0, here.e.middle(), HIDDEN, HIDDEN, here.x);
      }
      {
        const Here here(step, layer);
        const GateOperands needed = gate_operands(here.phase + 2);
        const auto held = hold<HIDDEN, 2>();
        quantize<HIDDEN, true>(here.e.middle(), here.norms + HIDDEN);
        products<HIDDEN, GATE, 2>(needed.first, held, here.phase + 2, 0, here.e.gated(), FFN, FFN, nullptr,
                                  needed.second);
      }
      const Here here(step, layer);
      const Operands needed = operands<ADD, 3>(here.phase + 3, 0, 0, HIDDEN, here.e.middle());
      const auto held = hold<FFN, 3>();
      quantize<FFN, false>(here.e.gated(), nullptr);
      products<FFN, ADD, 3>(needed, held, here.phase + 3, 0, here.e.x(), HIDDEN, HIDDEN, here.e.middle());
    }
    if (!step.wants_logits) return;
    const Here here(step, LAYERS);
    const Operands needed = operands<HEAD, 4>(here.phase, 0, 0, VOCAB, nullptr);
    quantize<HIDDEN, true>(here.x, here.norms);
    head(needed);
  }
  // Of more, one block a token quantises a row for all, and blocks add up sums in memory. Between two phases the block
  // meets before it takes anything of the next: nobody multiplies levels any more that lie where the next ones go, and
  // all pieces of the chunks before have come.
  __device__ __forceinline__ void run_told() {
    bring_inputs(Exchange(step.exchange, step.rows, LAYERS));
#pragma unroll 1
    for (int layer = 0; layer < LAYERS; layer++) {
      {
        const Here here(step, layer);
        using P = Parts<HIDDEN, 0, QKV_ROWS>;
        const P parts(*this, here.e.qkv());
        block_sync();
        const auto held = hold(parts);
        // The scales that meet nothing are any of HIDDEN rows: others may be no numbers, or none.
        tell_residual<FFN>(0, here.e, layer == 0 ? nothing() : here.x, max(1, here.phase - 1),
                           here.norms);
        take_levels<HIDDEN, SLICES_OF(HIDDEN)>(0, here.e);
        add_products(parts, here.phase, held);
      }
      if (layer == 0) await_rotations();
      block_sync();
      attention(layer, Here(step, layer).e);
      {
        const Here here(step, layer);
        using P = Parts<Q_SIZE, 1, HIDDEN>;
        const P parts(*this, here.e.middle());
        block_sync();
        const auto held = hold(parts);
        tell_floats<Q_SIZE>(1, here.e, here.e.attended());
        take_levels<Q_SIZE, SLICES_OF(Q_SIZE)>(1, here.e);
        add_products(parts, here.phase + 1, held);
      }
      {
        const Here here(step, layer);
        block_sync();
        const auto held = hold<HIDDEN, 2>();
        tell_residual<Q_SIZE>(2, here.e, here.e.middle(), here.phase + 1, here.norms + HIDDEN);
        const GateOperands needed = gate_operands(here.phase + 2);
        take_levels<HIDDEN, 1>(2, here.e);
        products<HIDDEN, GATE, 2>(needed.first, held, here.phase + 2, 0, here.e.gated(), FFN, FFN, nullptr,
                                  needed.second);
      }
      const Here here(step, layer);
      using P = Parts<FFN, 3, HIDDEN>;
      const P parts(*this, here.e.x());
      block_sync();
      const auto held = hold(parts);
      tell_floats<FFN>(3, here.e, here.e.gated());
      take_levels<FFN, SLICES_OF(FFN)>(3, here.e);
      add_products(parts, here.phase + 3, held);
    }
    if (!step.wants_logits) return;
    const Here here(step, LAYERS);
    const Operands needed = operands<HEAD, 4>(here.phase, 0, 0, VOCAB, nullptr);
    block_sync();
    tell_residual<FFN>(0, here.e, here.x, here.phase - 1, here.norms);
    take_levels<HIDDEN, 1>(0, here.e);
    head(needed);
  }
  __device__ __forceinline__ void head(Operands needed) {
    best = 0, dropped = NEGATIVE_INFINITY;
    const auto first_row = [](int piece) { return piece * HEAD_PIECE_TILES * 16; };
    for (int piece = 0; piece < HEAD_PIECES; piece++) {
      const int phase = 4 * LAYERS + piece;
      if (piece > 0) needed = operands<HEAD, 4>(phase, 0, first_row(piece), VOCAB, nullptr);
      products<HIDDEN, HEAD, 4>(needed, Held<0, CHUNK_BLOCKS>{}, phase, first_row(piece), step.logits, VOCAB, VOCAB);
      block_sync();
    }
    report();
  }
};

#if __CUDA_ARCH__ >= 800
// Keys and values follow the weights of q, k and v. `first` is the block's first part of attention.
template <class Decoder>
struct KeysBehind {
  Decoder& decoder;
  const Item& first;
  bool has_first;
  template <class Send>
  __device__ __forceinline__ void operator()(int phase, Send send) const {
    if (phase % 4 == 0 && phase < 4 * LAYERS)
      decoder.send_keys(phase / 4, first, has_first, send);
  }
};
#endif

// One more warp than computes, where there is a stream.
#if __CUDA_ARCH__ >= 800
#define DECODE_THREADS (THREADS + 32)
#define STREAM_BYTES(stages) ((stages) * CHUNK_BYTES)
#else
#define DECODE_THREADS THREADS
#define STREAM_BYTES(stages) 0
#endif

template <int N, int STAGES>
__device__ __forceinline__ void decode(const DecodeStep& step, i8* dynamic) {
  DecodeShared<N>& s = *reinterpret_cast<DecodeShared<N>*>(dynamic);
  i8* ring_bytes = dynamic + ROUND_UP((int)sizeof(DecodeShared<N>), 128);
  Decoder<N, STAGES> decoder{step, s};
  if (threadIdx.x < 5) s.firsts[threadIdx.x] = first_tile<(N >= TOLD_FROM)>(threadIdx.x);
  if (threadIdx.x < 4) s.counts[threadIdx.x] = decoder.tiles_of_block(threadIdx.x);
  for (int phase = threadIdx.x; phase < 4 * LAYERS + HEAD_PIECES; phase += DECODE_THREADS)
    s.scales_of[phase] = reinterpret_cast<const float*>(__ldg(step.phases + 2 * phase + 1));
#if __CUDA_ARCH__ >= 800
  decoder.stream.init(ring_bytes, s.barriers);
  __syncthreads();
  if (threadIdx.x >= THREADS) {
    // The warp that brings weights also clears what the step before left.
    Item item;
    const bool has_item =
        (int)blockIdx.x < decoder.attention_items() && decoder.attention_item(blockIdx.x, item);
    decoder.stream.template bring<(N >= TOLD_FROM)>(
        step.phases, s.firsts, 4 * LAYERS + (step.wants_logits ? HEAD_PIECES : 0),
        N == 1 ? WINDOW_OF_ONE : WINDOW_OF_MANY,
        [&](int phase) {
          if (phase % 4 != 0 || phase >= 4 * LAYERS) return;
          if (phase == 0) decoder.expect(0);
          if (phase / 4 + 1 < LAYERS) decoder.expect(phase / 4 + 1);
          decoder.forget(phase / 4);
        },
        KeysBehind<decltype(decoder)>{decoder, item, has_item});
    decoder.forget(LAYERS);
    return;
  }
#else
  __syncthreads();
  for (int layer = 0; layer <= LAYERS && threadIdx.x < 32; layer++) decoder.forget(layer);
#endif
  if constexpr (N >= TOLD_FROM) decoder.run_told();
  else decoder.run();
}

// The address of shared memory as a number to be kept: the compilers would make it anew everywhere, out of a
// special register that takes its time.
__device__ __forceinline__ i8* kept(i8* shared) {
  u32 address = (u32)__cvta_generic_to_shared(shared);
  asm volatile("" : "+r"(address));
  return reinterpret_cast<i8*>(__cvta_shared_to_generic(address));
}

#define DECODE_KERNEL(N, STAGES)                                                       \
  extern "C" __global__ void __launch_bounds__(DECODE_THREADS, 1)               \
      decode_##N(const __grid_constant__ DecodeStep step) {                            \
    extern __shared__ __align__(128) i8 dynamic[];                                     \
    decode<N, STAGES>(step, kept(dynamic));                                            \
  }                                                                                    \
  extern "C" __device__ const int decode_shared_##N =                                  \
      ROUND_UP((int)sizeof(DecodeShared<N>), 128) + STREAM_BYTES(STAGES);

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
