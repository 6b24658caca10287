// Rows of activations to INT8, with or without RMSNorm before.
//
// With v = x * weight (or x), a row becomes round(v * (127 / max|v|)), and its scale is
// max|v| / 127, times the inverse root mean square of x where there is a norm: the norm divides a
// row by one number, which the quantised values do not feel. Squares are added up over 128
// elements first and then over those sums, in one fixed order: so the bits do not depend on how
// many rows there are or which block works on them.

// 127 / max|v|, or 0 for a row whose scale would be no normal number. NaN fails the comparison and is
// kept. A max below 127 * 2^-126 is one whose 127th part rounds to less than 2^-126.
#define LEVELS_TOP_MIN 0x03fe0000u
__device__ __forceinline__ float levels_per_unit(u32 top) {
  return top < LEVELS_TOP_MIN ? 0.f : __fdiv_rn(127.0f, __uint_as_float(top));
}
__device__ __forceinline__ float unit_of_level(u32 top) {
  return top < LEVELS_TOP_MIN ? 0.f : __fdiv_rn(__uint_as_float(top), 127.0f);
}
// Adding 1.5 * 2^23 rounds half to even, as the CPU engine does.
__device__ __forceinline__ u32 level(float v, float factor) {
  return __float_as_uint(v * factor + 12582912.0f) & 255u;
}

// Finer levels, for heads of queries, keys and values and for the weights of attention: whole numbers of a
// power of two, the largest from 2^13 to 2^14, so that there is nothing to divide and both of a level's
// bytes are INT8. A max below 2^-113 counts as none; one that is no number, or infinite, becomes the unit.
struct FineLevels {
  float factor, unit;
  __device__ __forceinline__ explicit FineLevels(u32 top) {
    const u32 exponent = top >> 23;
    const bool is_none = exponent < 14, is_finite = exponent < 255;
    factor = is_none | !is_finite ? 0.f : __uint_as_float((267 - exponent) << 23);
    unit = is_none ? 0.f : __uint_as_float(is_finite ? (exponent - 13) << 23 : top);
  }
  __device__ __forceinline__ int level(float v) const {
    return __float_as_int(v * factor + 12582912.0f) - 0x4b400000;
  }
};
// `level` is `high_byte(level) * 256 + (i8)level`.
__device__ __forceinline__ i8 high_byte(int level) { return (i8)((level + 128) >> 8); }

// Cycles that a block which quantises a row for all lets pass before it asks for it. The others' parts come about when
// its own is done, hardly any before; and what asks for words stands in the way of what is on its way to them.
#define ASKS_AFTER 300

// Vectors of four elements of a row that one thread holds.
#define ROW_ITEMS(k) DIV_UP(PADDED(k) / 4, THREADS)

struct QuantizeShared {
  // Of 128 elements each.
  float sums[DIV_UP(K_MAX, 128)];
  u32 tops[WARPS];
};

// A quantised row in memory, and its scale.
struct PlainRow {
  i8* levels;
  float* scale;
  __device__ __forceinline__ void put(int vector, u32 word) const {
    *reinterpret_cast<u32*>(levels + vector * 4) = word;
  }
  __device__ __forceinline__ void put_scale(float unit) const { *scale = unit; }
  // Other blocks read the same row.
  static constexpr bool HAS_RIVALS = true;
};

// Rows of floats, `[count][K]`. With AWAIT, elements may still be AWAITED.
template <int K, bool AWAIT>
struct FloatRows {
  const float* rows;
  __device__ __forceinline__ float4 ask(int row, int vector) const {
    return now4(rows + (size_t)row * K + vector * 4);
  }
  __device__ __forceinline__ void await_one(int row, int vector) const {
    if (AWAIT) await_first(rows + (size_t)row * K + vector * 4);
  }
  __device__ __forceinline__ bool is_missing(const float4& v) const { return AWAIT && is_awaited(v); }
  __device__ __forceinline__ float4 numbers(int, int, const float4& v) const { return v; }
};

// Rows of K elements by the whole block, `rows` into `out`; `count` is at most ROWS, so that the way to memory and
// the meetings of the block are paid once for all. What `rows` gives when it is asked may be missing yet. Levels are
// there when it ends; the scales when the block has met once more. `s` may be for the next rows at once: what was
// read of it before the second meeting is written before the next first one, and what is read behind it, after that.
template <int K, bool NORM, int ROWS, class Rows, class Out>
__device__ __forceinline__ void quantize_rows(const Rows& rows, int count, const float* weight,
                                              const Out (&out)[ROWS], QuantizeShared (&s)[ROWS]) {
  static_assert(ROWS <= WARPS, "a warp a row's scale");
  const int tid = thread_now();
  constexpr int ITEMS = ROW_ITEMS(K), VECTORS = K / 4;
  const int lane = tid & 31, warp = tid >> 5;
  float4 held[ROWS][ITEMS], w[ITEMS];
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    w[i] = make_float4(0.f, 0.f, 0.f, 0.f);
    const int vector = i * THREADS + tid;
    if (NORM && vector < VECTORS) w[i] = far_constant4(weight + vector * 4);
  }
  if (!Out::HAS_RIVALS) pause(ASKS_AFTER);
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    const bool is_there = ROWS == 1 || r < count;  // one row is always there
    if (Out::HAS_RIVALS && is_there) rows.await_one(r, min(warp * 32, VECTORS - 1));
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      const int vector = i * THREADS + tid;
      held[r][i] = make_float4(0.f, 0.f, 0.f, 0.f);
      if (is_there && vector < VECTORS) held[r][i] = rows.ask(r, vector);
    }
  }
  bool complete;
  do {
    complete = true;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
      for (int i = 0; i < ITEMS; i++) {
        const int vector = i * THREADS + tid;
        if (vector < VECTORS && (ROWS == 1 || r < count) && rows.is_missing(held[r][i])) {
          held[r][i] = rows.ask(r, vector);
          // A block that reads for all looks at nothing before it has asked for all that is missing.
          complete &= Out::HAS_RIVALS && !rows.is_missing(held[r][i]);
        }
      }
  } while (!complete);
  u32 tops[ROWS];
  float squares[ROWS][ITEMS];
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    u32 top = 0;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      float4& v = held[r][i];
      const int vector = i * THREADS + tid;
      if (vector < VECTORS && (ROWS == 1 || r < count)) v = rows.numbers(i, vector, v);
      if (NORM) {
        squares[r][i] = (v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w);
        v = make_float4(v.x * w[i].x, v.y * w[i].y, v.z * w[i].z, v.w * w[i].w);
      }
      top =
          max(max(max(top, magnitude(v.x)), max(magnitude(v.y), magnitude(v.z))), magnitude(v.w));
    }
    top = warp_max(top);
    if (lane == 0) s[r].tops[warp] = top;
  }
  block_sync();
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    tops[r] = warp_max(s[r].tops[lane % WARPS]);
    if (NORM) {
#pragma unroll
      for (int i = 0; i < ITEMS; i++) {
        const float sum = warp_sum(squares[r][i]);
        const int of = i * WARPS + warp;
        // Warps whose 128 elements lie past the row have nothing to add.
        if (lane == 0 && of < DIV_UP(K, 128)) s[r].sums[of] = sum;
      }
    }
    const float factor = levels_per_unit(tops[r]);
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      const int vector = i * THREADS + tid;
      const float4 v = held[r][i];
      if (vector < PADDED(K) / 4 && (ROWS == 1 || r < count))
        out[r].put(vector, level(v.x, factor) | level(v.y, factor) << 8 |
                               level(v.z, factor) << 16 | level(v.w, factor) << 24);
    }
  }
  block_sync();
  // Products of levels can begin; the scales are needed behind them.
#pragma unroll
  for (int r = 0; r < ROWS; r++) {
    if (warp != WARPS - 1 - r || (ROWS > 1 && r >= count)) continue;
    float unit = unit_of_level(tops[r]);
    if (NORM) {
      float total = 0.f;
      for (int i = lane; i < DIV_UP(K, 128); i += 32) total += s[r].sums[i];
      const float mean = __fdiv_rn(warp_sum(total), (float)K);
      unit *= __fdiv_rn(1.0f, __fsqrt_rn(mean + eps()));
    }
    if (lane == 0) out[r].put_scale(unit);
  }
}
