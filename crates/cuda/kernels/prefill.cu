// Any number of tokens, one launch for each operation: prompts, drafts to verify, large batches.
//
// Every formula is the one that the decode kernel uses, so a token's bits are the same here.

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
  __shared__ QuantizeShared shared;
  const int from = picked ? picked[blockIdx.x] : blockIdx.x;
  const PlainRow to = {out + (size_t)blockIdx.x * PADDED(K), scales + blockIdx.x};
  quantize_row<K, NORM, false>(rows + (size_t)from * K, weight, to, shared);
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

// Tokens of one block of a product. Tensor cores keep 4 sums a lane for 8 tokens, dp4a 16.
#if __CUDA_ARCH__ >= 800
#define PRODUCT_TOKENS 64
#else
#define PRODUCT_TOKENS 16
#endif
// Warps of such a block.
#define PRODUCT_WARPS 16
#define PRODUCT_THREADS (PRODUCT_WARPS * 32)
extern "C" __device__ const int product_tokens = PRODUCT_TOKENS;

// `out[t][row] = weights[row] . x[t]` for TILES tiles and PRODUCT_TOKENS tokens a block. The warps
// share the columns and add up in shared memory.
template <int K, int TILES, Epilogue E>
__device__ __forceinline__ void product(const i8* weights, const float* w_scales, const i8* x,
                                        const float* x_scales, int n, float* out, int out_stride,
                                        int row_base, int rows, int tiles) {
  // Groups of warps share the columns of each tile; their sums are halved in number until one is
  // left, which becomes the cells.
  constexpr int GROUPS = PRODUCT_WARPS / TILES, BLOCKS = PADDED(K) / 32, COUNT = SUMS(PRODUCT_TOKENS);
  __shared__ int halves[GROUPS / 2][TILES][32 * COUNT];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const int mine = warp % TILES, group = warp / TILES;
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
  int (*cells)[32 * COUNT] = halves[0];
  if (group == 0) put_cells<PRODUCT_TOKENS>(sums, cells[mine], PRODUCT_TOKENS, here);
  __syncthreads();
  constexpr int TILE_OUT = E == GATE ? 8 : 16;
  for (int at = threadIdx.x; at < TILES * TILE_OUT * here; at += PRODUCT_THREADS) {
    const int row = at % TILE_OUT, j = at / TILE_OUT % TILES, token = at / TILE_OUT / TILES;
    const int out_row = row_base + (tile + j) * TILE_OUT + row;
    if (tile + j >= tiles || out_row >= rows) continue;
    const int* cell = cells[j] + row * PRODUCT_TOKENS + token;
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
#define PRODUCT_ARGUMENTS                                                                        \
  const i8 *weights, const float *w_scales, const i8 *x, const float *x_scales, int n, float *out
extern "C" __global__ void __launch_bounds__(PRODUCT_THREADS) product_qkv(PRODUCT_ARGUMENTS) {
  product<HIDDEN, 1, STORE>(weights, w_scales, x, x_scales, n, out, QKV_ROWS, 0, QKV_ROWS,
                            QKV_TILES);
}
extern "C" __global__ void __launch_bounds__(PRODUCT_THREADS) product_o(PRODUCT_ARGUMENTS) {
  product<Q_SIZE, 1, ADD>(weights, w_scales, x, x_scales, n, out, HIDDEN, 0, HIDDEN, HIDDEN_TILES);
}
extern "C" __global__ void __launch_bounds__(PRODUCT_THREADS) product_gate(PRODUCT_ARGUMENTS) {
  product<HIDDEN, 2, GATE>(weights, w_scales, x, x_scales, n, out, FFN, 0, FFN, FFN_TILES);
}
extern "C" __global__ void __launch_bounds__(PRODUCT_THREADS) product_down(PRODUCT_ARGUMENTS) {
  product<FFN, 1, ADD>(weights, w_scales, x, x_scales, n, out, HIDDEN, 0, HIDDEN, HIDDEN_TILES);
}
extern "C" __global__ void __launch_bounds__(PRODUCT_THREADS)
    product_head(PRODUCT_ARGUMENTS, int piece) {
  const int before = piece * HEAD_PIECE_TILES;
  product<HIDDEN, 2, STORE>(weights, w_scales, x, x_scales, n, out, VOCAB, before * 16, VOCAB,
                            min(HEAD_PIECE_TILES, HEAD_TILES - before));
}

// Keys (rotated, normalised) and values of every token into the cache; one block a token, one
// warp a head.
extern "C" __global__ void __launch_bounds__(THREADS)
    append(const float* qkv, Tokens tokens, const float* head_norms, int layer) {
  __shared__ float scratch[WARPS][HEAD_DIM];
  const int t = blockIdx.x, warp = threadIdx.x >> 5, position = tokens.positions[t];
  const u64 page = tokens.pages[(size_t)tokens.slots[t] * tokens.pages_max + position / PAGE];
  const float* k = qkv + (size_t)t * QKV_ROWS + Q_SIZE;
  const float* rotation = tokens.rotations + (size_t)t * HEAD_DIM;
  const float* k_norm = head_norms + (layer * 2 + 1) * HEAD_DIM;
  for (int head = warp; head < 2 * KV_HEADS; head += WARPS) {
    const int is_value = head >= KV_HEADS, kv_head = head % KV_HEADS;
    u16* to = page_rows(page, layer, is_value, kv_head) + (size_t)(position % PAGE) * HEAD_DIM;
    if (is_value) append_value<false>(k + KV_SIZE + kv_head * HEAD_DIM, to, nullptr);
    else append_key<false>(k + kv_head * HEAD_DIM, rotation, k_norm, scratch[warp], to, nullptr);
    __syncwarp();
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
  __shared__ AttentionShared shared;
  const int head = blockIdx.x, t = blockIdx.y, split = blockIdx.z;
  AttentionToken token;
  token.position = tokens.positions[t];
  if (split > token.position / SPLIT) return;
  token.q = qkv + (size_t)t * QKV_ROWS;
  token.k = nullptr;
  token.v = nullptr;
  token.rotation = tokens.rotations + (size_t)t * HEAD_DIM;
  token.page =
      tokens.pages[(size_t)tokens.slots[t] * tokens.pages_max + split / (PAGE / SPLIT)];
  AttentionHeld held;
  held.load(token, layer, head / GROUP, split);
  const CountedPartials counted = {partials + (size_t)t * gridDim.z * HEADS * SPLIT_WIDTH,
                                   arrivals + t * HEADS + head};
  attend<false>(shared, token, held, layer, head, split, head_norms + layer * 2 * HEAD_DIM,
                head_norms + (layer * 2 + 1) * HEAD_DIM, out + (size_t)t * Q_SIZE, counted);
}
