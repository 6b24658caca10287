// RoPE, q/k norm, KV append and attention over one split of 128 tokens.
//
// Queries and keys are normalised AFTER the rotation: this family's trap. How a sequence is cut into
// splits depends on positions alone, so the bits do not depend on batch or chunk. A block takes one
// query head: few instructions matter more here than loading keys once for all heads of a group.

// Halves that a lane loads at once, lanes that share a key, and what each loads of it.
#define VEC 8
#define KEY_LANES (THREADS / SPLIT)
#define CHUNKS (HEAD_DIM / KEY_LANES / VEC)
// Lanes that share a value row, value rows at once, and rounds over a split.
#define VALUE_LANES (HEAD_DIM / VEC)
#define VALUES_AT_ONCE (THREADS / VALUE_LANES)
#define VALUE_ROUNDS DIV_UP(SPLIT, VALUES_AT_ONCE)
#define SCORES_OF_LANE DIV_UP(SPLIT, 32)

// One page: [layer][key, value][kv head][PAGE][HEAD_DIM] in f16.
#define PAGE_HALVES ((size_t)PAGE * HEAD_DIM)
__device__ __forceinline__ u16* page_rows(u64 page, int layer, int is_value, int kv_head) {
  return reinterpret_cast<u16*>(page) +
         ((size_t)(layer * 2 + is_value) * KV_HEADS + kv_head) * PAGE_HALVES;
}

struct AttentionShared {
  float q[HEAD_DIM];
  float scores[SPLIT];
  float out[WARPS][HEAD_DIM];
  __align__(16) u16 own_key[HEAD_DIM];
  __align__(16) u16 own_value[HEAD_DIM];
  u32 is_last;
};

// What attention of one token needs.
struct AttentionToken {
  const float* q;       // [Q_SIZE] before RoPE
  const float* k;       // [KV_SIZE] before RoPE; null when the cache has the token already
  const float* v;       // [KV_SIZE]
  const float* rotation;  // [HEAD_DIM]: cosines, then sines
  int position;
  u64 page;   // the page of this split

  // First row of a split in its page.
  static __device__ __forceinline__ size_t first_row(int split) {
    return (size_t)(split % (PAGE / SPLIT)) * SPLIT * HEAD_DIM;
  }
};

// Rotates and normalises one head with one warp.
template <bool AWAIT>
__device__ __forceinline__ void rope_norm(const float* head, const float* rotation,
                                          const float* weight, float* out) {
  constexpr int HALF = HEAD_DIM / 2, PAIRS = DIV_UP(HALF, 32);
  const int lane = threadIdx.x & 31;
  float a[PAIRS], b[PAIRS], squares = 0.f;
  bool complete;
  do {
    complete = true;
#pragma unroll
    for (int i = 0; i < PAIRS; i++) {
      const int at = i * 32 + lane;
      a[i] = at < HALF ? now(head + at) : 0.f;
      b[i] = at < HALF ? now(head + at + HALF) : 0.f;
    }
#pragma unroll
    for (int i = 0; i < PAIRS; i++) complete &= !is_awaited(a[i]) & !is_awaited(b[i]);
  } while (AWAIT && !complete);
#pragma unroll
  for (int i = 0; i < PAIRS; i++) {
    const int at = i * 32 + lane;
    if (at < HALF) {
      const float cosine = fresh(rotation + at), sine = fresh(rotation + at + HALF);
      const float x = a[i], y = b[i];
      a[i] = x * cosine - y * sine;
      b[i] = y * cosine + x * sine;
    }
    squares += a[i] * a[i] + b[i] * b[i];
  }
  const float mean = __fdiv_rn(warp_sum(squares), (float)HEAD_DIM);
  const float scale = __fdiv_rn(1.0f, __fsqrt_rn(mean + eps()));
#pragma unroll
  for (int i = 0; i < PAIRS; i++) {
    const int at = i * 32 + lane;
    if (at < HALF) {
      out[at] = a[i] * (scale * __ldg(weight + at));
      out[at + HALF] = b[i] * (scale * __ldg(weight + at + HALF));
    }
  }
}

// Appends one key (rotated, normalised) and one value by one warp each; `scratch` is HEAD_DIM
// floats of the warp's own.
template <bool AWAIT>
__device__ __forceinline__ void append_key(const float* k, const float* rotation,
                                           const float* weight, float* scratch, u16* to,
                                           u16* own) {
  rope_norm<AWAIT>(k, rotation, weight, scratch);
  __syncwarp();
  for (int i = threadIdx.x & 31; i < HEAD_DIM; i += 32) {
    const u16 h = half_bits(scratch[i]);
    if (to) to[i] = h;
    if (own) own[i] = h;
  }
}
template <bool AWAIT>
__device__ __forceinline__ void append_value(const float* v, u16* to, u16* own) {
  constexpr int EACH = DIV_UP(HEAD_DIM, 32);
  const int lane = threadIdx.x & 31;
  float held[EACH];
  bool complete;
  do {
    complete = true;
#pragma unroll
    for (int i = 0; i < EACH; i++)
      held[i] = i * 32 + lane < HEAD_DIM ? now(v + i * 32 + lane) : 0.f;
#pragma unroll
    for (int i = 0; i < EACH; i++) complete &= !is_awaited(held[i]);
  } while (AWAIT && !complete);
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    const int at = i * 32 + lane;
    if (at >= HEAD_DIM) continue;
    const u16 h = half_bits(held[i]);
    if (to) to[at] = h;
    if (own) own[at] = h;
  }
}

struct HalfVec {
  u32 words[VEC / 2];
  __device__ __forceinline__ float at(int i) const {
    return half_to_float((u16)(words[i / 2] >> (i & 1) * 16));
  }
};
__device__ __forceinline__ HalfVec load_halves(const u16* p) {
  HalfVec v;
  const uint4 w = *reinterpret_cast<const uint4*>(p);
  v.words[0] = w.x, v.words[1] = w.y, v.words[2] = w.z, v.words[3] = w.w;
  return v;
}

// Keys of a split that count, and the one among them that this step brings, or -1.
__device__ __forceinline__ int keys_of(const AttentionToken& token, int split) {
  return min(SPLIT, token.position + 1 - split * SPLIT);
}
__device__ __forceinline__ int own_of(const AttentionToken& token, int split) {
  return token.k != nullptr && split == token.position / SPLIT ? keys_of(token, split) - 1 : -1;
}

// A thread's part of the old keys and values: they do not depend on this step, so they may be
// loaded early.
struct AttentionHeld {
  HalfVec values[VALUE_ROUNDS], keys[CHUNKS];

  __device__ __forceinline__ void load(const AttentionToken& token, int layer, int kv_head,
                                       int split) {
  const int tid = thread_now();
    static_assert(KEY_LANES * VEC <= 16, "the smallest head fits");
    const int count = keys_of(token, split), own = own_of(token, split);
    const u16* key_rows = page_rows(token.page, layer, 0, kv_head) + token.first_row(split);
    const u16* value_rows = page_rows(token.page, layer, 1, kv_head) + token.first_row(split);
    const int part = tid % KEY_LANES, slot = tid / KEY_LANES;
    if (slot < count && slot != own)
#pragma unroll
      for (int c = 0; c < CHUNKS; c++)
        keys[c] = load_halves(key_rows + slot * HEAD_DIM + (c * KEY_LANES + part) * VEC);
    const int value_lane = tid % VALUE_LANES, value_slot = tid / VALUE_LANES;
#pragma unroll
    for (int r = 0; r < VALUE_ROUNDS; r++) {
      const int key = r * VALUES_AT_ONCE + value_slot;
      if (key < count && key != own)
        values[r] = load_halves(value_rows + key * HEAD_DIM + value_lane * VEC);
    }
  }
};

// What a split knows of one element of a head: its values' sum, in units of e^top, and that of the
// weights.
struct SplitSum {
  float top, sum, total;
};
// Splits whose results are read at once.
#define SPLITS_AT_ONCE 4
#define SPLIT_WIDTH (HEAD_DIM + 2)

// Attention of one token's query head `head` over split `split`, by the whole block. `out` is
// [Q_SIZE]. Sequences of several splits leave partial results, [splits][HEADS][SPLIT_WIDTH] of
// `Partials`, and one block a head adds them up.
template <bool AWAIT, class Partials>
__device__ __forceinline__ void attend(AttentionShared& s, const AttentionToken& token,
                                       const AttentionHeld& held, int layer, int head, int split,
                                       const float* q_norm, const float* k_norm, float* out,
                                       Partials partials) {
  const int tid = thread_now();
  const int lane = tid & 31, warp = tid >> 5, kv_head = head / GROUP;
  const int splits = token.position / SPLIT + 1;
  const int keys = keys_of(token, split), own = own_of(token, split);

  if (warp == 0) rope_norm<AWAIT>(token.q + head * HEAD_DIM, token.rotation, q_norm, s.q);
  if (own >= 0) {
    // Every head of a group needs the new key and value; one of them keeps them.
    const bool keeps = head % GROUP == 0;
    const size_t row = token.first_row(split) + (size_t)own * HEAD_DIM;
    if (warp == 1)
      append_key<AWAIT>(token.k + kv_head * HEAD_DIM, token.rotation, k_norm, s.out[0],
                        keeps ? page_rows(token.page, layer, 0, kv_head) + row : nullptr,
                        s.own_key);
    if (warp == 2)
      append_value<AWAIT>(token.v + kv_head * HEAD_DIM,
                          keeps ? page_rows(token.page, layer, 1, kv_head) + row : nullptr,
                          s.own_value);
  }
  block_sync();

  // Scores.
  const int part = tid % KEY_LANES, slot = tid / KEY_LANES;
  if (warp * (32 / KEY_LANES) < keys) {
    float dot = 0.f;
#pragma unroll
    for (int c = 0; c < CHUNKS; c++) {
      const int at = (c * KEY_LANES + part) * VEC;
      const HalfVec k = slot == own ? load_halves(s.own_key + at) : held.keys[c];
#pragma unroll
      for (int i = 0; i < VEC; i++) dot = fmaf(s.q[at + i], k.at(i), dot);
    }
    for (int o = KEY_LANES / 2; o > 0; o >>= 1) dot += __shfl_xor_sync(FULL, dot, o);
    if (part == 0 && slot < keys)
      s.scores[slot] = dot * __fdiv_rn(1.0f, __fsqrt_rn((float)HEAD_DIM));
  }
  block_sync();

  // Every warp finds the largest score and the sum for itself.
  float top = NEGATIVE_INFINITY, sum = 0.f, mine[SCORES_OF_LANE];
#pragma unroll
  for (int i = 0; i < SCORES_OF_LANE; i++) {
    mine[i] = i * 32 + lane < keys ? s.scores[i * 32 + lane] : NEGATIVE_INFINITY;
    top = fmaxf(top, mine[i]);
  }
  for (int o = 16; o > 0; o >>= 1) top = fmaxf(top, __shfl_xor_sync(FULL, top, o));
#pragma unroll
  for (int i = 0; i < SCORES_OF_LANE; i++) sum += expf(mine[i] - top);
  sum = warp_sum(sum);

  float acc[VEC];
#pragma unroll
  for (int i = 0; i < VEC; i++) acc[i] = 0.f;
  const int value_lane = tid % VALUE_LANES, value_slot = tid / VALUE_LANES;
#pragma unroll
  for (int r = 0; r < VALUE_ROUNDS; r++) {
    const int key = r * VALUES_AT_ONCE + value_slot;
    if (r * VALUES_AT_ONCE >= keys) break;
    if (key < keys) {
      const HalfVec v = key == own ? load_halves(s.own_value + value_lane * VEC) : held.values[r];
      const float p = expf(s.scores[key] - top);
#pragma unroll
      for (int i = 0; i < VEC; i++) acc[i] = fmaf(p, v.at(i), acc[i]);
    }
  }
  // Over the value rows of a warp, then over warps.
#pragma unroll
  for (int i = 0; i < VEC; i++)
    for (int o = 16; o >= VALUE_LANES; o >>= 1) acc[i] += __shfl_xor_sync(FULL, acc[i], o);
  if (lane < VALUE_LANES)
#pragma unroll
    for (int i = 0; i < VEC; i++) s.out[warp][value_lane * VEC + i] = acc[i];
  block_sync();

  const int at = tid;
  if (at < HEAD_DIM) {
    float total = 0.f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) total += s.out[w][at];
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
