// Any number of tokens, one launch for each operation: prompts, large batches, long drafts.
//
// Every formula is the one that the decode kernel uses, so a token's bits are the same here.

// A kernel may start before the one in front has ended, and waits here for what that one wrote
// (programmatic dependent launch, from sm_90 on; before, and where the host did not ask for it, it
// starts only then).
__device__ __forceinline__ void await_inputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

struct Tokens {
  const int* positions;  // [n]
  const int* slots;      // [n]
  const float* rotations;  // [n][HEAD_DIM]
  const u64* pages;        // [slots][pages_max]
  int pages_max;
};

// Row `picked[b]` (or `b`) of `rows` to INT8; one block a row.
template <int K, bool NORM>
__device__ __forceinline__ void quantize_own_row(const float* rows, const int* picked,
                                                 const float* weight, i8* out, float* scales) {
  __shared__ QuantizeShared shared[1];
  await_inputs();
  const int from = picked ? picked[blockIdx.x] : blockIdx.x;
  const PlainRow to[1] = {{out + (size_t)blockIdx.x * PADDED(K), scales + blockIdx.x}};
  const FloatRows<K, false> row = {rows + (size_t)from * K};
  quantize_rows<K, NORM>(row, 1, weight, to, shared);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    norm_quantize_hidden(const float* rows, const int* picked, const float* weight, i8* out,
                         float* scales) {
  quantize_own_row<HIDDEN, true>(rows, picked, weight, out, scales);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    quantize_attended(const float* rows, i8* out, float* scales) {
  quantize_own_row<Q_SIZE, false>(rows, nullptr, nullptr, out, scales);
}
extern "C" __global__ void __launch_bounds__(THREADS)
    quantize_gated(const float* rows, i8* out, float* scales) {
  quantize_own_row<FFN, false>(rows, nullptr, nullptr, out, scales);
}

// Tokens of one block of a product.
#if __CUDA_ARCH__ >= 800
#define PRODUCT_TOKENS 64
#else
#define PRODUCT_TOKENS 16
#endif
extern "C" __device__ const int product_tokens = PRODUCT_TOKENS;

// `out[t][row] = weights[row] . x[t]` for TILES tiles and PRODUCT_TOKENS tokens a block, whose sums
// `cells`, [TILES][16][PRODUCT_TOKENS], hold.
template <int TILES, Epilogue E>
__device__ __forceinline__ void put_products(const int* cells, const float* w_scales,
                                             const float* x_scales, int n, float* out,
                                             int out_stride, int row_base, int rows, int tiles) {
  constexpr int TILE_OUT = E == GATE ? 8 : 16;
  const int tile = blockIdx.x * TILES, first = blockIdx.y * PRODUCT_TOKENS;
  const int here = min(PRODUCT_TOKENS, n - first);
  for (int at = threadIdx.x; at < TILES * TILE_OUT * here; at += blockDim.x) {
    const int row = at % TILE_OUT, j = at / TILE_OUT % TILES, token = at / TILE_OUT / TILES;
    const int out_row = row_base + (tile + j) * TILE_OUT + row;
    if (tile + j >= tiles || out_row >= rows) continue;
    const int* cell = cells + (j * 16 + row) * PRODUCT_TOKENS + token;
    const float* scale = w_scales + (tile + j) * 16 + row;
    const float x_scale = x_scales[first + token];
    const float v = dequantized(*cell, x_scale, *scale);
    float* to = out + (size_t)(first + token) * out_stride + out_row;
    if (E == STORE) *to = v;
    if (E == ADD) *to += v;
    if (E == GATE)
      *to = silu_times(v, dequantized(cell[8 * PRODUCT_TOKENS], x_scale, scale[8]));
  }
}

#if __CUDA_ARCH__ >= 800
// How a block shares its work: TILES tiles, OF_WARP of them a warp, in two halves of the tokens and
// GROUPS groups that share the columns. SHARED_STAGES chunks of PRODUCT_COLS columns of activations
// and weights are in shared memory or on their way there.
#define PRODUCT_COLS 256
#define PRODUCT_STRIDE (PRODUCT_COLS + 32)
template <int T, int O, int G, int S>
struct ProductShape {
  static constexpr int TILES = T, OF_WARP = O, GROUPS = G, STAGES = S;
  static constexpr int THREADS_ALL = T / O * 2 * G * 32;
  static constexpr int X_STAGE = PRODUCT_TOKENS * PRODUCT_STRIDE;
  static constexpr int STAGE = X_STAGE + T * 16 * PRODUCT_COLS;
  static constexpr int SHARED = S * STAGE;
  static_assert(SHARED >= G / 2 * T * 16 * PRODUCT_TOKENS * 4, "halves of the sums fit");
};
#define PRODUCT_SHAPE_QKV ProductShape<2, 1, 4, 3>
#define PRODUCT_SHAPE_GATE ProductShape<6, 2, 2, 2>
#define PRODUCT_SHAPE_NARROW ProductShape<1, 1, 8, 4>

__device__ __forceinline__ void copy16(void* to, const void* from, bool is_there) {
  // Nothing read is zero written.
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
               "l"(from), "r"(is_there ? 16 : 0)
               : "memory");
}

// Calls `act` with the indices of each of a lane's sums.
template <int OF_WARP, class Act>
__device__ __forceinline__ void each_sum(Act act) {
#pragma unroll
  for (int j = 0; j < OF_WARP; j++)
#pragma unroll
    for (int b = 0; b < PRODUCT_TOKENS / 16; b++)
#pragma unroll
      for (int i = 0; i < 4; i++) act(j, b, i);
}

template <class Shape, int K, Epilogue E>
__device__ __forceinline__ void product(const i8* weights, const float* w_scales, const i8* x,
                                        const float* x_scales, int n, float* out, int out_stride,
                                        int row_base, int rows, int tiles) {
  constexpr int T = Shape::TILES, O = Shape::OF_WARP, G = Shape::GROUPS, S = Shape::STAGES;
  constexpr int BLOCKS = PADDED(K) / 32, IN_STAGE = PRODUCT_COLS / 32;
  constexpr int STEPS = DIV_UP(BLOCKS, IN_STAGE);
  extern __shared__ __align__(128) i8 shared[];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
  const int half = warp & 1, group = warp / 2 % G, tiles_of_warp = warp / (2 * G) * O;
  const int tile = blockIdx.x * T, first = blockIdx.y * PRODUCT_TOKENS;
  const int here = min(PRODUCT_TOKENS, n - first);
  const i8* x_rows = x + (size_t)first * PADDED(K);

  auto request_x = [&](int step) {
    if (step < STEPS) {
      i8* stage = shared + step % S * Shape::STAGE;
      for (int at = threadIdx.x; at < PRODUCT_TOKENS * PRODUCT_COLS / 16; at += Shape::THREADS_ALL) {
        const int token = at / (PRODUCT_COLS / 16), col = at % (PRODUCT_COLS / 16) * 16;
        const bool is_there = token < here && step * PRODUCT_COLS + col < PADDED(K);
        copy16(stage + token * PRODUCT_STRIDE + col,
               x_rows + (is_there ? (size_t)token * PADDED(K) + step * PRODUCT_COLS + col : 0),
               is_there);
      }
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  auto request_weights = [&](int step) {
    if (step < STEPS) {
      i8* stage = shared + step % S * Shape::STAGE;
      for (int at = threadIdx.x; at < T * PRODUCT_COLS; at += Shape::THREADS_ALL) {
        const int j = at / PRODUCT_COLS, of = at % PRODUCT_COLS * 16;
        const bool is_there = tile + j < tiles && step * IN_STAGE + of / 512 < BLOCKS;
        copy16(stage + Shape::X_STAGE + at * 16,
               weights + (is_there ? ((size_t)(tile + j) * BLOCKS + step * IN_STAGE) * 512 + of : 0),
               is_there);
      }
    }
  };

  int sums[O][PRODUCT_TOKENS / 16][4];
#pragma unroll
  for (int j = 0; j < O; j++)
#pragma unroll
    for (int b = 0; b < PRODUCT_TOKENS / 16; b++)
#pragma unroll
      for (int i = 0; i < 4; i++) sums[j][b][i] = 0;
#pragma unroll
  for (int step = 0; step < S - 1; step++) request_weights(step);
  // Weights do not depend on the kernel in front.
  await_inputs();
#pragma unroll
  for (int step = 0; step < S - 1; step++) request_x(step);
#pragma unroll 1
  for (int step = 0; step < STEPS; step++) {
    asm volatile("cp.async.wait_group %0;" ::"n"(S - 2) : "memory");
    // Everybody's part of this step is there, and nobody reads the stage that is asked for next.
    __syncthreads();
    request_weights(step + S - 1);
    request_x(step + S - 1);
    const i8* stage = shared + step % S * Shape::STAGE;
    if (half * 32 >= here) continue;
#pragma unroll
    for (int block = group; block < IN_STAGE; block += G) {
      uint4 a[O];
#pragma unroll
      for (int j = 0; j < O; j++)
        a[j] = *reinterpret_cast<const uint4*>(
            stage + Shape::X_STAGE + ((tiles_of_warp + j) * IN_STAGE + block) * 512 + lane * 16);
#pragma unroll
      for (int b = 0; b < PRODUCT_TOKENS / 16; b++) {
        const uint2 of_x = *reinterpret_cast<const uint2*>(
            stage + (half * 32 + b * 8 + g) * PRODUCT_STRIDE + block * 32 + t * 8);
#pragma unroll
        for (int j = 0; j < O; j++) multiply_add(sums[j][b], a[j], of_x);
      }
    }
  }
  asm volatile("cp.async.wait_group 0;" ::: "memory");
  __syncthreads();

  // Groups hand their sums over, half of them at a time, until one has all: `cells`.
  int* cells = reinterpret_cast<int*>(shared);
  auto cell = [&](int of_group, int j, int b, int i) -> int& {
    const int token = half * 32 + b * 8 + t * 2 + (i & 1), row = g + (i & 2) * 4;
    return cells[((of_group * T + tiles_of_warp + j) * 16 + row) * PRODUCT_TOKENS + token];
  };
#pragma unroll
  for (int left = G / 2; left > 0; left /= 2) {
    if (group >= left && group < 2 * left)
      each_sum<O>([&](int j, int b, int i) { cell(group - left, j, b, i) = sums[j][b][i]; });
    __syncthreads();
    if (group < left)
      each_sum<O>([&](int j, int b, int i) { sums[j][b][i] += cell(group, j, b, i); });
    __syncthreads();
  }
  if (group == 0) each_sum<O>([&](int j, int b, int i) { cell(0, j, b, i) = sums[j][b][i]; });
  __syncthreads();
  put_products<T, E>(cells, w_scales, x_scales, n, out, out_stride, row_base, rows, tiles);
}
#else
// The warps of a block share the columns of TILES tiles and add up in shared memory.
template <int T>
struct ProductShape {
  static constexpr int TILES = T, THREADS_ALL = 512, SHARED = 0;
};
#define PRODUCT_SHAPE_QKV ProductShape<1>
#define PRODUCT_SHAPE_GATE ProductShape<2>
#define PRODUCT_SHAPE_NARROW ProductShape<1>

template <class Shape, int K, Epilogue E>
__device__ __forceinline__ void product(const i8* weights, const float* w_scales, const i8* x,
                                        const float* x_scales, int n, float* out, int out_stride,
                                        int row_base, int rows, int tiles) {
  constexpr int TILES = Shape::TILES, GROUPS = Shape::THREADS_ALL / 32 / TILES;
  constexpr int BLOCKS = PADDED(K) / 32, COUNT = SUMS(PRODUCT_TOKENS);
  // Sums of groups are halved in number until one is left, which becomes the cells.
  __shared__ int halves[GROUPS / 2][TILES][32 * COUNT];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const int mine = warp % TILES, group = warp / TILES;
  await_inputs();
  const int tile = blockIdx.x * TILES, first = blockIdx.y * PRODUCT_TOKENS;
  const int here = min(PRODUCT_TOKENS, n - first);
  int sums[COUNT];
#pragma unroll
  for (int i = 0; i < COUNT; i++) sums[i] = 0;
  const i8* x_rows = x + (size_t)first * PADDED(K);
  if (tile + mine < tiles) {
    const uint4* a =
        reinterpret_cast<const uint4*>(weights + (size_t)(tile + mine) * BLOCKS * 512) + lane;
#pragma unroll 4
    for (int block = group; block < BLOCKS; block += GROUPS)
      multiply<PRODUCT_TOKENS>(sums, __ldg(a + block * 32), x_rows + block * 32, PADDED(K), here);
  }
#pragma unroll
  for (int half = GROUPS / 2; half > 0; half /= 2) {
    if (group >= half && group < 2 * half)
#pragma unroll
      for (int i = 0; i < COUNT; i++) halves[group - half][mine][i * 32 + lane] = sums[i];
    __syncthreads();
    if (group < half)
#pragma unroll
      for (int i = 0; i < COUNT; i++) sums[i] += halves[group][mine][i * 32 + lane];
    __syncthreads();
  }
  static_assert(32 * COUNT >= 16 * PRODUCT_TOKENS, "cells fit where halves were");
  int* cells = halves[0][0];
  if (group == 0)
    put_cells<PRODUCT_TOKENS>(sums, cells + mine * 16 * PRODUCT_TOKENS, PRODUCT_TOKENS, here);
  __syncthreads();
  put_products<TILES, E>(cells, w_scales, x_scales, n, out, out_stride, row_base, rows,
                         tiles);
}
#endif

// Blocks are launched for `product_tiles_*` tiles each.
#define PRODUCT_KERNEL(name, SHAPE, ...)                                                         \
  extern "C" __global__ void __launch_bounds__(SHAPE::THREADS_ALL)                               \
      product_##name(const i8* weights, const float* w_scales, const i8* x,                      \
                     const float* x_scales, int n, float* out, int piece) {                      \
    __VA_ARGS__;                                                                                 \
  }                                                                                              \
  extern "C" __device__ const int product_tiles_##name = SHAPE::TILES;                           \
  extern "C" __device__ const int product_shared_##name = SHAPE::SHARED;

PRODUCT_KERNEL(qkv, PRODUCT_SHAPE_QKV,
               product<PRODUCT_SHAPE_QKV, HIDDEN, STORE>(weights, w_scales, x, x_scales, n, out,
                                                         QKV_ROWS, 0, QKV_ROWS, QKV_TILES))
PRODUCT_KERNEL(o, PRODUCT_SHAPE_NARROW,
               product<PRODUCT_SHAPE_NARROW, Q_SIZE, ADD>(weights, w_scales, x, x_scales, n, out,
                                                          HIDDEN, 0, HIDDEN, HIDDEN_TILES))
PRODUCT_KERNEL(gate, PRODUCT_SHAPE_GATE,
               product<PRODUCT_SHAPE_GATE, HIDDEN, GATE>(weights, w_scales, x, x_scales, n, out,
                                                         FFN, 0, FFN, FFN_TILES))
PRODUCT_KERNEL(down, PRODUCT_SHAPE_NARROW,
               product<PRODUCT_SHAPE_NARROW, FFN, ADD>(weights, w_scales, x, x_scales, n, out,
                                                       HIDDEN, 0, HIDDEN, HIDDEN_TILES))
PRODUCT_KERNEL(head, PRODUCT_SHAPE_GATE,
               product<PRODUCT_SHAPE_GATE, HIDDEN, STORE>(
                   weights, w_scales, x, x_scales, n, out, VOCAB, piece * HEAD_PIECE_TILES * 16,
                   VOCAB, min(HEAD_PIECE_TILES, HEAD_TILES - piece * HEAD_PIECE_TILES)))

// Keys (rotated, normalised) and values of every token into the cache; one block a token, one
// warp a head.
extern "C" __global__ void __launch_bounds__(THREADS)
    append(const float* qkv, Tokens tokens, const float* head_norms, int layer) {
  await_inputs();
  const int t = blockIdx.x, warp = threadIdx.x >> 5, position = tokens.positions[t];
  const u64 page = tokens.pages[(size_t)tokens.slots[t] * tokens.pages_max + position / PAGE];
  const float* k = qkv + (size_t)t * QKV_ROWS + Q_SIZE;
  const float* rotation = tokens.rotations + (size_t)t * HEAD_DIM;
  const float* k_norm = head_norms + (layer * 2 + 1) * HEAD_DIM;
  for (int head = warp; head < 2 * KV_HEADS; head += WARPS) {
    const int is_value = head >= KV_HEADS, kv_head = head % KV_HEADS;
    const int row = position % PAGE;
    i8* rows = page_rows(page, layer, is_value, kv_head);
    auto put = [&](int at, int level) { put_level(rows, row, is_value, at, level); };
    auto put_unit = [&](float unit) {
      if ((threadIdx.x & 31) == 0) page_units(page, layer, is_value, kv_head)[row] = unit;
    };
    const Head one = {k + is_value * KV_SIZE + kv_head * HEAD_DIM, rotation, k_norm, nullptr,
                      nullptr};
    if (is_value) take_head<AS_NUMBERS, false>(one, put, put_unit);
    else take_head<AS_NUMBERS, true>(one, put, put_unit);
  }
}

// Partial results of one token and kv head; the block that comes last adds them up.
struct CountedPartials {
  float* words;
  u32* arrivals;
  __device__ __forceinline__ void put(size_t at, float value) { words[at] = value; }
  __device__ __forceinline__ void get(size_t head, int i, int n, SplitSum* into) {
#pragma unroll
    for (int p = 0; p < SPLITS_AT_ONCE; p++) {
      const float* one = words + head + (size_t)p * HEADS * SPLIT_WIDTH;
      into[p] = {NEGATIVE_INFINITY, 0.f, 0.f};
      if (p < n) into[p] = {fresh(one + HEAD_DIM), fresh(one + HEAD_DIM + 1), fresh(one + i)};
    }
  }
  __device__ __forceinline__ bool is_mine_to_add(int, int splits, u32* is_last) {
    __threadfence();
    block_sync();
    if (threadIdx.x == 0) {
      *is_last = atomicAdd(arrivals, 1u) == (u32)splits - 1;
      if (*is_last) *arrivals = 0;
      __threadfence();
    }
    block_sync();
    return *is_last;
  }
};

// Attention of every token; block (head, token, split).
extern "C" __global__ void __launch_bounds__(THREADS)
    attention(const float* qkv, Tokens tokens, const float* head_norms, int layer, float* out,
              float* partials, u32* arrivals) {
  __shared__ AttentionShared<0> shared;
  await_inputs();
  const int head = blockIdx.x, t = blockIdx.y, split = blockIdx.z;
  AttentionToken token;
  token.position = tokens.positions[t];
  if (split > token.position / SPLIT) return;
  token.q = qkv + (size_t)t * QKV_ROWS;
  token.x_scale = nullptr;
  token.row_scales = nullptr;
  token.first_new = token.position + 1;
  token.rotation = tokens.rotations + (size_t)t * HEAD_DIM;
  token.page =
      tokens.pages[(size_t)tokens.slots[t] * tokens.pages_max + split / (PAGE / SPLIT)];
  const CountedPartials counted = {partials + (size_t)t * gridDim.z * HEADS * SPLIT_WIDTH,
                                   arrivals + t * HEADS + head};
  const PageRows rows(token, layer, head / GROUP, split);
  attend<AS_NUMBERS, 0>(shared, token, rows, layer, head, split, head_norms + layer * 2 * HEAD_DIM,
                head_norms + (layer * 2 + 1) * HEAD_DIM, out + (size_t)t * Q_SIZE, counted);
}
