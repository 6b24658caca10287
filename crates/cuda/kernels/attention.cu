// RoPE, q/k norm, KV append and attention over one page of 256 tokens.
//
// Queries and keys are normalised AFTER the rotation: this family's trap. A page is a split: how
// a sequence is cut depends on positions alone, so the bits do not depend on batch or chunk.

// Elements of a head that a lane holds when 8 lanes share a key, in vectors of VEC.
#define VEC (HEAD_DIM % 64 == 0 ? 8 : HEAD_DIM % 32 == 0 ? 4 : 2)
#define CHUNKS (HEAD_DIM / 8 / VEC)
#define KEYS_AT_ONCE (THREADS / 8)
#define KEY_ROUNDS DIV_UP(PAGE, KEYS_AT_ONCE)
// Lanes that share a value row, value rows at once, and rounds over a page.
#define VALUE_LANES (HEAD_DIM / VEC)
#define VALUES_AT_ONCE (THREADS / VALUE_LANES)
#define VALUE_ROUNDS DIV_UP(PAGE, VALUES_AT_ONCE)

// One page: [layer][key, value][kv head][PAGE][HEAD_DIM] in f16.
#define PAGE_HALVES ((size_t)PAGE * HEAD_DIM)
__device__ __forceinline__ u16* page_rows(u64 page, int layer, int is_value, int kv_head) {
  return reinterpret_cast<u16*>(page) +
         ((size_t)(layer * 2 + is_value) * KV_HEADS + kv_head) * PAGE_HALVES;
}

struct AttentionShared {
  float q[GROUP][HEAD_DIM];
  float scores[GROUP][PAGE];
  float out[WARPS / 2][GROUP * HEAD_DIM];
  u16 own_key[HEAD_DIM], own_value[HEAD_DIM];
  float top[GROUP], sum[GROUP];
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
};

// Rotates and normalises one head with one warp.
__device__ __forceinline__ void rope_norm(const float* head, const float* rotation,
                                          const float* weight, float* out) {
  constexpr int HALF = HEAD_DIM / 2, PAIRS = DIV_UP(HALF, 32);
  const int lane = threadIdx.x & 31;
  float a[PAIRS], b[PAIRS], squares = 0.f;
#pragma unroll
  for (int i = 0; i < PAIRS; i++) {
    const int at = i * 32 + lane;
    a[i] = b[i] = 0.f;
    if (at < HALF) {
      const float x = fresh(head + at), y = fresh(head + at + HALF);
      const float cosine = fresh(rotation + at), sine = fresh(rotation + at + HALF);
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
__device__ __forceinline__ void append_key(const float* k, const float* rotation,
                                           const float* weight, float* scratch, u16* to,
                                           u16* own) {
  rope_norm(k, rotation, weight, scratch);
  __syncwarp();
  for (int i = threadIdx.x & 31; i < HEAD_DIM; i += 32) {
    const u16 h = half_bits(scratch[i]);
    to[i] = h;
    if (own) own[i] = h;
  }
}
__device__ __forceinline__ void append_value(const float* v, u16* to, u16* own) {
  for (int i = threadIdx.x & 31; i < HEAD_DIM; i += 32) {
    const u16 h = half_bits(fresh(v + i));
    to[i] = h;
    if (own) own[i] = h;
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
#if HEAD_DIM % 64 == 0
  const uint4 w = *reinterpret_cast<const uint4*>(p);
  v.words[0] = w.x, v.words[1] = w.y, v.words[2] = w.z, v.words[3] = w.w;
#else
#pragma unroll
  for (int i = 0; i < VEC / 2; i++) v.words[i] = reinterpret_cast<const u32*>(p)[i];
#endif
  return v;
}

// Attention of one token's GROUP queries of one kv head over split `split`, by the whole block.
// `out` is [Q_SIZE]. Sequences of several splits leave partial results in `partials`,
// [splits][HEADS][HEAD_DIM + 2], and the block that comes last adds them up; `arrivals` counts.
// `top_out`, in shared memory, takes the largest magnitude of what is written, unless it is null.
__device__ void attend(AttentionShared& s, const AttentionToken& token, int layer, int kv_head,
                       int split, const float* q_norm, const float* k_norm, float* out,
                       float* partials, u32* arrivals, u32* top_out) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int splits = token.position / PAGE + 1;
  const int keys = min(PAGE, token.position + 1 - split * PAGE);
  u16* key_rows = page_rows(token.page, layer, 0, kv_head);
  u16* value_rows = page_rows(token.page, layer, 1, kv_head);
  const bool appends = token.k != nullptr && split == splits - 1;
  const int own = appends ? keys - 1 : -1;

  // Old values do not depend on this step, so their loads come first.
  const int value_lane = threadIdx.x % VALUE_LANES, value_slot = threadIdx.x / VALUE_LANES;
  HalfVec values[VALUE_ROUNDS];
#pragma unroll
  for (int r = 0; r < VALUE_ROUNDS; r++) {
    const int key = r * VALUES_AT_ONCE + value_slot;
    if (key < keys && key != own)
      values[r] = load_halves(value_rows + (size_t)key * HEAD_DIM + value_lane * VEC);
  }

  // Of the keys only the first round's: registers are few.
  const int part = threadIdx.x & 7, slot = threadIdx.x >> 3;
  HalfVec first_keys[CHUNKS];
#pragma unroll
  for (int c = 0; c < CHUNKS; c++)
    if (slot < keys && slot != own)
      first_keys[c] = load_halves(key_rows + (size_t)slot * HEAD_DIM + (c * 8 + part) * VEC);

  for (int head = warp; head < GROUP; head += WARPS)
    rope_norm(token.q + (kv_head * GROUP + head) * HEAD_DIM, token.rotation, q_norm, s.q[head]);
  if (appends && warp == WARPS - 1)
    append_key(token.k + kv_head * HEAD_DIM, token.rotation, k_norm, s.out[0],
               key_rows + (size_t)own * HEAD_DIM, s.own_key);
  if (appends && warp == WARPS - 2)
    append_value(token.v + kv_head * HEAD_DIM, value_rows + (size_t)own * HEAD_DIM, s.own_value);
  __syncthreads();

  // Scores: eight lanes a key.
  const float scale = __fdiv_rn(1.0f, __fsqrt_rn((float)HEAD_DIM));
#pragma unroll
  for (int r = 0; r < KEY_ROUNDS; r++) {
    const int key = r * KEYS_AT_ONCE + slot;
    if (r * KEYS_AT_ONCE >= keys) break;
    float dots[GROUP];
#pragma unroll
    for (int head = 0; head < GROUP; head++) dots[head] = 0.f;
    if (key < keys) {
      const u16* row = key == own ? s.own_key : key_rows + (size_t)key * HEAD_DIM;
#pragma unroll
      for (int c = 0; c < CHUNKS; c++) {
        const int at = (c * 8 + part) * VEC;
        const HalfVec k = r == 0 && key != own ? first_keys[c] : load_halves(row + at);
#pragma unroll
        for (int i = 0; i < VEC; i++)
#pragma unroll
          for (int head = 0; head < GROUP; head++)
            dots[head] = fmaf(s.q[head][at + i], k.at(i), dots[head]);
      }
    }
#pragma unroll
    for (int head = 0; head < GROUP; head++) {
      for (int o = 4; o > 0; o >>= 1) dots[head] += __shfl_xor_sync(FULL, dots[head], o);
      if (part == 0 && key < keys) s.scores[head][key] = dots[head] * scale;
    }
  }
  __syncthreads();

  for (int head = warp; head < GROUP; head += WARPS) {
    float top = NEGATIVE_INFINITY, sum = 0.f;
    for (int key = lane; key < keys; key += 32) top = fmaxf(top, s.scores[head][key]);
    for (int o = 16; o > 0; o >>= 1) top = fmaxf(top, __shfl_xor_sync(FULL, top, o));
    for (int key = lane; key < keys; key += 32) {
      const float e = expf(s.scores[head][key] - top);
      s.scores[head][key] = e;
      sum += e;
    }
    sum = warp_sum(sum);
    if (lane == 0) s.top[head] = top, s.sum[head] = sum;
  }
  __syncthreads();

  float acc[GROUP][VEC];
#pragma unroll
  for (int head = 0; head < GROUP; head++)
#pragma unroll
    for (int i = 0; i < VEC; i++) acc[head][i] = 0.f;
#pragma unroll
  for (int r = 0; r < VALUE_ROUNDS; r++) {
    const int key = r * VALUES_AT_ONCE + value_slot;
    if (key < keys) {
      const HalfVec v = key == own ? load_halves(s.own_value + value_lane * VEC) : values[r];
#pragma unroll
      for (int head = 0; head < GROUP; head++) {
        const float p = s.scores[head][key];
#pragma unroll
        for (int i = 0; i < VEC; i++) acc[head][i] = fmaf(p, v.at(i), acc[head][i]);
      }
    }
  }
  // Over the value rows of a warp, then over warps, halving each time.
#pragma unroll
  for (int head = 0; head < GROUP; head++)
#pragma unroll
    for (int i = 0; i < VEC; i++)
      for (int o = 16; o >= VALUE_LANES; o >>= 1)
        acc[head][i] += __shfl_xor_sync(FULL, acc[head][i], o);
  // Then over warps: half of them hand theirs over, and the other half's eight sums are added up.
  const bool writes = lane < VALUE_LANES;
  auto place = [&](int w, int head, int i) -> float& {
    return s.out[w][head * HEAD_DIM + lane % VALUE_LANES * VEC + i];
  };
  for (int half = 1; half >= 0; half--) {
    if (warp / (WARPS / 2) == half && writes)
#pragma unroll
      for (int head = 0; head < GROUP; head++)
#pragma unroll
        for (int i = 0; i < VEC; i++) {
          float& to = place(warp % (WARPS / 2), head, i);
          to = half ? acc[head][i] : acc[head][i] + to;
        }
    __syncthreads();
  }

  float* heads_out = out + kv_head * GROUP * HEAD_DIM;
  constexpr int WIDTH = HEAD_DIM + 2;
  float* mine = partials + ((size_t)split * HEADS + kv_head * GROUP) * WIDTH;
  u32 largest = 0;
  for (int at = threadIdx.x; at < GROUP * HEAD_DIM; at += THREADS) {
    const int head = at / HEAD_DIM;
    float total = 0.f;
#pragma unroll
    for (int w = 0; w < WARPS / 2; w++) total += s.out[w][at];
    if (splits > 1) {
      mine[head * WIDTH + at % HEAD_DIM] = total;
    } else {
      const float o = total * __fdiv_rn(1.0f, s.sum[head]);
      heads_out[at] = o;
      largest = max(largest, magnitude(o));
    }
  }
  if (splits == 1) {
    largest = warp_max(largest);
    if (top_out && lane == 0) atomicMax(top_out, largest);
    __syncthreads();
    return;
  }
  if (threadIdx.x < GROUP) {
    mine[threadIdx.x * WIDTH + HEAD_DIM] = s.top[threadIdx.x];
    mine[threadIdx.x * WIDTH + HEAD_DIM + 1] = s.sum[threadIdx.x];
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    const u32 before = atomicAdd(arrivals, 1u);
    s.is_last = before == (u32)splits - 1;
    if (s.is_last) *arrivals = 0;
    __threadfence();
  }
  __syncthreads();
  if (s.is_last) {
    for (int at = threadIdx.x; at < GROUP * HEAD_DIM; at += THREADS) {
      const int head = kv_head * GROUP + at / HEAD_DIM, i = at % HEAD_DIM;
      float top = NEGATIVE_INFINITY, sum = 0.f, total = 0.f;
      for (int p = 0; p < splits; p++)
        top = fmaxf(top, fresh(partials + ((size_t)p * HEADS + head) * WIDTH + HEAD_DIM));
      for (int p = 0; p < splits; p++) {
        const float* one = partials + ((size_t)p * HEADS + head) * WIDTH;
        const float weight = expf(fresh(one + HEAD_DIM) - top);
        sum = fmaf(weight, fresh(one + HEAD_DIM + 1), sum);
        total = fmaf(weight, fresh(one + i), total);
      }
      const float o = __fdiv_rn(total, sum);
      heads_out[at] = o;
      if (top_out) atomicMax(top_out, magnitude(o));
    }
  }
  __syncthreads();
}
