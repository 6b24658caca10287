// Rows of activations to INT8, with or without RMSNorm before.
//
// A row is cut into segments of 128 elements, one warp each, and the segments' sums are added in
// order: so the bits do not depend on how many rows there are or which block works on them.

#define SEGMENT 128

// Room for the segments' sums and maxima of `rows` rows.
#define PARTS(rows, k) ((rows) * DIV_UP(k, SEGMENT))

template <int K>
__device__ __forceinline__ float4 load_segment(const float* row, int segment, int lane) {
  const int at = segment * SEGMENT + lane * 4;
  return at < K ? fresh4(row + at) : make_float4(0.f, 0.f, 0.f, 0.f);
}

__device__ __forceinline__ u32 quantize4(float4 v, float scale) {
  // Adding 1.5 * 2^23 rounds half to even, as the CPU engine does.
  const float shift = 12582912.0f;
  u32 a = __float_as_uint(__fdiv_rn(v.x, scale) + shift) & 255u;
  u32 b = __float_as_uint(__fdiv_rn(v.y, scale) + shift) & 255u;
  u32 c = __float_as_uint(__fdiv_rn(v.z, scale) + shift) & 255u;
  u32 d = __float_as_uint(__fdiv_rn(v.w, scale) + shift) & 255u;
  return a | b << 8 | c << 16 | d << 24;
}

// `out[r] = int8(rows[r])`, `[n, stride]`, and `scales[r]`, by the whole block. With NORM, rows are
// first multiplied by their inverse root mean square and by `weight`. Columns K .. PADDED(K) of
// `out` become 0. `sums` and `maxima` have PARTS(N, K) elements of shared memory each. Ends with
// the block in step.
template <int N, int K, bool NORM>
__device__ void quantize_rows(const float* rows, int row_stride, const float* weight, int n,
                              i8* out, int stride, float* scales, float* sums, u32* maxima) {
  constexpr int SEGMENTS = DIV_UP(K, SEGMENT);
  constexpr int ITEMS = DIV_UP(N * SEGMENTS, WARPS);
  constexpr bool HOLD = ITEMS <= 8;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  float4 held[HOLD ? ITEMS : 1];
  auto load = [&](int item) {
    return load_segment<K>(rows + (item / SEGMENTS) * row_stride, item % SEGMENTS, lane);
  };
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int item = warp + i * WARPS;
    if (HOLD && item < n * SEGMENTS) held[HOLD ? i : 0] = load(item);
  }
  auto at = [&](int i, int item) { return HOLD ? held[HOLD ? i : 0] : load(item); };
  if (NORM) {
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      const int item = warp + i * WARPS;
      if (item >= n * SEGMENTS) break;
      const float4 v = at(i, item);
      const float sum = warp_sum((v.x * v.x + v.y * v.y) + (v.z * v.z + v.w * v.w));
      if (lane == 0) sums[item] = sum;
    }
    __syncthreads();
  }
  auto normed = [&](float4 v, int item) {
    if (!NORM) return v;
    const float* row_sums = sums + item / SEGMENTS * SEGMENTS;
    float total = 0.f;
#pragma unroll 4
    for (int s = 0; s < SEGMENTS; s++) total += row_sums[s];
    const float inverse = __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(total, (float)K) + eps()));
    const int column = item % SEGMENTS * SEGMENT + lane * 4;
    float4 w = make_float4(0.f, 0.f, 0.f, 0.f);
    if (column < K) w = __ldg(reinterpret_cast<const float4*>(weight + column));
    return make_float4(v.x * inverse * w.x, v.y * inverse * w.y, v.z * inverse * w.z,
                       v.w * inverse * w.w);
  };
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int item = warp + i * WARPS;
    if (item >= n * SEGMENTS) break;
    const float4 v = normed(at(i, item), item);
    if (HOLD) held[HOLD ? i : 0] = v;
    const u32 m = max(max(magnitude(v.x), magnitude(v.y)), max(magnitude(v.z), magnitude(v.w)));
    const u32 top = warp_max(m);
    if (lane == 0) maxima[item] = top;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < ITEMS; i++) {
    const int item = warp + i * WARPS;
    if (item >= n * SEGMENTS) break;
    const int row = item / SEGMENTS, segment = item % SEGMENTS;
    const u32* row_maxima = maxima + row * SEGMENTS;
    u32 top = 0;
    for (int s = lane; s < SEGMENTS; s += 32) top = max(top, row_maxima[s]);
    const float scale = __fdiv_rn(__uint_as_float(warp_max(top)), 127.0f);
    // A subnormal scale is zero in effect; NaN fails the comparison and is kept.
    const bool zero = scale < 1.17549435e-38f;
    const float4 v = HOLD ? held[HOLD ? i : 0] : normed(load(item), item);
    const int column = segment * SEGMENT + lane * 4;
    // Segments are as wide as units, so what lies behind K is written as well.
    *reinterpret_cast<u32*>(out + row * stride + column) = zero ? 0u : quantize4(v, scale);
    if (segment == 0 && lane == 0) scales[row] = zero ? 0.0f : scale;
  }
  __syncthreads();
}
