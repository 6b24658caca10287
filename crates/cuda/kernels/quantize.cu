// Rows of activations to INT8, with or without RMSNorm before.
//
// With v = x * weight (or x), a row becomes round(v * 127 / max|v|), and its scale is
// max|v| / 127, times the inverse root mean square of x where there is a norm: the norm divides a
// row by one number, which the quantised values do not feel. So the decode kernel needs only the
// maximum before it can quantise, and whoever writes x keeps it up to date. Squares are added up
// over 16 elements first and then over those sums in one fixed order: so the bits do not depend
// on how many rows there are or which block works on them.

#define SUMS_OF_ROW(k) DIV_UP(k, TILE_ROWS)

// Sum and maximum over 16 lanes; all lanes get it.
__device__ __forceinline__ float sum16(float x) {
  for (int o = 8; o > 0; o >>= 1) x += __shfl_xor_sync(FULL, x, o);
  return x;
}

// 127 / max|v|, or 0 for a row that is zero in effect. NaN fails the comparison and is kept.
__device__ __forceinline__ float levels_per_unit(u32 top) {
  const float scale = __fdiv_rn(__uint_as_float(top), 127.0f);
  return scale < 1.17549435e-38f ? 0.f : __fdiv_rn(127.0f, __uint_as_float(top));
}
__device__ __forceinline__ float unit_of_level(u32 top) {
  const float scale = __fdiv_rn(__uint_as_float(top), 127.0f);
  return scale < 1.17549435e-38f ? 0.f : scale;
}
// Adding 1.5 * 2^23 rounds half to even, as the CPU engine does.
__device__ __forceinline__ u32 level(float v, float factor) {
  return __float_as_uint(v * factor + 12582912.0f) & 255u;
}

// Inverse root mean square from the sums over 16 elements, by one warp.
template <int K>
__device__ __forceinline__ float inverse_rms(const float* sums) {
  float total = 0.f;
#pragma unroll 4
  for (int i = threadIdx.x & 31; i < SUMS_OF_ROW(K); i += 32) total += fresh(sums + i);
  const float mean = __fdiv_rn(warp_sum(total), (float)K);
  return __fdiv_rn(1.0f, __fsqrt_rn(mean + eps()));
}

struct QuantizeShared {
  float sums[SUMS_OF_ROW(HIDDEN)];
  u32 tops[WARPS];
};

// One row by the whole block, from scratch: `out`, PADDED(K) bytes, and `*scale`. Ends in step.
template <int K, bool NORM>
__device__ void quantize_row(const float* row, const float* weight, i8* out, float* scale,
                             QuantizeShared& s) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  u32 top = 0;
  for (int i = threadIdx.x; i < ROUND_UP(K, THREADS); i += THREADS) {
    const float x = i < K ? fresh(row + i) : 0.f;
    const float v = NORM && i < K ? x * __ldg(weight + i) : x;
    top = max(top, magnitude(v));
    if (NORM) {
      const float sum = sum16(x * x);
      if (lane % 16 == 0 && i < K) s.sums[i / 16] = sum;
    }
  }
  top = warp_max(top);
  if (lane == 0) s.tops[warp] = top;
  __syncthreads();
  top = warp_max(s.tops[lane % WARPS]);
  const float factor = levels_per_unit(top);
  if (warp == 0) {
    float unit = unit_of_level(top);
    if (NORM) {
      float total = 0.f;
#pragma unroll 4
      for (int i = lane; i < SUMS_OF_ROW(K); i += 32) total += s.sums[i];
      const float mean = __fdiv_rn(warp_sum(total), (float)K);
      unit *= __fdiv_rn(1.0f, __fsqrt_rn(mean + eps()));
    }
    if (lane == 0) *scale = unit;
  }
  for (int i = threadIdx.x; i < PADDED(K); i += THREADS) {
    const float x = i < K ? fresh(row + i) : 0.f;
    out[i] = (i8)level(NORM && i < K ? x * __ldg(weight + i) : x, factor);
  }
  __syncthreads();
}

// `n` rows by the whole block, when their maxima (and, with NORM, the sums of their squares) are
// known: one pass without waiting. `tops` is [n], `sums` is [n][SUMS_OF_ROW(K)]; `factors` is
// scratch, [n]. Ends in step.
template <int N, int K, bool NORM>
__device__ __forceinline__ void quantize_known(const float* rows, const float* weight, int n,
                                               const u32* tops, const float* sums, i8* out,
                                               int stride, float* scales, float* factors) {
  constexpr int VECTORS = DIV_UP(K, 4), PADDED_VECTORS = PADDED(K) / 4;
  constexpr int ITEMS = DIV_UP(N * PADDED_VECTORS, THREADS), BATCH = ITEMS < 6 ? ITEMS : 6;
  const int warp = threadIdx.x >> 5;
  for (int first = 0; first < ITEMS; first += BATCH) {
    float4 held[BATCH], w[BATCH];
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      const int item = (first + i) * THREADS + threadIdx.x;
      const int row = item / PADDED_VECTORS, vector = item % PADDED_VECTORS;
      held[i] = w[i] = make_float4(0.f, 0.f, 0.f, 0.f);
      if (row < n && vector < VECTORS) {
        held[i] = fresh4(rows + (size_t)row * K + vector * 4);
        if (NORM) w[i] = __ldg(reinterpret_cast<const float4*>(weight) + vector);
      }
    }
    if (first == 0) {
      if (warp < n) {
        const u32 top = __ldcg(tops + warp);
        float unit = unit_of_level(top);
        if (NORM) unit *= inverse_rms<K>(sums + warp * SUMS_OF_ROW(K));
        if ((threadIdx.x & 31) == 0) scales[warp] = unit, factors[warp] = levels_per_unit(top);
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      const int item = (first + i) * THREADS + threadIdx.x;
      const int row = item / PADDED_VECTORS, vector = item % PADDED_VECTORS;
      if (row >= n || first + i >= ITEMS) continue;
      float4 v = held[i];
      if (NORM) v = make_float4(v.x * w[i].x, v.y * w[i].y, v.z * w[i].z, v.w * w[i].w);
      const float f = factors[row];
      *reinterpret_cast<u32*>(out + row * stride + vector * 4) =
          level(v.x, f) | level(v.y, f) << 8 | level(v.z, f) << 16 | level(v.w, f) << 24;
    }
  }
  __syncthreads();
}
