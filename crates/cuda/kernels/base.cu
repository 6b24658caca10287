// Types, conversions, reductions, and how blocks tell each other numbers, which every other file uses.
//
// The host compiles these files as one program, with the model's shape and the launch geometry as
// macros: HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCAB, LAYERS, EPS_BITS, HEAD_PIECE_TILES and
// STAGES_1 .. STAGES_8. Contraction of a*b+c is off (--fmad=false): floats round as docs/arithmetic.md
// says, and fmaf stands only where the product is exact.

typedef signed char i8;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define WARPS 8
#define THREADS (WARPS * 32)
#define FULL 0xffffffffu

#define NEGATIVE_INFINITY __int_as_float(0xff800000)

// A weight tile is 16 rows; a unit is 16 rows by 128 columns, 2048 bytes in a row in memory.
#define TILE_ROWS 16
#define UNIT_COLS 128
#define UNIT_BYTES (TILE_ROWS * UNIT_COLS)

#define ROUND_UP(a, b) (((a) + (b) - 1) / (b) * (b))
#define DIV_UP(a, b) (((a) + (b) - 1) / (b))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define PADDED(k) ROUND_UP(k, UNIT_COLS)

#define Q_SIZE (HEADS * HEAD_DIM)
#define KV_SIZE (KV_HEADS * HEAD_DIM)
#define K_MAX MAX_OF(HIDDEN, MAX_OF(Q_SIZE, FFN))
#define QKV_ROWS (Q_SIZE + 2 * KV_SIZE)
#define GROUP (HEADS / KV_HEADS)
// Tokens of one page of the KV cache, and of one split of attention.
#define PAGE 256
#define SPLIT 128

// The number of a thread that computes, read anew: nothing that is computed from it is kept in registers from one phase
// to the next, where it would push out what a phase needs.
__device__ __forceinline__ int thread_now() {
  int t;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(t));
  __builtin_assume(t >= 0 && t < THREADS);
  return t;
}

// The block's likewise.
__device__ __forceinline__ int block_now() {
  int b;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(b));
  __builtin_assume(b >= 0);
  return b;
}

// Lets so many cycles pass.
__device__ __forceinline__ void pause(u32 cycles) {
  u32 start, clock;
  asm volatile("mov.u32 %0, %%clock;" : "=r"(start) : : "memory");
  do asm volatile("mov.u32 %0, %%clock;" : "=r"(clock) : : "memory");
  while (clock - start < cycles);
}

__device__ __forceinline__ float eps() { return __uint_as_float(EPS_BITS); }

// Loads of what other blocks wrote in this launch: they must not come from this SM's own cache.
__device__ __forceinline__ float fresh(const float* p) { return __ldcg(p); }

// A constant that is asked for here, and not where the compiler would like to: its way is long.
__device__ __forceinline__ float far_constant(const float* p) {
  float v;
  asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(v) : "l"(p));
  return v;
}
__device__ __forceinline__ float4 far_constant4(const float* p) {
  float4 v;
  asm volatile("ld.global.nc.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(p));
  return v;
}

__device__ __forceinline__ float half_to_float(u16 h) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
  return x;
}

// Bits of |x|: they order like magnitudes, and NaN orders above infinity.
__device__ __forceinline__ u32 magnitude(float x) { return __float_as_uint(x) & 0x7fffffffu; }

__device__ __forceinline__ u32 warp_max(u32 x) {
#if __CUDA_ARCH__ >= 800
  return __reduce_max_sync(FULL, x);
#else
  for (int o = 16; o > 0; o >>= 1) x = max(x, __shfl_xor_sync(FULL, x, o));
  return x;
#endif
}
// Every lane gets the same bits: at each level both partners add the same two numbers.
__device__ __forceinline__ float warp_sum(float x) {
  for (int o = 16; o > 0; o >>= 1) x += __shfl_xor_sync(FULL, x, o);
  return x;
}

// An integer below 2^22 in magnitude: two additions instead of a conversion, of which there are few a clock.
__device__ __forceinline__ float small_to_float(int x) {
  return __int_as_float(x + 0x4b400000) - 12582912.0f;
}

// e^x with a relative error below 3e-7, 0 below -87 and e^88 above 88. Each multiplication and addition
// rounds by itself, so the CPU engine has the same bits. The polynomial is that of Cephes' `expf`.
__device__ __forceinline__ float exponential(float x) {
  const float least = x > 88.0f ? 88.0f : x;  // a NaN stays
  const float shifted = least * 1.44269504f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  float r = least - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float y = (p * (r * r) + r) + 1.0f;
  const u32 power = (__float_as_uint(shifted) - 0x4b400000u + 127u) << 23;
  return x < -87.0f ? 0.0f : y * __uint_as_float(power);
}

// One sum of products as it becomes a number, everywhere.
__device__ __forceinline__ float dequantized(int sum, float x_scale, float w_scale) {
  return __int2float_rn(sum) * (x_scale * w_scale);
}
__device__ __forceinline__ float silu_times(float gate, float up) {
  return __fdiv_rn(gate, 1.0f + exponential(-gate)) * up;
}

// The WARPS warps that compute meet here. A decode kernel has one more warp, which only brings
// weights and takes no part.
__device__ __forceinline__ void block_sync() {
  asm volatile("bar.sync 1, %0;" ::"n"(THREADS) : "memory");
}

// Blocks of one launch hand numbers to each other without any barrier or fence: a word is AWAITED
// until it has its value, and whoever needs it reads it until it has. A word that others read is written once in
// a step, or added to, so no order between words matters. Arithmetic never yields this NaN.
#define AWAITED 0xffffffffu

__device__ __forceinline__ void tell(float* to, float value) {
  u32 bits = __float_as_uint(value);
  if (bits == AWAITED) bits = 0x7fffffffu;
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(bits) : "memory");
}
__device__ __forceinline__ float now(const float* p) {
  float v;
  asm volatile("ld.relaxed.gpu.global.f32 %0, [%1];" : "=f"(v) : "l"(p) : "memory");
  return v;
}
__device__ __forceinline__ float4 now4(const float* p) {
  float4 v;
  asm volatile("ld.relaxed.gpu.global.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(p)
               : "memory");
  return v;
}
__device__ __forceinline__ void tell4(float* to, const float4& v) {
  tell(to, v.x), tell(to + 1, v.y), tell(to + 2, v.z), tell(to + 3, v.w);
}
__device__ __forceinline__ float4 from_host4(const float* p) {
  float4 v;
  asm volatile("ld.volatile.global.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(p));
  return v;
}
__device__ __forceinline__ bool is_awaited(float v) { return __float_as_uint(v) == AWAITED; }
__device__ __forceinline__ bool is_awaited(const float4& v) {
  return is_awaited(v.x) | is_awaited(v.y) | is_awaited(v.z) | is_awaited(v.w);
}
// A warp waits for one word before it asks for all that come at about the same time: else whole rows
// would go to every SM again and again, and the weights would wait behind them.
__device__ __forceinline__ void await_first(const float* p) {
  while (is_awaited(now(p))) {
  }
}
// What one block quantises for all is UNTOLD at first: four levels of -128, which are
// no levels, and no scale is negative. AWAITED would be four levels of -1.
#define UNTOLD 0x80808080u
__device__ __forceinline__ void tell_levels(u32* to, u32 levels) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(levels) : "memory");
}
__device__ __forceinline__ uint4 levels_now(const u32* p) {
  uint4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p)
               : "memory");
  return v;
}
__device__ __forceinline__ bool is_untold(float v) { return __float_as_uint(v) == UNTOLD; }
__device__ __forceinline__ bool is_untold(const uint4& v) {
  return (v.x == UNTOLD) | (v.y == UNTOLD) | (v.z == UNTOLD) | (v.w == UNTOLD);
}

// A sum of integers to which several warps, on several SMs, add their part. Like every word it is AWAITED, -1,
// at first; a part adds PART_UNIT beside its sum, so a word tells by itself whether all have come. With eight
// parts at most of 128 units of columns, a part of 16, no incomplete sum passes for a complete one: the sum of all
// stays below SUM_LIMIT, seven parts reach 7 * PART_UNIT + 7 / 8 * SUM_LIMIT, and eight of them begin at
// 8 * PART_UNIT - SUM_LIMIT; eight and the limit make 2^32.
#define SUM_LIMIT 0x10000000u
#define PART_UNIT 0x1e000000u
__device__ __forceinline__ void add_part(float* to, int sum) {
  asm volatile("red.relaxed.gpu.global.add.u32 [%0], %1;" ::"l"(to), "r"((u32)sum + PART_UNIT)
               : "memory");
}
// A word to which all parts have been added, of which none had anything.
template <int PARTS>
__device__ __forceinline__ float nothing_added() {
  return __uint_as_float(PARTS * PART_UNIT - 1u);
}
template <int PARTS>
__device__ __forceinline__ bool is_partial(float word) {
  return __float_as_uint(word) - (PARTS * PART_UNIT - SUM_LIMIT - 1u) >= 2 * SUM_LIMIT;
}
template <int PARTS>
__device__ __forceinline__ int sum_of_parts(float word) {
  return (int)(__float_as_uint(word) - (PARTS * PART_UNIT - 1u));
}

// A number with the tag of who may read it, in one word.
__device__ __forceinline__ void tell_tagged(u64* to, float value, u32 tag) {
  const u64 word = (u64)tag << 32 | __float_as_uint(value);
  asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(to), "l"(word) : "memory");
}
__device__ __forceinline__ u64 now_tagged(const u64* p) {
  u64 word;
  asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(word) : "l"(p) : "memory");
  return word;
}
