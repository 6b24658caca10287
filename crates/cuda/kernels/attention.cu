// RoPE, q/k norm, KV append and attention over one split of 128 tokens.
//
// Queries and keys are normalised AFTER the rotation: this family's trap. How a sequence is cut into
// splits depends on positions alone, so the bits do not depend on batch or chunk. A block takes one
// query head: few instructions matter more here than loading keys once for all heads of a group.
// Each of its warps takes 16 keys from their scores to the sum of their values, and then the block
// adds up its warps.

// Keys of a warp: the rows of one product of the tensor core.
#define WARP_KEYS 16
static_assert(WARPS * WARP_KEYS == SPLIT, "a block takes a split");
// Products for one number per key, each over 16 elements of a head, and for one number per element,
// each for 16 of them.
#define HEAD_STEPS (HEAD_DIM / 16)
// Words that a lane loads at once of a key and of a value.
#define KEY_WORDS MIN_OF(4, 2 * HEAD_STEPS)
#define KEY_LOADS (2 * HEAD_STEPS / KEY_WORDS)
#define VALUE_WORDS MIN_OF(4, HEAD_STEPS)
#define VALUE_LOADS (HEAD_STEPS / VALUE_WORDS)

// One page: [layer][key, value][kv head][PAGE][HEAD_DIM] in f16.
#define PAGE_HALVES ((size_t)PAGE * HEAD_DIM)
__device__ __forceinline__ u16* page_rows(u64 page, int layer, int is_value, int kv_head) {
  return reinterpret_cast<u16*>(page) +
         ((size_t)(layer * 2 + is_value) * KV_HEADS + kv_head) * PAGE_HALVES;
}

// With room for OWN keys and values that this step brings.
template <int OWN>
struct AttentionShared {
  // Each warp's query, as the sum of two f16: together they have the bits of f32 that count.
  __align__(16) u16 q[WARPS][2][HEAD_DIM];
  float out[WARPS][HEAD_DIM];
  float tops[WARPS], sums[WARPS];
  __align__(16) u16 own_keys[MAX_OF(1, OWN)][HEAD_DIM];
  __align__(16) u16 own_values[MAX_OF(1, OWN)][HEAD_DIM];
  u32 is_last;
};

// What attention of one token needs. The cache need not have the keys and values of a sequence's tokens of
// this step yet; those tokens follow each other in all arrays.
struct AttentionToken {
  const float* q;         // [Q_SIZE] before RoPE
  const float* k;         // [KV_SIZE] before RoPE; the token's before it is QKV_ROWS before it
  const float* v;         // [KV_SIZE], likewise
  const float* rotation;  // [HEAD_DIM]: cosines, then sines; those of the position before lie before them
  int position;
  // Position of the sequence's first token of this step; `position + 1` where the cache has all.
  int first_new;
  u64 page;  // the page of this split

  // First row of a split in its page.
  static __device__ __forceinline__ size_t first_row(int split) {
    return (size_t)(split % (PAGE / SPLIT)) * SPLIT * HEAD_DIM;
  }
};

// One number per row of 16 rows by 16 columns times two columns, and the same for 8 more rows behind:
// `c` as the tensor core has it, of which only the first two columns count, and those of lanes whose
// number is a multiple of 4. Rows and columns are f16, sums f32.
__device__ __forceinline__ void multiply_two_columns(float (&c)[4], const u32 (&a)[4],
                                                     const u32 (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  // Column `n` is in lanes 4n .. 4n + 3; each lane has four elements of two rows.
  const int t = threadIdx.x & 3;
#pragma unroll
  for (int n = 0; n < 2; n++) {
    float low = 0.f, high = 0.f;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const u32 column = __shfl_sync(FULL, b[half], n * 4 + t);
      const float x = half_to_float((u16)column), y = half_to_float((u16)(column >> 16));
      low = fmaf(half_to_float((u16)a[half * 2]), x, low);
      low = fmaf(half_to_float((u16)(a[half * 2] >> 16)), y, low);
      high = fmaf(half_to_float((u16)a[half * 2 + 1]), x, high);
      high = fmaf(half_to_float((u16)(a[half * 2 + 1] >> 16)), y, high);
    }
    for (int o = 1; o < 4; o *= 2) {
      low += __shfl_xor_sync(FULL, low, o);
      high += __shfl_xor_sync(FULL, high, o);
    }
    c[n] += low, c[n + 2] += high;
  }
#endif
}

// Numbers as the sum of two f16 each: `low` is what `high` leaves.
__device__ __forceinline__ void split_in_two(float x, u16& high, u16& low) {
  high = half_bits(x);
  low = half_bits(x - half_to_float(high));
}
__device__ __forceinline__ u32 pack(u16 first, u16 second) { return (u32)second << 16 | first; }

// Reads COUNT heads with one warp, rotates and normalises the first NORMED, and calls `put` with the
// head's number, an element's and the element. With OWN_ROTATIONS each has its own, else all the first.
template <bool AWAIT, int NORMED, bool OWN_ROTATIONS, int COUNT, class Put>
__device__ __forceinline__ void take_heads(const float* const (&heads)[COUNT],
                                           const float* const (&rotations)[MAX_OF(1, NORMED)],
                                           const float* const (&weights)[COUNT], Put put) {
  constexpr int HALF = HEAD_DIM / 2, PAIRS = DIV_UP(HALF, 32);
  const int lane = threadIdx.x & 31;
  float a[COUNT][PAIRS], b[COUNT][PAIRS], squares[MAX_OF(1, NORMED)];
  // What does not depend on the heads is on its way while they are awaited.
  constexpr int ROTATIONS = OWN_ROTATIONS ? NORMED : 1;
  float cosine[ROTATIONS][PAIRS], sine[ROTATIONS][PAIRS], weight[MAX_OF(1, NORMED)][PAIRS][2];
#pragma unroll
  for (int i = 0; i < PAIRS; i++) {
    const int at = i * 32 + lane;
#pragma unroll
    for (int r = 0; r < ROTATIONS; r++) {
      cosine[r][i] = NORMED > 0 && at < HALF ? now(rotations[r] + at) : 0.f;
      sine[r][i] = NORMED > 0 && at < HALF ? now(rotations[r] + at + HALF) : 0.f;
    }
#pragma unroll
    for (int h = 0; h < NORMED; h++) {
      weight[h][i][0] = at < HALF ? far_constant(weights[h] + at) : 0.f;
      weight[h][i][1] = at < HALF ? far_constant(weights[h] + at + HALF) : 0.f;
    }
  }
  bool complete;
  do {
    complete = true;
#pragma unroll
    for (int h = 0; h < COUNT; h++)
#pragma unroll
      for (int i = 0; i < PAIRS; i++) {
        const int at = i * 32 + lane;
        a[h][i] = at < HALF ? now(heads[h] + at) : 0.f;
        b[h][i] = at < HALF ? now(heads[h] + at + HALF) : 0.f;
      }
#pragma unroll
    for (int h = 0; h < COUNT; h++)
#pragma unroll
      for (int i = 0; i < PAIRS; i++) complete &= !is_awaited(a[h][i]) & !is_awaited(b[h][i]);
  } while (AWAIT && !complete);
#pragma unroll
  for (int h = 0; h < NORMED; h++) {
    squares[h] = 0.f;
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
      const float x = a[h][i], y = b[h][i];
      const float c = cosine[h % ROTATIONS][i], s = sine[h % ROTATIONS][i];
      a[h][i] = x * c - y * s;
      b[h][i] = y * c + x * s;
      squares[h] += a[h][i] * a[h][i] + b[h][i] * b[h][i];
    }
  }
#pragma unroll
  for (int o = 16; o > 0; o >>= 1)
#pragma unroll
    for (int h = 0; h < NORMED; h++) squares[h] += __shfl_xor_sync(FULL, squares[h], o);
#pragma unroll
  for (int h = 0; h < NORMED; h++) {
    const float mean = __fdiv_rn(squares[h], (float)HEAD_DIM);
    const float scale = __fdiv_rn(1.0f, __fsqrt_rn(mean + eps()));
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
      const int at = i * 32 + lane;
      if (at < HALF) {
        put(h, at, a[h][i] * (scale * weight[h][i][0]));
        put(h, at + HALF, b[h][i] * (scale * weight[h][i][1]));
      }
    }
  }
#pragma unroll
  for (int h = NORMED; h < COUNT; h++)
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
      const int at = i * 32 + lane;
      if (at < HALF) put(h, at, a[h][i]), put(h, at + HALF, b[h][i]);
    }
}

// Words of f16 pairs, all at once.
template <int WORDS>
__device__ __forceinline__ void load_words(u32* to, const u16* from) {
  if (WORDS == 4) {
    const uint4 v = *reinterpret_cast<const uint4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else if (WORDS == 2) {
    const uint2 v = *reinterpret_cast<const uint2*>(from);
    to[0] = v.x, to[1] = v.y;
  } else {
    to[0] = *reinterpret_cast<const u32*>(from);
  }
}

// Keys of a split that count, and the first of them that this step brings: they are the last.
__device__ __forceinline__ int keys_of(const AttentionToken& token, int split) {
  return min(SPLIT, token.position + 1 - split * SPLIT);
}
__device__ __forceinline__ int first_own_of(const AttentionToken& token, int split) {
  return max(0, token.first_new - split * SPLIT);
}

// Lane 4g + t multiplies, of keys g and g + 8 of its warp's, what column t of the tensor core's rows is,
// and of keys 2t, 2t + 1, 2t + 8 and 2t + 9 elements g of 8. Which elements of a head these are is ours
// to choose, so each lane loads words that follow each other.
__device__ __forceinline__ int key_element(int load) {
  return (load * 4 + ((int)threadIdx.x & 3)) * 2 * KEY_WORDS;
}
__device__ __forceinline__ int value_element(int load) {
  return (load * 8 + ((int)threadIdx.x & 31) / 4) * 2 * VALUE_WORDS;
}

// Old keys and values of one kv head in a split, `[SPLIT][HEAD_DIM]` each, and those of this step.
struct AttentionRows {
  const u16 *keys, *values, *own_keys, *own_values;
  int first_own;
  __device__ __forceinline__ const u16* key(int i) const {
    return i >= first_own ? own_keys + (i - first_own) * HEAD_DIM : keys + i * HEAD_DIM;
  }
  __device__ __forceinline__ const u16* value(int i) const {
    return i >= first_own ? own_values + (i - first_own) * HEAD_DIM : values + i * HEAD_DIM;
  }
};

// Old keys and values where they lie.
struct PageRows {
  const u16 *key_rows, *value_rows;
  __device__ __forceinline__ PageRows(const AttentionToken& token, int layer, int kv_head, int split)
      : key_rows(page_rows(token.page, layer, 0, kv_head) + token.first_row(split)),
        value_rows(page_rows(token.page, layer, 1, kv_head) + token.first_row(split)) {}
  __device__ __forceinline__ const u16* keys() const { return key_rows; }
  __device__ __forceinline__ const u16* values() const { return value_rows; }
  __device__ __forceinline__ void end() const {}
};

// What a split knows of one element of a head: its values' sum, in units of e^top, and that of the
// weights.
struct SplitSum {
  float top, sum, total;
};
// Splits whose results are read at once.
#define SPLITS_AT_ONCE 4
#define SPLIT_WIDTH (HEAD_DIM + 2)

// A warp's part of attention, in two steps. Scores of its keys: lanes 4g have those of keys g and g + 8.
template <class Shared>
__device__ __forceinline__ void score_keys(Shared& s, const AttentionRows& rows, int keys,
                                           float (&scores)[2]) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2;
  const int first = warp * WARP_KEYS;
  // Two chains, of even and odd steps. Column 0 is the query's high part, column 1 the low one.
  float c[2][4] = {{0.f, 0.f, 0.f, 0.f}, {0.f, 0.f, 0.f, 0.f}};
  const u16* row[2];
#pragma unroll
  for (int i = 0; i < 2; i++) row[i] = rows.key(min(first + g + i * 8, keys - 1));
#pragma unroll
  for (int load = 0; load < KEY_LOADS; load++) {
    u32 k[2][KEY_WORDS], q[KEY_WORDS];
#pragma unroll
    for (int i = 0; i < 2; i++) load_words<KEY_WORDS>(k[i], row[i] + key_element(load));
#pragma unroll
    for (int word = 0; word < KEY_WORDS; word++) q[word] = 0;
    if (g < 2) load_words<KEY_WORDS>(q, s.q[warp][g] + key_element(load));
#pragma unroll
    for (int word = 0; word < KEY_WORDS; word += 2) {
      const u32 a[4] = {k[0][word], k[1][word], k[0][word + 1], k[1][word + 1]};
      const u32 b[2] = {q[word], q[word + 1]};
      multiply_two_columns(c[(load * KEY_WORDS + word) / 2 & 1], a, b);
    }
  }
  const float unit = __fdiv_rn(1.0f, __fsqrt_rn((float)HEAD_DIM));
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const float high = c[0][i * 2] + c[1][i * 2], low = c[0][i * 2 + 1] + c[1][i * 2 + 1];
    scores[i] = first + g + i * 8 < keys ? (high + low) * unit : NEGATIVE_INFINITY;
  }
}

// And the sum of its values, each times e^score, in units of the largest.
template <class Shared>
__device__ __forceinline__ void add_values(Shared& s, const AttentionRows& rows, int keys,
                                           const float (&scores)[2]) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, g = lane >> 2, t = lane & 3;
  const int first = warp * WARP_KEYS;
  float top = fmaxf(scores[0], scores[1]);
  for (int o = 4; o < 32; o *= 2) top = fmaxf(top, __shfl_xor_sync(FULL, top, o));
  top = __shfl_sync(FULL, top, 0);
  // Weights of the four keys whose values this lane has.
  float weights[4];
#pragma unroll
  for (int i = 0; i < 4; i++)
    weights[i] = expf(__shfl_sync(FULL, scores[i / 2], (t * 2 + i % 2) * 4) - top);
  float sum = (weights[0] + weights[1]) + (weights[2] + weights[3]);
  for (int o = 1; o < 4; o *= 2) sum += __shfl_xor_sync(FULL, sum, o);
  u32 b[2];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    u16 high[2], low[2];
    split_in_two(weights[i * 2], high[0], low[0]);
    split_in_two(weights[i * 2 + 1], high[1], low[1]);
    b[i] = g == 0 ? pack(high[0], high[1]) : g == 1 ? pack(low[0], low[1]) : 0u;
  }
  if (lane == 0) s.tops[warp] = top, s.sums[warp] = sum;
#pragma unroll
  for (int load = 0; load < VALUE_LOADS; load++) {
    u32 v[4][VALUE_WORDS];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int key = first + t * 2 + i / 2 * 8 + i % 2;
      // What does not count is zero times zero.
#pragma unroll
      for (int word = 0; word < VALUE_WORDS; word++) v[i][word] = 0;
      if (key < keys) load_words<VALUE_WORDS>(v[i], rows.value(key) + value_element(load));
    }
#pragma unroll
    for (int word = 0; word < VALUE_WORDS; word++) {
      float sums[4] = {0.f, 0.f, 0.f, 0.f};
      const u32 a[4] = {__byte_perm(v[0][word], v[1][word], 0x5410),
                        __byte_perm(v[0][word], v[1][word], 0x7632),
                        __byte_perm(v[2][word], v[3][word], 0x5410),
                        __byte_perm(v[2][word], v[3][word], 0x7632)};
      multiply_two_columns(sums, a, b);
      if (t == 0)
        *reinterpret_cast<float2*>(s.out[warp] + value_element(load) + word * 2) =
            make_float2(sums[0] + sums[1], sums[2] + sums[3]);
    }
  }
}

// Attention of one token's query head `head` over split `split`, by the whole block. `source` knows the
// old keys and values: each warp asks it for `keys()` when it has its query, then for `values()`. `out`
// is [Q_SIZE]. Sequences of several splits leave partial results, [splits][HEADS][SPLIT_WIDTH] of
// `Partials`, and one block a head adds them up.
template <bool AWAIT, int OWN, class Source, class Partials>
__device__ __forceinline__ void attend(AttentionShared<OWN>& s, const AttentionToken& token,
                                       Source source, int layer, int head, int split,
                                       const float* q_norm, const float* k_norm, float* out,
                                       Partials partials) {
  static_assert(OWN <= WARPS, "a warp a key of this step");
  const int tid = threadIdx.x;
  const int warp = tid >> 5, kv_head = head / GROUP;
  const int splits = token.position / SPLIT + 1;
  const int keys = keys_of(token, split), first_own = first_own_of(token, split);
  const bool is_used = warp * WARP_KEYS < keys;
  // One key of this step is made by the warp that reads it; of several each warp makes one for all.
  const int own = OWN == 0 ? 0 : max(0, keys - first_own);
  const int maker_of_first = own == 1 ? first_own / WARP_KEYS : 0;
  const int made = warp - maker_of_first;
  const bool makes = made >= 0 && made < own;

  auto put_query = [&](int at, float x) {
    split_in_two(x, s.q[warp][0][at], s.q[warp][1][at]);
  };
  if (makes) {
    // Every head of a group needs the key and value; one of them keeps those of the token itself.
    const int at = first_own + made, before = token.position - split * SPLIT - at;
    const bool keeps = head % GROUP == 0 && before == 0;
    const size_t row = token.first_row(split) + (size_t)at * HEAD_DIM;
    u16* key = page_rows(token.page, layer, 0, kv_head) + row;
    u16* value = page_rows(token.page, layer, 1, kv_head) + row;
    const float* k = token.k - (size_t)before * QKV_ROWS + kv_head * HEAD_DIM;
    const float* const heads[3] = {token.q + head * HEAD_DIM, k, k + (token.v - token.k)};
    const float* const norms[3] = {q_norm, k_norm, nullptr};
    const float* const rotations[2] = {token.rotation, token.rotation - before * HEAD_DIM};
    take_heads<AWAIT, 2, (OWN > 1)>(heads, rotations, norms, [&](int which, int element, float x) {
      if (which == 0) return put_query(element, x);
      const u16 half = half_bits(x);
      (which == 1 ? s.own_keys : s.own_values)[made][element] = half;
      if (keeps) (which == 1 ? key : value)[element] = half;
    });
  } else if (is_used) {
    const float* const heads[1] = {token.q + head * HEAD_DIM};
    const float* const norms[1] = {q_norm};
    const float* const rotations[1] = {token.rotation};
    take_heads<AWAIT, 1, false>(heads, rotations, norms,
                                [&](int, int at, float x) { put_query(at, x); });
  }
  if (OWN > 1 && own > 1) block_sync();
  else __syncwarp();
  AttentionRows rows = {nullptr, nullptr, s.own_keys[0], s.own_values[0], first_own};
  float scores[2];
  rows.keys = source.keys();
  if (is_used) score_keys(s, rows, keys, scores);
  rows.values = source.values();
  if (is_used) add_values(s, rows, keys, scores);
  source.end();
  block_sync();

  // Each lane weighs one of the block's warps: one exponential instead of all of them one by one.
  const int at = tid, lane = tid & 31, warps = DIV_UP(keys, WARP_KEYS);
  const float own_top = lane < warps ? s.tops[lane] : NEGATIVE_INFINITY;
  float top = own_top;
#pragma unroll
  for (int o = 1; o < WARPS; o *= 2) top = fmaxf(top, __shfl_xor_sync(FULL, top, o));
  top = __shfl_sync(FULL, top, 0);
  const float own_weight = expf(own_top - top);
  float weights[WARPS];
#pragma unroll
  for (int w = 0; w < WARPS; w++) weights[w] = __shfl_sync(FULL, own_weight, w);
  if (at < HEAD_DIM) {
    float sum = 0.f, total = 0.f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      if (w >= warps) continue;
      sum = fmaf(weights[w], s.sums[w], sum);
      total = fmaf(weights[w], s.out[w][at], total);
    }
    float* to = out + head * HEAD_DIM + at;
    const size_t of_head = (size_t)head * SPLIT_WIDTH, next = (size_t)HEADS * SPLIT_WIDTH;
    if (splits == 1) {
      tell(to, total * __fdiv_rn(1.0f, sum));
    } else {
      partials.put(of_head + split * next + at, total);
      if (at == 0) {
        partials.put(of_head + split * next + HEAD_DIM, top);
        partials.put(of_head + split * next + HEAD_DIM + 1, sum);
      }
    }
  }
  if (splits > 1 && partials.is_mine_to_add(split, splits, &s.is_last) && at < HEAD_DIM) {
    SplitSum all = {NEGATIVE_INFINITY, 0.f, 0.f};
    for (int first = 0; first < splits; first += SPLITS_AT_ONCE) {
      SplitSum some[SPLITS_AT_ONCE];
      partials.get((size_t)head * SPLIT_WIDTH + (size_t)first * HEADS * SPLIT_WIDTH, at,
                   min(SPLITS_AT_ONCE, splits - first), some);
      float top = all.top;
#pragma unroll
      for (int p = 0; p < SPLITS_AT_ONCE; p++) top = fmaxf(top, some[p].top);
      const float before = expf(all.top - top);
      all = {top, all.sum * before, all.total * before};
#pragma unroll
      for (int p = 0; p < SPLITS_AT_ONCE; p++) {
        const float weight = expf(some[p].top - top);
        all.sum = fmaf(weight, some[p].sum, all.sum);
        all.total = fmaf(weight, some[p].total, all.total);
      }
    }
    tell(out + head * HEAD_DIM + at, __fdiv_rn(all.total, all.sum));
  }
  block_sync();
}
