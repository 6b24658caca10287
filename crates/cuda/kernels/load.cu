// Loading: rows as a file stores them become INT8 tiles, and floats are quantised on the way with
// the CPU engine's arithmetic. And a copy, to measure the memory's speed.

// Type of the source.
#define SOURCE_I8 0
#define SOURCE_BF16 1
#define SOURCE_F16 2
#define SOURCE_F32 3

__device__ __forceinline__ float source_at(const void* row, int type, int i) {
  if (type == SOURCE_F32) return reinterpret_cast<const float*>(row)[i];
  const u16 bits = reinterpret_cast<const u16*>(row)[i];
  return type == SOURCE_F16 ? half_to_float(bits) : __uint_as_float((u32)bits << 16);
}

// Row `r` of `source`, `[rows, cols]`, to row `place` of the tiles: `row_base + r`, or, when
// `interleave` is 0 or 1, the r-th of the gate (0) or up (1) rows, eight of which share a tile
// with eight of the other. Scales go to the same place: made here when the source is a float, else
// from `stored_scales`, `[rows]`. A row that is not finite puts `1 + r` into `bad`. One block a row.
extern "C" __global__ void __launch_bounds__(THREADS)
    pack_rows(const void* source, int type, int rows, int cols, int row_base, int interleave,
              i8* tiles, float* scales, const float* stored_scales, int* bad) {
  __shared__ u32 tops[WARPS];
  const int r = blockIdx.x;
  if (r >= rows) return;
  const int absolute = row_base + r;
  const int place = interleave < 0 ? absolute : absolute / 8 * 16 + interleave * 8 + absolute % 8;
  const int padded = ROUND_UP(cols, UNIT_COLS);
  const int width = type == SOURCE_I8 ? 1 : type == SOURCE_F32 ? 4 : 2;
  const char* row = reinterpret_cast<const char*>(source) + (size_t)r * cols * width;
  float scale = 0.f;
  if (type != SOURCE_I8) {
    u32 top = 0;
    for (int i = threadIdx.x; i < cols; i += THREADS) top = max(top, magnitude(source_at(row, type, i)));
    top = warp_max(top);
    if ((threadIdx.x & 31) == 0) tops[threadIdx.x >> 5] = top;
    __syncthreads();
    top = 0;
    for (int w = 0; w < WARPS; w++) top = max(top, tops[w]);
    scale = __fdiv_rn(__uint_as_float(top), 127.0f);
    if (threadIdx.x == 0 && top >= 0x7f800000u) atomicMax(bad, 1 + r);
    if (threadIdx.x == 0) scales[place] = scale < 1.17549435e-38f ? 0.f : scale;
  }
  else if (threadIdx.x == 0) scales[place] = stored_scales[r];
  const bool zero = scale < 1.17549435e-38f;
  i8* tile = tiles + (size_t)(place / 16) * 16 * padded;
  const int g = place % 8, high = place / 8 % 2;
  for (int i = threadIdx.x; i < cols; i += THREADS) {
    i8 value;
    if (type == SOURCE_I8) value = reinterpret_cast<const i8*>(row)[i];
    else if (zero) value = 0;
    else {
      const float q = __fdiv_rn(source_at(row, type, i), scale) + 12582912.0f;
      value = (i8)(__float_as_uint(q) & 255u);
    }
    const int t = i % 32 / 8, j = i % 8;
    tile[(size_t)(i / 32) * 512 + (g * 4 + t) * 16 + j / 4 * 8 + high * 4 + j % 4] = value;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    copy(const uint4* from, uint4* to, u64 n) {
  for (u64 i = blockIdx.x * (u64)THREADS + threadIdx.x; i < n; i += (u64)gridDim.x * THREADS)
    to[i] = __ldcs(from + i);
}

// Reads only, as decoding does; one word a thread keeps the compiler from leaving it out.
extern "C" __global__ void __launch_bounds__(THREADS)
    read(const uint4* from, u32* to, u64 n) {
  u32 sum = 0;
  const u64 stride = (u64)gridDim.x * THREADS;
  u64 i = blockIdx.x * (u64)THREADS + threadIdx.x;
  for (; i + 3 * stride < n; i += 4 * stride) {
    const uint4 a = __ldcs(from + i), b = __ldcs(from + i + stride);
    const uint4 c = __ldcs(from + i + 2 * stride), d = __ldcs(from + i + 3 * stride);
    sum += a.x ^ b.y ^ c.z ^ d.w;
  }
  if (sum == 0x12345678u) to[0] = sum;
}

// Benchmark only: random INT8 levels, never -128.
extern "C" __global__ void __launch_bounds__(THREADS) randomize(u32* words, u64 n, u32 seed) {
  for (u64 i = blockIdx.x * (u64)THREADS + threadIdx.x; i < n; i += (u64)gridDim.x * THREADS) {
    u64 z = (i + 1) * 0x9e3779b97f4a7c15ull + seed;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    words[i] = (u32)(z >> 32) & 0x7f7f7f7fu;
  }
}
