// Types, conversions, reductions and the grid barrier that every other file uses.
//
// The host compiles these files as one program, with the model's shape and the launch geometry as
// macros: HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCAB, LAYERS, EPS_BITS, HEAD_PIECE_TILES and
// STAGES_1 .. STAGES_8. Contraction of a*b+c is off (--fmad=false): where a fused multiply-add is
// wanted it says fmaf, so that two kernels that share a formula share its bits.

typedef signed char i8;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define WARPS 16
#define THREADS (WARPS * 32)
#define FULL 0xffffffffu

#define NEGATIVE_INFINITY __int_as_float(0xff800000)

// A weight tile is 16 rows; a unit is 16 rows by 128 columns, 2048 bytes in a row in memory.
#define TILE_ROWS 16
#define UNIT_COLS 128
#define UNIT_BYTES (TILE_ROWS * UNIT_COLS)

#define ROUND_UP(a, b) (((a) + (b) - 1) / (b) * (b))
#define DIV_UP(a, b) (((a) + (b) - 1) / (b))
#define PADDED(k) ROUND_UP(k, UNIT_COLS)

#define Q_SIZE (HEADS * HEAD_DIM)
#define KV_SIZE (KV_HEADS * HEAD_DIM)
#define QKV_ROWS (Q_SIZE + 2 * KV_SIZE)
#define GROUP (HEADS / KV_HEADS)
// Tokens of one page of the KV cache, and of one split of attention.
#define PAGE 256

__device__ __forceinline__ float eps() { return __uint_as_float(EPS_BITS); }

// Loads of what other blocks wrote in this launch: they must not come from this SM's own cache.
__device__ __forceinline__ float fresh(const float* p) { return __ldcg(p); }
__device__ __forceinline__ float4 fresh4(const float* p) {
  return __ldcg(reinterpret_cast<const float4*>(p));
}

__device__ __forceinline__ u16 half_bits(float x) {
  u16 h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
  return h;
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

// One sum of products as it becomes a number, everywhere.
__device__ __forceinline__ float dequantized(int sum, float x_scale, float w_scale) {
  return __int2float_rn(sum) * (x_scale * w_scale);
}
__device__ __forceinline__ float silu_times(float gate, float up) {
  return __fdiv_rn(gate, 1.0f + expf(-gate)) * up;
}

// All blocks of a cooperative launch meet here. `target` is the count at which all have arrived;
// the counter is never reset, and differences of it are right across its overflow.
__device__ __forceinline__ void grid_barrier(u32* counter, u32 target) {
  __syncthreads();
  if (threadIdx.x == 0) {
    u32 seen;
    __threadfence();
    atomicAdd(counter, 1u);
    do {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(seen) : "l"(counter) : "memory");
    } while ((int)(seen - target) < 0);
  }
  __syncthreads();
}
