// INT8 products of weight tiles with rows of activations, and the ring that streams weights.
//
// A tile's 16 rows are stored so that the 16 bytes of one lane, for 32 columns, are what the
// tensor core's A fragment wants: rows g and g + 8 at columns 8t .. 8t + 7 of lane 4g + t. The
// order of columns inside a block of 32 is ours to choose, as sums of integers have no order.
// Before sm_80 the same bytes feed dp4a.

#if __CUDA_ARCH__ >= 800
#define SUMS(tokens) (DIV_UP(tokens, 8) * 4)
#else
#define SUMS(tokens) ((tokens) * 2)
#endif

// Adds 16 rows by 32 columns of weights times the same columns of N tokens. `x` points at the
// first token's column 0 of the block; tokens from `n` on count as 0.
template <int N>
__device__ __forceinline__ void multiply(int* sums, uint4 a, const i8* x, int stride, int n) {
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#if __CUDA_ARCH__ >= 800
#pragma unroll
  for (int block = 0; block < DIV_UP(N, 8); block++) {
    const int token = block * 8 + g;
    uint2 b = make_uint2(0u, 0u);
    if (token < n) b = *reinterpret_cast<const uint2*>(x + token * stride + t * 8);
    int* c = sums + block * 4;
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
  }
#else
#pragma unroll
  for (int token = 0; token < N; token++) {
    if (token >= n) break;
    const uint2 b = *reinterpret_cast<const uint2*>(x + token * stride + t * 8);
    sums[token * 2] = __dp4a((int)a.x, (int)b.x, __dp4a((int)a.z, (int)b.y, sums[token * 2]));
    sums[token * 2 + 1] =
        __dp4a((int)a.y, (int)b.x, __dp4a((int)a.w, (int)b.y, sums[token * 2 + 1]));
  }
#endif
}

// Puts a warp's sums into `cells`, `[16, width]` in shared memory.
template <int N>
__device__ __forceinline__ void put_cells(const int* sums, int* cells, int width, int n) {
  const int lane = threadIdx.x & 31, g = lane >> 2, t = lane & 3;
#if __CUDA_ARCH__ >= 800
#pragma unroll
  for (int i = 0; i < SUMS(N); i++) {
    const int token = i / 4 * 8 + t * 2 + (i & 1), row = g + (i & 2) * 4;
    if (token < n) cells[row * width + token] = sums[i];
  }
#else
#pragma unroll
  for (int i = 0; i < SUMS(N); i++) {
    if (i / 2 >= n) break;
    int sum = sums[i] + __shfl_xor_sync(FULL, sums[i], 1);
    sum += __shfl_xor_sync(FULL, sum, 2);
    if (t == 0) cells[(g + (i & 1) * 8) * width + i / 2] = sum;
  }
#endif
}

// One warp's ring of STAGES units in shared memory. Whoever has read a unit asks at once for the
// one that comes STAGES later, so loads go on while the block waits for others. From sm_90 on the
// copy engine brings units; before, each lane copies exactly the bytes that it will read.
template <int STAGES>
struct Ring {
  i8* bytes;  // [STAGES, UNIT_BYTES] of this warp
  u64* full;  // [STAGES] barriers of this warp, sm_90 and later
  u64 policy;
  int stage;
  u32 parity;

  static __device__ __forceinline__ u32 shared(const void* p) {
    return (u32)__cvta_generic_to_shared(p);
  }

  __device__ __forceinline__ void init(i8* all_bytes, u64* all_barriers) {
    const int warp = threadIdx.x >> 5;
    bytes = all_bytes + warp * STAGES * UNIT_BYTES;
    full = all_barriers + warp * STAGES;
    stage = 0;
    parity = 0;
#if __CUDA_ARCH__ >= 900
    // Weights pass through the L2 cache once, so they must not push out what is used again.
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    if ((threadIdx.x & 31) == 0) {
      for (int s = 0; s < STAGES; s++)
        asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared(full + s)) : "memory");
      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncwarp();
#endif
  }

  // Asks for a unit to be brought to the current stage; null when there are no more.
  __device__ __forceinline__ void request(const i8* source) {
    const u32 to = shared(bytes + stage * UNIT_BYTES);
#if __CUDA_ARCH__ >= 900
    if ((threadIdx.x & 31) == 0 && source) {
      const u32 barrier = shared(full + stage);
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier),
                   "r"(UNIT_BYTES)
                   : "memory");
      asm volatile(
          "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
          "[%0], [%1], %2, [%3], %4;" ::"r"(to), "l"(source), "r"(UNIT_BYTES), "r"(barrier),
          "l"(policy)
          : "memory");
    }
#elif __CUDA_ARCH__ >= 800
    if (source) {
      const int at = (threadIdx.x & 31) * 16;
#pragma unroll
      for (int i = 0; i < UNIT_BYTES / 512; i++)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to + at + i * 512),
                     "l"(source + at + i * 512)
                     : "memory");
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
    if (++stage == STAGES) {
      stage = 0;
      parity ^= 1;
    }
  }

  // Waits until the unit of the current stage, the oldest, is there.
  __device__ __forceinline__ void wait() {
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "{\n.reg .pred p;\nAGAIN:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
        "@!p bra AGAIN;\n}" ::"r"(shared(full + stage)),
        "r"(parity)
        : "memory");
#elif __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 1) : "memory");
#endif
  }
};

// Number of tiles and of units per tile of phase `p` of the weight stream: 4 a layer, then the
// pieces of the output head.
#define QKV_TILES DIV_UP(QKV_ROWS, TILE_ROWS)
#define HIDDEN_TILES DIV_UP(HIDDEN, TILE_ROWS)
// Eight gate rows and the eight up rows that belong to them share a tile.
#define FFN_TILES DIV_UP(FFN, TILE_ROWS / 2)
#define HEAD_TILES DIV_UP(VOCAB, TILE_ROWS)
#define HEAD_PIECES DIV_UP(HEAD_TILES, HEAD_PIECE_TILES)
#define UNITS(k) (PADDED(k) / UNIT_COLS)

__device__ __forceinline__ int phase_kind(int p) { return p < 4 * LAYERS ? p & 3 : 4; }
__device__ __forceinline__ int phase_tiles(int p) {
  if (p >= 4 * LAYERS)
    return min(HEAD_PIECE_TILES, HEAD_TILES - (p - 4 * LAYERS) * HEAD_PIECE_TILES);
  const int kind = p & 3;
  return kind == 0 ? QKV_TILES : kind == 2 ? FFN_TILES : HIDDEN_TILES;
}
__device__ __forceinline__ int phase_units(int p) {
  const int kind = phase_kind(p);
  return kind == 1 ? UNITS(Q_SIZE) : kind == 3 ? UNITS(FFN) : UNITS(HIDDEN);
}

// A block's first tile of a phase of this kind. Tiles go round the blocks, each phase of a layer
// starting where the one before ended, so that every SM streams about the same.
__device__ __forceinline__ int first_tile(int kind) {
  int before = 0;
  if (kind == 1) before = QKV_TILES;
  if (kind == 2) before = QKV_TILES + HIDDEN_TILES;
  if (kind == 3) before = QKV_TILES + HIDDEN_TILES + FFN_TILES;
  const int tile = (int)blockIdx.x - before % (int)gridDim.x;
  return tile < 0 ? tile + gridDim.x : tile;
}

// The units that one warp reads in one forward pass, in order.
struct UnitStream {
  const u64* phases;  // address of each phase's weights
  const int* firsts;  // first tile of each kind, in shared memory
  int phase, end, tile, tiles, unit, units;
  const i8* base;

  // Goes to the first unit of phase `phase` or of a later one.
  __device__ __forceinline__ void seek() {
    unit = threadIdx.x >> 5;
    for (; phase < end; phase++) {
      tiles = phase_tiles(phase);
      units = phase_units(phase);
      tile = firsts[phase_kind(phase)];
      if (tile < tiles && unit < units) {
        base = reinterpret_cast<const i8*>(__ldg(phases + 2 * phase));
        return;
      }
    }
  }
  // Address of the next unit, or null.
  __device__ __forceinline__ const i8* next() {
    if (phase >= end) return nullptr;
    const i8* address = base + (u32)(tile * units + unit) * (size_t)UNIT_BYTES;
    unit += WARPS;
    if (unit >= units) {
      unit = threadIdx.x >> 5;
      tile += gridDim.x;
      if (tile >= tiles) {
        phase++;
        seek();
      }
    }
    return address;
  }
};
