// RoPE, q/k norm, KV append and attention over one split of 128 tokens.
//
// Queries and keys are normalised AFTER the rotation: this family's trap. Products of attention are
// products of integers, as those of the linear layers are: each head of a query, key or value is a vector
// of fine levels with one unit, so sums are exact, and the CPU engine has the same bits
// (docs/arithmetic.md). The tensor core takes the two bytes of a level apart. How a sequence is cut into
// splits depends on positions alone, so the bits do not depend on batch or chunk. A block takes one
// query head: few instructions matter more here than loading keys once for all heads of a group.
// Each of its warps scores 16 keys; then each weighs all of them and adds up the values of some elements.

// Keys of a warp: the rows of one product of the tensor core.
#define WARP_KEYS 16
static_assert(WARPS * WARP_KEYS == SPLIT, "a block takes a split");
// A cached key or value: the high bytes of its levels, then the low ones.
#define ROW_BYTES (2 * HEAD_DIM)
// Words that a lane loads at once of a key, and how often.
#define KEY_WORDS MIN_OF(4, ROW_BYTES / 16)
#define KEY_LOADS (ROW_BYTES / (16 * KEY_WORDS))
// Elements of a head that a warp adds up values of at once, and how many there are of these.
#define VALUE_TILE 16
#define VALUE_TILES (HEAD_DIM / VALUE_TILE)
// Values of four tokens lie together: the high bytes of each element, then the low ones.
#define QUAD_BYTES (4 * ROW_BYTES)
// Groups of 16 tokens whose values a lane asks for at once.
#define GROUPS_AT_ONCE 4

// One page: rows [layer][key, value][kv head][PAGE][ROW_BYTES], where four values share four rows, then
// units [layer][key, value][kv head][PAGE].
__device__ __forceinline__ int page_head(int layer, int is_value, int kv_head) {
  return (layer * 2 + is_value) * KV_HEADS + kv_head;
}
__device__ __forceinline__ i8* page_rows(u64 page, int layer, int is_value, int kv_head) {
  return reinterpret_cast<i8*>(page) + (size_t)page_head(layer, is_value, kv_head) * PAGE * ROW_BYTES;
}
__device__ __forceinline__ float* page_units(u64 page, int layer, int is_value, int kv_head) {
  return reinterpret_cast<float*>(page_rows(page, LAYERS, 0, 0)) +
         page_head(layer, is_value, kv_head) * PAGE;
}
// Where byte `byte` of a token's key lies in its row. Each 16 bytes go elsewhere in the row beside it: the two
// are read together, and would be in the same banks of shared memory.
__device__ __forceinline__ int in_key(int token, int byte) {
  return byte ^ ((token & 1) << 2 & (ROW_BYTES / 16 - 1)) << 4;
}
// Where the high or low byte of an element of a token's value lies, from the first of all. Each 32 bytes go
// elsewhere in the four tokens beside, for the same reason.
__device__ __forceinline__ int in_values(int token, int is_low, int element) {
  const int quad = token >> 2;
  return quad * QUAD_BYTES + is_low * 4 * HEAD_DIM +
         (element * 4 ^ (quad & 3 & (HEAD_DIM / 8 - 1)) << 5) + (token & 3);
}
__device__ __forceinline__ void put_level(i8* rows, int token, int is_value, int element, int level) {
  i8* const row = rows + token * ROW_BYTES;
  i8* const high = is_value ? rows + in_values(token, 0, element) : row + in_key(token, element);
  i8* const low =
      is_value ? rows + in_values(token, 1, element) : row + in_key(token, HEAD_DIM + element);
  *high = high_byte(level), *low = (i8)level;
}

// With room for OWN keys and values that this step brings.
template <int OWN>
struct AttentionShared {
  // Four tokens of which some are this step's: so many, wherever they begin.
  static constexpr int QUADS = (OWN + 6) / 4;
  // Each warp's query: high bytes, then low ones.
  __align__(16) i8 q[WARPS][2][HEAD_DIM];
  __align__(16) float scores[SPLIT];
  float q_units[WARPS];
  __align__(16) i8 own_keys[MAX_OF(1, OWN)][ROW_BYTES];
  __align__(16) i8 own_values[QUADS][QUAD_BYTES];
  float own_units[2][MAX_OF(1, OWN)];
  u32 is_last;
};

// What queries, keys and values come as: numbers, numbers that may still be AWAITED, or, where it is
// greater, sums of so many parts.
#define AS_NUMBERS (-1)
#define AS_AWAITED 0

// What attention of one token needs. The cache need not have the keys and values of a sequence's tokens of
// this step yet; those tokens follow each other in all arrays.
struct AttentionToken {
  // Before RoPE: [Q_SIZE], and, where the cache need not have them, behind it [2][KV_SIZE]; those of the token
  // before it are QKV_ROWS before it.
  const float* q;
  const float* rotation;  // [HEAD_DIM]: cosines, then sines; those of the position before lie before them
  // Of sums, the scale of the token's levels, that of the token before before it, and those of `q`'s rows.
  const float *x_scale, *row_scales;
  int position;
  // Position of the sequence's first token of this step; `position + 1` where the cache has all.
  int first_new;
  u64 page;  // the page of this split

  // First row of a split in its page.
  static __device__ __forceinline__ int first_row(int split) {
    return split % (PAGE / SPLIT) * SPLIT;
  }
};

// Adds 16 rows by 32 columns times three columns, as the tensor core has them: `c[0]` and `c[1]` of lanes
// 4g are row g's sums with the first and the second column, `c[2]` and `c[3]` those of row g + 8; lanes
// 4g + 1 have the third column's in `c[0]` and `c[2]`. Nothing else of `c` counts.
__device__ __forceinline__ void multiply_columns(int (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  multiply_add(c, make_uint4(a[0], a[1], a[2], a[3]), make_uint2(b[0], b[1]));
#else
  // Column `n` is in lanes 4n .. 4n + 3; each lane has eight elements of two rows.
  const int t = threadIdx.x & 3;
#pragma unroll
  for (int n = 0; n < 3; n++) {
    const int x = __shfl_sync(FULL, b[0], n * 4 + t), y = __shfl_sync(FULL, b[1], n * 4 + t);
    int first = __dp4a((int)a[0], x, __dp4a((int)a[2], y, 0));
    int second = __dp4a((int)a[1], x, __dp4a((int)a[3], y, 0));
    for (int o = 1; o < 4; o *= 2) {
      first += __shfl_xor_sync(FULL, first, o);
      second += __shfl_xor_sync(FULL, second, o);
    }
    if (t == n / 2) c[n & 1] += first, c[2 + (n & 1)] += second;
  }
#endif
}
// The three columns for a vector of levels: what meets high bytes, then what meets low ones.
struct Columns {
  u32 high, low;
};
// What of them a lane 4g + t holds: that of column g.
struct ColumnOfLane {
  u32 first, second, third;  // masks
  __device__ __forceinline__ ColumnOfLane() {
    const int g = (threadIdx.x & 31) >> 2;
    first = g == 0 ? FULL : 0u, second = g == 1 ? FULL : 0u, third = g == 2 ? FULL : 0u;
  }
  // For rows of high bytes, then of low ones.
  __device__ __forceinline__ void of(const Columns& c, u32 (&b)[2]) const {
    b[0] = (c.high & first) | (c.low & second);
    b[1] = (c.high & second) | (c.low & third);
  }
};
// The sum of products of levels out of the sums of their bytes' products, high by high, high by low in both
// ways, low by low: exact, and then rounded once. High bytes are at most 64, so no sum leaves its integer.
static_assert(MAX_OF(HEAD_DIM, SPLIT) * 64 * 64 < (1 << 22) - (1 << 15), "small enough to be converted");
static_assert(2 * MAX_OF(HEAD_DIM, SPLIT) * 64 * 128 <= 1 << 22, "times 256 an integer of 32 bits");
__device__ __forceinline__ float sum_of_levels(int high, int mixed, int low) {
  const int rest = mixed * 256 + low, carry = (rest + 32768) >> 16;
  return fmaf(small_to_float(high + carry), 65536.0f, small_to_float(rest - carry * 65536));
}

// A head, and what its levels need: a norm only where it is NORMED, scales only where it is sums.
struct Head {
  const float *numbers, *rotation, *norm;
  // Of its rows, and of the levels that were multiplied.
  const float *row_scales, *x_scale;
};
// Reads a head with one warp, rotates and normalises it, if NORMED, and makes levels of it. Calls `put` with an
// element's number and its level, and `put_unit` with the unit, in each lane.
template <int AS, bool NORMED, class Put, class PutUnit>
__device__ __forceinline__ void take_head(const Head& head, Put put, PutUnit put_unit) {
  constexpr int HALF = HEAD_DIM / 2, PAIRS = DIV_UP(HALF, 32), PARTS = MAX_OF(1, AS);
  constexpr bool ARE_SUMS = AS > 0;
  const int lane = threadIdx.x & 31;
  // What does not depend on the head is on its way while it is awaited.
  float a[PAIRS], b[PAIRS], cosine[PAIRS], sine[PAIRS], weight[PAIRS][2], row_scale[PAIRS][2];
#pragma unroll
  for (int i = 0; i < PAIRS; i++) {
    const int at = i * 32 + lane;
    const bool is_there = at < HALF;
    if (NORMED) {
      cosine[i] = is_there ? now(head.rotation + at) : 0.f;
      sine[i] = is_there ? now(head.rotation + at + HALF) : 0.f;
      weight[i][0] = is_there ? far_constant(head.norm + at) : 0.f;
      weight[i][1] = is_there ? far_constant(head.norm + at + HALF) : 0.f;
    }
    if (ARE_SUMS) {
      row_scale[i][0] = is_there ? far_constant(head.row_scales + at) : 0.f;
      row_scale[i][1] = is_there ? far_constant(head.row_scales + at + HALF) : 0.f;
    }
  }
  float x_scale = 0.f;
  bool complete;
  do {
    complete = true;
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
      const int at = i * 32 + lane;
      a[i] = at < HALF ? now(head.numbers + at) : 0.f;
      b[i] = at < HALF ? now(head.numbers + at + HALF) : 0.f;
    }
    if (ARE_SUMS) {
      x_scale = now(head.x_scale);
      complete &= !is_untold(x_scale);
    }
#pragma unroll
    for (int i = 0; i < PAIRS; i++)
      complete &= i * 32 + lane >= HALF ||
                  !(ARE_SUMS ? is_partial<PARTS>(a[i]) | is_partial<PARTS>(b[i])
                             : is_awaited(a[i]) | is_awaited(b[i]));
  } while (AS != AS_NUMBERS && !complete);
  if (ARE_SUMS) {
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
      const bool is_there = i * 32 + lane < HALF;
      const int x = sum_of_parts<PARTS>(a[i]), y = sum_of_parts<PARTS>(b[i]);
      a[i] = is_there ? dequantized(x, x_scale, row_scale[i][0]) : 0.f;
      b[i] = is_there ? dequantized(y, x_scale, row_scale[i][1]) : 0.f;
    }
  }
  if (NORMED) {
    float squares = 0.f;
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
      const float x = a[i], y = b[i];
      a[i] = x * cosine[i] - y * sine[i];
      b[i] = y * cosine[i] + x * sine[i];
      squares += a[i] * a[i] + b[i] * b[i];
    }
    const float mean = __fdiv_rn(warp_sum(squares), (float)HEAD_DIM);
    const float scale = __fdiv_rn(1.0f, __fsqrt_rn(mean + eps()));
#pragma unroll
    for (int i = 0; i < PAIRS; i++) a[i] *= scale * weight[i][0], b[i] *= scale * weight[i][1];
  }
  u32 top = 0;
#pragma unroll
  for (int i = 0; i < PAIRS; i++) top = max(top, max(magnitude(a[i]), magnitude(b[i])));
  const FineLevels levels(warp_max(top));
#pragma unroll
  for (int i = 0; i < PAIRS; i++) {
    const int at = i * 32 + lane;
    if (at >= HALF) continue;
    put(at, levels.level(a[i]));
    put(at + HALF, levels.level(b[i]));
  }
  put_unit(levels.unit);
}

// BYTES that follow each other, all at once.
template <int BYTES>
__device__ __forceinline__ void load_words(u32* to, const i8* from) {
  if (BYTES == 16) {
    const uint4 v = *reinterpret_cast<const uint4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
  } else {
    static_assert(BYTES == 16 || BYTES == 8, "two words or four");
    const uint2 v = *reinterpret_cast<const uint2*>(from);
    to[0] = v.x, to[1] = v.y;
  }
}

// Keys of a split that count, and the first of them that this step brings: they are the last.
__device__ __forceinline__ int keys_of(const AttentionToken& token, int split) {
  return min(SPLIT, token.position + 1 - split * SPLIT);
}
__device__ __forceinline__ int first_own_of(const AttentionToken& token, int split) {
  return max(0, token.first_new - split * SPLIT);
}

// Lane 4g + t multiplies, of keys g and g + 8 of its warp's, what column t of the tensor core's rows is.
// Which bytes these are is ours to choose, so each lane loads words that follow each other.
__device__ __forceinline__ int scored_key(int i) { return ((thread_now() & 31) >> 2) + i * 8; }
__device__ __forceinline__ int key_byte(int load) {
  return (load * 4 + (thread_now() & 3)) * 4 * KEY_WORDS;
}

// Old keys and values where they lie, `CHUNK_BYTES` of values at a time.
struct PageRows {
  const i8 *key_rows, *value_rows;
  __device__ __forceinline__ PageRows(const AttentionToken& token, int layer, int kv_head, int split)
      : key_rows(page_rows(token.page, layer, 0, kv_head) + token.first_row(split) * ROW_BYTES),
        value_rows(page_rows(token.page, layer, 1, kv_head) + token.first_row(split) * ROW_BYTES) {}
  __device__ __forceinline__ const i8* keys() const { return key_rows; }
  __device__ __forceinline__ void end_keys() const {}
  __device__ __forceinline__ const i8* values(int chunk) const {
    return value_rows + chunk * CHUNK_BYTES;
  }
  __device__ __forceinline__ void end_values() const {}
};
// Chunks of a split's keys, or values.
#define SPLIT_CHUNKS DIV_UP(SPLIT * ROW_BYTES, CHUNK_BYTES)

// What a split knows of one element of a head: its values' sum, in units of e^top, and that of the
// weights.
struct SplitSum {
  float top, sum, total;
};
// Splits whose results are read at once.
#define SPLITS_AT_ONCE 4
#define SPLIT_WIDTH (HEAD_DIM + 2)

// Scores of a warp's keys, of which those from `first_own` on are this step's.
template <class Shared>
__device__ __forceinline__ void score_keys(Shared& s, const i8* old_keys, int first_own, int keys,
                                           const float (&units)[2]) {
  const int lane = thread_now() & 31, warp = thread_now() >> 5, g = lane >> 2;
  const int first = warp * WARP_KEYS;
  // Two chains, of even and odd steps.
  int c[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
  const i8* row[2];
  int key[2];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    key[i] = min(first + scored_key(i), keys - 1);
    row[i] = key[i] >= first_own ? s.own_keys[key[i] - first_own] : old_keys + key[i] * ROW_BYTES;
  }
#pragma unroll
  for (int load = 0; load < KEY_LOADS; load++) {
    const int byte = key_byte(load);
    u32 k[2][KEY_WORDS], q[KEY_WORDS];
#pragma unroll
    for (int i = 0; i < 2; i++) load_words<4 * KEY_WORDS>(k[i], row[i] + in_key(key[i], byte));
#pragma unroll
    for (int word = 0; word < KEY_WORDS; word++) q[word] = 0;
    // What column g has there, as in `ColumnOfLane`: the query's half that meets this half of a key.
    const int half = byte / HEAD_DIM, of_query = g - half;
    if (of_query == 0 || of_query == 1)
      load_words<4 * KEY_WORDS>(q, s.q[warp][of_query] + byte % HEAD_DIM);
#pragma unroll
    for (int word = 0; word < KEY_WORDS; word += 2) {
      const u32 a[4] = {k[0][word], k[1][word], k[0][word + 1], k[1][word + 1]};
      const u32 b[2] = {q[word], q[word + 1]};
      multiply_columns(c[(load * KEY_WORDS + word) / 2 & 1], a, b);
    }
  }
  const float unit = __fdiv_rn(1.0f, __fsqrt_rn((float)HEAD_DIM)) * s.q_units[warp];
#pragma unroll
  for (int i = 0; i < 2; i++) {
    const int high = c[0][i * 2] + c[1][i * 2], mixed = c[0][i * 2 + 1] + c[1][i * 2 + 1];
    const float sum = sum_of_levels(high, mixed, __shfl_down_sync(FULL, high, 1));
    if ((lane & 3) == 0 && first + scored_key(i) < keys)
      s.scores[first + scored_key(i)] = sum * (unit * units[i]);
  }
}

// The largest of a warp's numbers, in each lane.
__device__ __forceinline__ float warp_top(float x) {
  const u32 bits = __float_as_uint(x);
  const u32 top = warp_max(bits & 0x80000000u ? ~bits : bits | 0x80000000u);
  return __uint_as_float(top & 0x80000000u ? top & 0x7fffffffu : ~top);
}

// What the keys of a split weigh. Lane l has keys 4l .. 4l + 3.
struct Weights {
  float top, sum;  // largest score, and the sum of e^(score - top)
  float unit;      // of the weights' levels
  Columns levels;  // of the lane's four

  __device__ __forceinline__ Weights(const float* scores, int keys, const float (&value_units)[4]) {
    const int first = (threadIdx.x & 31) * 4;
    const float4 four = *reinterpret_cast<const float4*>(scores + first);
    float of[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (first + i >= keys) of[i] = NEGATIVE_INFINITY;
    top = warp_top(fmaxf(fmaxf(of[0], of[1]), fmaxf(of[2], of[3])));
#pragma unroll
    for (int i = 0; i < 4; i++) of[i] = exponential(of[i] - top);
    sum = warp_sum((of[0] + of[1]) + (of[2] + of[3]));
    u32 largest = 0;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      of[i] *= value_units[i];
      largest = max(largest, magnitude(of[i]));
    }
    largest = warp_max(largest);
    const FineLevels fine(largest);
    unit = fine.unit;
    int level[4];
#pragma unroll
    for (int i = 0; i < 4; i++) level[i] = fine.level(of[i]);
    levels.high = __byte_perm(__byte_perm(level[0] + 128, level[1] + 128, 0x0051),
                              __byte_perm(level[2] + 128, level[3] + 128, 0x0051), 0x5410);
    levels.low = __byte_perm(__byte_perm(level[0], level[1], 0x0040),
                             __byte_perm(level[2], level[3], 0x0040), 0x5410);
  }
};

// Adds up values of groups of 16 tokens: COUNT elements of two for each lane, at `values`, of tokens whose
// weights lane `first_lane` and the next ones have. In `c[chain]` as `multiply_columns` leaves it.
template <int COUNT>
__device__ __forceinline__ void add_values(const i8* values, const Columns& levels, int first_lane,
                                           const ColumnOfLane& column, int (&c)[2][4]) {
  uint2 v[COUNT][2];
#pragma unroll
  for (int i = 0; i < COUNT; i++)
#pragma unroll
    for (int is_low = 0; is_low < 2; is_low++)
      v[i][is_low] =
          *reinterpret_cast<const uint2*>(values + i * 4 * QUAD_BYTES + is_low * 4 * HEAD_DIM);
#pragma unroll
  for (int i = 0; i < COUNT; i++) {
    const int from = first_lane + i * 4 + ((int)threadIdx.x & 3);
    const Columns columns = {__shfl_sync(FULL, levels.high, from),
                             __shfl_sync(FULL, levels.low, from)};
    const u32 a[4] = {v[i][0].x, v[i][0].y, v[i][1].x, v[i][1].y};
    u32 b[2];
    column.of(columns, b);
    multiply_columns(c[i & 1], a, b);
  }
}

// Attention of one token's query head `head` over split `split`, by the whole block. `source` knows the
// old keys and values: each warp asks it for `keys()` when it has its query, then for `values()`. `out`
// is [Q_SIZE]. Sequences of several splits leave partial results, [splits][HEADS][SPLIT_WIDTH] of
// `Partials`, and one block a head adds them up.
template <int AS, int OWN, class Source, class Partials>
__device__ __forceinline__ void attend(AttentionShared<OWN>& s, const AttentionToken& token,
                                       Source source, int layer, int head, int split,
                                       const float* q_norm, const float* k_norm, float* out,
                                       Partials partials) {
  static_assert(OWN <= WARPS, "a warp a key of this step");
  const int tid = thread_now();
  const int warp = tid >> 5, kv_head = head / GROUP;
  const int splits = token.position / SPLIT + 1;
  const int keys = keys_of(token, split), first_own = first_own_of(token, split);
  const bool is_used = warp * WARP_KEYS < keys;
  // Keys and values of this step: each of several is made by a warp; a single one by the warps behind those that
  // have keys, if there are such, beside their queries.
  const int own = OWN == 0 ? 0 : max(0, keys - first_own), used = DIV_UP(keys, WARP_KEYS);
  const int key_maker = own > 1 ? 0 : min(used, WARPS - 1);
  const int value_maker = own > 1 ? 0 : used == WARPS ? 0 : min(used + 1, WARPS - 1);
  const int made_key = warp - key_maker, made_value = warp - value_maker;

  auto put_query = [&](int at, int level) {
    s.q[warp][0][at] = high_byte(level);
    s.q[warp][1][at] = (i8)level;
  };
  const bool is_first_lane = (tid & 31) == 0;
  const int first_row = token.first_row(split);
  const float* const key_units = page_units(token.page, layer, 0, kv_head) + first_row;
  const float* const value_units = page_units(token.page, layer, 1, kv_head) + first_row;
  // Units of old keys and values are on their way while the heads are awaited.
  const int of_warp = warp * WARP_KEYS, of_lane = (tid & 31) * 4;
  float units[2], four_units[4];
#pragma unroll
  for (int i = 0; i < 2; i++) units[i] = now(key_units + of_warp + scored_key(i));
  {
    const float4 four = now4(value_units + of_lane);
    four_units[0] = four.x, four_units[1] = four.y, four_units[2] = four.z, four_units[3] = four.w;
  }
  // Tokens from the `which`th of this step here to the query's.
  const auto before_query = [&](int which) {
    return token.position - split * SPLIT - first_own - which;
  };
  // Keeps levels of the key or value of the `which`th token of this step.
  const auto put_own = [&](int which, int is_value, int element, int level) {
    const int at = first_own + which;
    // As the rows of the split, of which the first ones are not here.
    put_level(is_value ? s.own_values[0] - (first_own >> 2) * QUAD_BYTES
                       : s.own_keys[0] - first_own * ROW_BYTES,
              at, is_value, element, level);
    // Every head of a group needs the key and value; one of them keeps those of the token itself.
    if (head % GROUP == 0 && before_query(which) == 0)
      put_level(page_rows(token.page, layer, is_value, kv_head), first_row + at, is_value, element,
                level);
  };
  const auto put_own_unit = [&](int which, int is_value, float unit) {
    if (!is_first_lane) return;
    s.own_units[is_value][which] = unit;
    if (head % GROUP == 0 && before_query(which) == 0)
      page_units(token.page, layer, is_value, kv_head)[first_row + first_own + which] = unit;
  };
#pragma unroll 1
  for (int is_key = 0; is_key < (OWN > 0 ? 2 : 1); is_key++) {
    if (is_key ? made_key < 0 || made_key >= own : !is_used) continue;
    const int before = is_key ? before_query(made_key) : 0;
    const int at = is_key ? Q_SIZE + kv_head * HEAD_DIM : head * HEAD_DIM;
    const Head one = {token.q - (size_t)before * QKV_ROWS + at, token.rotation - before * HEAD_DIM,
                      is_key ? k_norm : q_norm, token.row_scales + at, token.x_scale - before};
    take_head<AS, true>(
        one,
        [&](int element, int level) {
          if (is_key) put_own(made_key, 0, element, level);
          else put_query(element, level);
        },
        [&](float unit) {
          if (is_key) put_own_unit(made_key, 0, unit);
          else if (is_first_lane) s.q_units[warp] = unit;
        });
  }
  if (OWN > 0 && made_value >= 0 && made_value < own) {
    const int before = before_query(made_value), at = Q_SIZE + KV_SIZE + kv_head * HEAD_DIM;
    const Head one = {token.q - (size_t)before * QKV_ROWS + at, nullptr, nullptr,
                      token.row_scales + at, token.x_scale - before};
    take_head<AS, false>(
        one, [&](int element, int level) { put_own(made_value, 1, element, level); },
        [&](float unit) { put_own_unit(made_value, 1, unit); });
  }
  if (OWN > 0 && own > 0) block_sync();
  else __syncwarp();
  // Units of this step's keys, for the warp that has some: the others would read while one is written.
  if (OWN > 0 && is_used && of_warp + WARP_KEYS > first_own) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const int key = of_warp + scored_key(i);
      const float own_unit = s.own_units[0][min(OWN - 1, max(0, key - first_own))];
      units[i] = key >= first_own ? own_unit : units[i];
    }
  }
  const i8* const old_keys = source.keys();
  if (is_used) score_keys(s, old_keys, first_own, keys, units);
  source.end_keys();
  block_sync();

  // Units of values: those of this step, and 0 for what does not count.
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int key = of_lane + i;
    if (OWN > 0) {
      const float own_unit = s.own_units[1][min(OWN - 1, max(0, key - first_own))];
      four_units[i] = key >= first_own ? own_unit : four_units[i];
    }
    four_units[i] = key < keys ? four_units[i] : 0.f;
  }
  const Weights weights(s.scores, keys, four_units);
  // Those of this step's tokens are taken apart: what the cache has in their place is multiplied by 0, and
  // so is all that lies behind the last key.
  const int old = min(4, max(0, first_own - of_lane));
  const u32 is_own = old == 4 ? 0u : FULL << old * 8;
  const Columns of_old = {weights.levels.high & ~is_own, weights.levels.low & ~is_own};
  const Columns of_own = {weights.levels.high & is_own, weights.levels.low & is_own};
  constexpr int CHUNK_GROUPS = MIN_OF(SPLIT, CHUNK_BYTES / ROW_BYTES) / 16;
  constexpr int AT_ONCE = MIN_OF(GROUPS_AT_ONCE, CHUNK_GROUPS), TILES = DIV_UP(VALUE_TILES, WARPS);
  const int groups = DIV_UP(min(keys, first_own), 16), lane = tid & 31;
  // Where a lane's elements of a tile are among values of tokens whose first is a multiple of 16.
  const auto in_tile = [&](int i) {
    return in_values((lane & 3) * 4, 0, (warp + i * WARPS) * VALUE_TILE + lane / 4 * 2);
  };
  const ColumnOfLane column;
  int sums[TILES][2][4] = {};
#pragma unroll 1
  for (int chunk = 0; chunk < SPLIT_CHUNKS; chunk++) {
    const i8* const values = source.values(chunk);
#pragma unroll
    for (int i = 0; i < TILES; i++) {
      if (warp + i * WARPS >= VALUE_TILES) continue;
#pragma unroll 1
      for (int group = chunk * CHUNK_GROUPS; group < min(groups, (chunk + 1) * CHUNK_GROUPS); group += AT_ONCE)
        add_values<AT_ONCE>(values + in_tile(i) + (group - chunk * CHUNK_GROUPS) * 4 * QUAD_BYTES, of_old,
                            group * 4, column, sums[i]);
    }
    source.end_values();
  }
  if (OWN > 0 && own > 0) {
    const int quad = first_own >> 2;
    // A lane that has no weights of these gives zeros.
    const auto shifted = [&](u32 word) {
      word = __shfl_sync(FULL, word, min(31, quad + (lane & 3)));
      return (lane & 3) < AttentionShared<OWN>::QUADS && quad + (lane & 3) < 32 ? word : 0u;
    };
    const Columns here = {shifted(of_own.high), shifted(of_own.low)};
    u32 b[2];
    column.of(here, b);
    const int at = min(lane & 3, AttentionShared<OWN>::QUADS - 1) * QUAD_BYTES;
#pragma unroll
    for (int i = 0; i < TILES; i++) {
      if (warp + i * WARPS >= VALUE_TILES) continue;
      // In each four tokens elements lie as their number says.
      const int element = (warp + i * WARPS) * VALUE_TILE + lane / 4 * 2;
      const i8* from = s.own_values[0] + at + in_values((quad + (lane & 3)) * 4, 0, element) -
                       (quad + (lane & 3)) * QUAD_BYTES;
      const uint2 high = *reinterpret_cast<const uint2*>(from);
      const uint2 low = *reinterpret_cast<const uint2*>(from + 4 * HEAD_DIM);
      const u32 a[4] = {high.x, high.y, low.x, low.y};
      multiply_columns(sums[i][1], a, b);
    }
  }
  const size_t of_head = (size_t)head * SPLIT_WIDTH, next = (size_t)HEADS * SPLIT_WIDTH;
  const float one_over_sum = __fdiv_rn(1.0f, weights.sum);
#pragma unroll
  for (int i = 0; i < TILES; i++) {
    if (warp + i * WARPS >= VALUE_TILES) continue;
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const int high = sums[i][0][row * 2] + sums[i][1][row * 2];
      const int mixed = sums[i][0][row * 2 + 1] + sums[i][1][row * 2 + 1];
      const int low = __shfl_down_sync(FULL, high, 1);
      const float total = weights.unit * sum_of_levels(high, mixed, low);
      const int at = (warp + i * WARPS) * VALUE_TILE + lane / 4 * 2 + row;
      if ((tid & 3) != 0) continue;
      if (splits == 1) tell(out + head * HEAD_DIM + at, total * one_over_sum);
      else partials.put(of_head + split * next + at, total);
    }
  }
  if (splits > 1 && tid == 0) {
    partials.put(of_head + split * next + HEAD_DIM, weights.top);
    partials.put(of_head + split * next + HEAD_DIM + 1, weights.sum);
  }
  const int at = tid;
  if (splits > 1 && partials.is_mine_to_add(split, splits, &s.is_last) && at < HEAD_DIM) {
    SplitSum all = {NEGATIVE_INFINITY, 0.f, 0.f};
    for (int first = 0; first < splits; first += SPLITS_AT_ONCE) {
      SplitSum some[SPLITS_AT_ONCE];
      partials.get((size_t)head * SPLIT_WIDTH + (size_t)first * HEADS * SPLIT_WIDTH, at,
                   min(SPLITS_AT_ONCE, splits - first), some);
      float top = all.top;
#pragma unroll
      for (int p = 0; p < SPLITS_AT_ONCE; p++) top = fmaxf(top, some[p].top);
      const float before = exponential(all.top - top);
      all = {top, all.sum * before, all.total * before};
#pragma unroll
      for (int p = 0; p < SPLITS_AT_ONCE; p++) {
        const float weight = exponential(some[p].top - top);
        all.sum = all.sum + weight * some[p].sum;
        all.total = all.total + weight * some[p].total;
      }
    }
    tell(out + head * HEAD_DIM + at, __fdiv_rn(all.total, all.sum));
  }
  block_sync();
}
