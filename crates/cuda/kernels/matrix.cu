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

#if __CUDA_ARCH__ >= 800
// 16 rows by 32 columns times the same columns of 8 tokens, by the tensor core.
__device__ __forceinline__ void multiply_add(int* c, uint4 a, uint2 b) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b.x), "r"(b.y));
}

// The same columns of 8 tokens as the tensor core wants them; `x` points at the first token's, and
// tokens from `n` on count as 0.
__device__ __forceinline__ uint2 columns(const i8* x, int stride, int n) {
  const int lane = threadIdx.x & 31, token = lane >> 2;
  return token < n ? *reinterpret_cast<const uint2*>(x + token * stride + (lane & 3) * 8)
                   : make_uint2(0u, 0u);
}
#endif

// Adds 16 rows by 32 columns of weights times the same columns of N tokens. `x` points at the
// first token's column 0 of the block; tokens from `n` on count as 0.
template <int N>
__device__ __forceinline__ void multiply(int* sums, uint4 a, const i8* x, int stride, int n) {
#if __CUDA_ARCH__ >= 800
#pragma unroll
  for (int block = 0; block < DIV_UP(N, 8); block++)
    multiply_add(sums + block * 4, a, columns(x + block * 8 * stride, stride, n - block * 8));
#else
  const int t = threadIdx.x & 3;
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
    if (N == 1 && (i & 1)) continue;
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

// Adds a warp's sums of a tile to those of others, `[N][ROWS]`: of all N tokens, so that nothing has to be asked.
// `to` is where those of a lane begin, at `first_part` of the tile's first row; `rows` of the tile count.
#if __CUDA_ARCH__ >= 800
template <int ROWS>
__device__ __forceinline__ int first_part() {
  const int lane = thread_now() & 31;
  return (lane & 3) * 2 * ROWS + (lane >> 2);
}
template <int N, int ROWS>
__device__ __forceinline__ void add_parts(const int* sums, float* to, int rows) {
  static_assert(N <= 8, "one block of tokens");
#pragma unroll
  for (int i = 0; i < SUMS(N); i++) {
    const int row = (i & 2) * 4;
    if (ROWS % TILE_ROWS > 0 && ((thread_now() & 31) >> 2) + row >= rows) continue;
    if (N < 8 && (thread_now() & 3) * 2 + (i & 1) >= N) continue;
    add_part(to + (i & 1) * ROWS + row, sums[i]);
  }
}
#else
template <int ROWS>
__device__ __forceinline__ int first_part() {
  return (thread_now() & 31) >> 2;
}
template <int N, int ROWS>
__device__ __forceinline__ void add_parts(const int* sums, float* to, int rows) {
  const int t = thread_now() & 3, row = (thread_now() & 31) >> 2;
#pragma unroll
  for (int i = 0; i < SUMS(N); i++) {
    int sum = sums[i] + __shfl_xor_sync(FULL, sums[i], 1);
    sum += __shfl_xor_sync(FULL, sum, 2);
    if (t == 0 && row + (i & 1) * 8 < rows) add_part(to + i / 2 * ROWS + (i & 1) * 8, sum);
  }
}
#endif

// Units that one stage of the stream holds.
#define CHUNK_UNITS 16
#define CHUNK_BYTES (CHUNK_UNITS * UNIT_BYTES)
// A chunk comes in pieces of so many units, with one token and with several.
#define PIECE_OF_ONE 8
#define PIECE_OF_MANY 4
#define PIECES_MAX (CHUNK_UNITS / PIECE_OF_MANY)
// Units of a chunk that a warp multiplies, one behind the other, and their blocks of 32 columns.
#define UNITS_OF_WARP (CHUNK_UNITS / WARPS)
#define UNIT_BLOCKS (UNIT_COLS / 32)
#define CHUNK_BLOCKS (UNITS_OF_WARP * UNIT_BLOCKS)
// Units on their way at a time, with one token and with several. Enough to keep memory busy; more would
// only queue up in front of the few words that everybody waits for: what is on its way, over the
// bandwidth, is what every other access takes. The output head waits for nobody.
#define WINDOW_OF_ONE 16
#define WINDOW_OF_MANY 12
#define WINDOW_OF_HEAD 32

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
// The same where the kind is known, 4 being the head's.
template <int KIND>
__device__ __forceinline__ int kind_tiles(int p) {
  return KIND == 0 ? QKV_TILES : KIND == 2 ? FFN_TILES : KIND == 4 ? phase_tiles(p) : HIDDEN_TILES;
}
__device__ __forceinline__ int phase_units(int p) {
  const int kind = phase_kind(p);
  return kind == 1 ? UNITS(Q_SIZE) : kind == 3 ? UNITS(FFN) : UNITS(HIDDEN);
}

// Where tiles are SLICED, a block multiplies a slice of the columns only, and of more tiles: it needs fewer
// levels, of which it is the way to each SM that takes long. Not so gate and up, which meet in one block, and
// the output head. A slice is whole pieces of the stream.
#define SLICES 4
#define SLICES_OF(k) (UNITS(k) % (SLICES * PIECE_OF_MANY) == 0 ? SLICES : 1)
__device__ __forceinline__ int phase_slices(int kind) {
  return kind == 0   ? SLICES_OF(HIDDEN)
         : kind == 1 ? SLICES_OF(Q_SIZE)
         : kind == 3 ? SLICES_OF(FFN)
                     : 1;
}

// A block's first tile of a phase of this kind. Tiles go round the blocks, or those that have the same
// slice, each phase of a layer starting where the one before ended, so that every SM streams about the same.
template <bool SLICED>
__device__ __forceinline__ int first_tile(int kind) {
  const auto slices_of = [](int of) { return SLICED ? phase_slices(of) : 1; };
  int before = 0;
  if (kind > 0) before += QKV_TILES * slices_of(0);
  if (kind > 1) before += HIDDEN_TILES * slices_of(1);
  if (kind > 2) before += FFN_TILES;
  if (kind > 3) before = 0;
  const int slices = slices_of(kind), turns = gridDim.x / slices;
  const int tile = (int)blockIdx.x / slices - before / slices % turns;
  return tile < 0 ? tile + turns : tile;
}

#if __CUDA_ARCH__ >= 800
// Barriers in shared memory (PTX ISA, mbarrier).
__device__ __forceinline__ u32 shared_address(const void* p) {
  return (u32)__cvta_generic_to_shared(p);
}
__device__ __forceinline__ void barrier_init(u64* barrier, int count) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(count)
               : "memory");
}
__device__ __forceinline__ void barrier_arrive(u64* barrier) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared.b64 state, [%0];\n}" ::"r"(
                   shared_address(barrier))
               : "memory");
}
__device__ __forceinline__ void barrier_wait(u64* barrier, u32 parity) {
#if __CUDA_ARCH__ >= 900
#define BARRIER_WAIT "mbarrier.try_wait.parity.shared::cta.b64"
#else
#define BARRIER_WAIT "mbarrier.test_wait.parity.shared.b64"
#endif
  asm volatile("{\n.reg .pred p;\nAGAIN:\n" BARRIER_WAIT " p, [%0], %1;\n@!p bra AGAIN;\n}" ::"r"(
                   shared_address(barrier)),
               "r"(parity)
               : "memory");
}

// A block's weights on their way through shared memory, in chunks, in the order in which its warps
// multiply them, across phases and layers. One warp brings them and waits for nobody but the
// readers, so memory stays busy while the block normalises, quantises, attends or waits.
template <int STAGES, int PIECE_UNITS>
struct Stream {
  static constexpr int PIECES = CHUNK_UNITS / PIECE_UNITS, PIECE_BYTES = PIECE_UNITS * UNIT_BYTES;
  i8* bytes;   // [STAGES, CHUNK_BYTES]
  u64* full;   // [STAGES, PIECES]
  u64* empty;  // [STAGES]
  int stage;
  u32 parity;

  __device__ __forceinline__ void init(i8* all_bytes, u64* barriers) {
    bytes = all_bytes;
    full = barriers;
    empty = barriers + STAGES * PIECES;
    stage = 0;
    parity = 0;
    if (threadIdx.x == 0) {
      for (int s = 0; s < STAGES; s++) {
        for (int piece = 0; piece < PIECES; piece++)
          barrier_init(full + s * PIECES + piece, __CUDA_ARCH__ >= 900 ? 1 : 32);
        barrier_init(empty + s, WARPS * 32);
      }
#if __CUDA_ARCH__ >= 900
      asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
    }
  }

  // A reading warp waits for its part of the current chunk, UNITS_OF_WARP units, and finds it here. A
  // warp for which there is nothing waits all the same: what it gave back unseen would count for a warp
  // that still reads, and the stream would run ahead of whom it waits for.
  __device__ __forceinline__ const i8* wait(int warp) {
    barrier_wait(full + stage * PIECES + warp / (PIECE_UNITS / UNITS_OF_WARP), parity);
    return bytes + stage * CHUNK_BYTES + warp * UNITS_OF_WARP * UNIT_BYTES;
  }
  // All of the current chunk, for warps whose parts of chunks are not always in the same piece: a wait for
  // a piece of the next chunk in this stage would end at once while this one's is still on its way.
  __device__ __forceinline__ void wait_whole() {
#pragma unroll
    for (int piece = 0; piece < PIECES; piece++) barrier_wait(full + stage * PIECES + piece, parity);
  }
  // Every lane says so for itself: one for all, behind a meeting of the warp, is no faster, and racecheck
  // does not see that the others have read.
  __device__ __forceinline__ void give_back() { give_back(advance()); }
  __device__ __forceinline__ void give_back(int taken) { barrier_arrive(empty + taken); }
  // Goes on to the next chunk, without having given back the one whose stage it returns.
  __device__ __forceinline__ int advance() {
    const int taken = stage;
    if (++stage == STAGES) stage = 0, parity ^= 1;
    return taken;
  }
  // Reads the warp's part of the current chunk and returns the stage that is to be given back: better behind
  // the products, which would wait for what says so.
  __device__ __forceinline__ int take(uint4 (&w)[CHUNK_BLOCKS], int warp, int lane) {
    const i8* from = wait(warp) + lane * 16;
#pragma unroll
    for (int i = 0; i < CHUNK_BLOCKS; i++) w[i] = *reinterpret_cast<const uint4*>(from + i * 512);
    return advance();
  }

  // What the bringing warp does: everything that this block reads in phases 0 .. end - 1, with
  // `layer_window` units on their way before the output head. `before` is called with the number of
  // each phase, and `behind` with it and what sends a chunk that is no weights.
  template <bool SLICED, class Before, class Behind>
  __device__ __forceinline__ void bring(const u64* phases, const int* firsts, int end,
                                        int layer_window, Before before, Behind behind) {
    u64 once = 0, often = 0;
#if __CUDA_ARCH__ >= 900
    // Weights pass through the L2 cache once, so they must not push out what is used again.
    asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(once));
    asm("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(often));
#endif
    u32 sent = 0;
    int window = 0;
    // A chunk of `n` bytes, each of whose pieces lies `stride` bytes behind the one before.
    auto send = [&](const i8* source, size_t stride, int n, u64 policy) {
      const u32 to = sent % STAGES;
      if (sent >= STAGES) barrier_wait(empty + to, (sent / STAGES - 1) & 1);
      for (int piece = 0; piece < PIECES; piece++) {
        const u32 before_it = sent * PIECES + piece - window;
        if (window < STAGES * PIECES && (int)before_it >= 0)
          barrier_wait(full + before_it % (STAGES * PIECES), before_it / (STAGES * PIECES) & 1);
        copy(source + piece * stride, bytes + to * CHUNK_BYTES + piece * PIECE_BYTES,
             max(0, min(n - piece * PIECE_BYTES, PIECE_BYTES)), full + to * PIECES + piece, policy);
      }
      sent++;
    };
    for (int phase = 0; phase < end; phase++) {
      before(phase);
      window = (phase < 4 * LAYERS ? layer_window : WINDOW_OF_HEAD) / PIECE_UNITS;
      const int tiles = phase_tiles(phase), units = phase_units(phase);
      const i8* base = reinterpret_cast<const i8*>(__ldg(phases + 2 * phase));
      const float* scales = reinterpret_cast<const float*>(__ldg(phases + 2 * phase + 1));
      const int kind = phase_kind(phase), slices = SLICED ? phase_slices(kind) : 1;
      const int step = gridDim.x / slices, slice = blockIdx.x % slices;
      // A chunk has a piece of each of SLICES tiles, or is of one alone.
      static_assert(!SLICED || PIECES == SLICES, "a piece a tile");
      const bool is_sliced = SLICED && slices > 1;
      const int tiles_at_once = is_sliced ? SLICES : 1, units_at_once = CHUNK_UNITS / tiles_at_once;
      const int first = slice * (units / slices), end = first + units / slices;
      const size_t stride = is_sliced ? (size_t)step * units * UNIT_BYTES : PIECE_BYTES;
      for (int tile = firsts[kind]; tile < tiles; tile += tiles_at_once * step) {
        const int of_lane = tile + (int)(threadIdx.x & 31) % tiles_at_once * step;
        if (of_lane < tiles && slice == 0)
          asm volatile("prefetch.global.L2 [%0];" ::"l"(scales + of_lane * TILE_ROWS));
        for (int unit = first; unit < end; unit += units_at_once)
          send(base + ((u32)tile * units + unit) * (size_t)UNIT_BYTES, stride,
               is_sliced ? DIV_UP(tiles - tile, step) * PIECE_BYTES : (units - unit) * UNIT_BYTES,
               once);
      }
      behind(phase, [&](const void* source, int chunks, int n) {
        for (int i = 0; i < chunks; i++)
          send(reinterpret_cast<const i8*>(source) + i * CHUNK_BYTES, PIECE_BYTES,
               n - i * CHUNK_BYTES, often);
      });
    }
  }

 private:
  static __device__ __forceinline__ void copy(const i8* source, i8* target, int n, u64* barrier,
                                              u64 policy) {
    const int lane = threadIdx.x & 31;
#if __CUDA_ARCH__ >= 900
    if (lane == 0) {
      asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(
                       shared_address(barrier)),
                   "r"(n)
                   : "memory");
      if (n) asm volatile(
          "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
          "[%0], [%1], %2, [%3], %4;" ::"r"(shared_address(target)),
          "l"(source), "r"(n), "r"(shared_address(barrier)), "l"(policy)
          : "memory");
    }
    __syncwarp();
#else
#pragma unroll 4
    for (int at = lane * 16; at < n; at += 512)
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(target + at)),
                   "l"(source + at)
                   : "memory");
    asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(shared_address(barrier))
                 : "memory");
#endif
  }
};
#endif
