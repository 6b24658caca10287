//! INT8 dot products with AVX-512 VNNI, AVX-VNNI and AVX2.
//!
//! Operation: `sums[t][r] = sum over k of w[r][k] * x[t][k]`, i8 times i8, exact in i32. Up to
//! 4 rows by 4 tokens at a time: a weight vector is loaded once for all tokens, so at one token
//! the limit is memory bandwidth, and from about eight on it is multiply-adds.
//!
//! `vpdpbusd` multiplies unsigned by signed bytes. Flipping the top bit of a weight adds 128 to it
//! and makes it unsigned; what that adds to the sum, `128 * sum(x)`, is known per token and is
//! taken off at the end. Weights therefore stay in the file's own layout and need no table of row
//! sums. AVX2 has no such instruction: `vpmaddubsw` saturates its pair sums, so there `|w|` is the
//! unsigned operand and `x` carries the sign, which keeps a pair at 2 * 128 * 127 < 2^15.
//!
//! One of the files with `unsafe`: vector loads through pointers, and functions that need a CPU
//! feature. The CPU twin is the portable arm of `super::dot_tile`.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{F32_LANES, TILE_ROWS, TILE_TOKENS, TileSums, TokenRow, sum_lanes};

/// What the flipped top bit adds to each weight.
const WEIGHT_OFFSET: i32 = 128;

/// Defines a safe entry point that picks the compiled tile size.
macro_rules! entry {
    ($name:ident, $tile:ident, $($feature:tt),+) => {
        pub(super) fn $name(
            weights: &[i8],
            cols: usize,
            tokens: &[TokenRow<'_>],
            sums: &mut TileSums,
        ) {
            assert!($(is_x86_feature_detected!($feature))&&+, "caller checks the CPU");
            // SAFETY: the CPU has the features (asserted above; the standard library caches the
            // answer). Each tile gets exactly R rows of `cols` weights and T tokens of `cols`
            // values, which `super::dot_tile` has checked.
            unsafe {
                match (weights.len() / cols, tokens.len()) {
                    (4, 1) => $tile::<4, 1>(weights, cols, tokens, sums),
                    (4, 2) => $tile::<4, 2>(weights, cols, tokens, sums),
                    (4, 3) => $tile::<4, 3>(weights, cols, tokens, sums),
                    (4, 4) => $tile::<4, 4>(weights, cols, tokens, sums),
                    _ => {
                        for (r, row) in weights.chunks_exact(cols).enumerate() {
                            for (t, token) in tokens.iter().enumerate() {
                                let mut one = [[0; TILE_ROWS]; TILE_TOKENS];
                                $tile::<1, 1>(row, cols, std::slice::from_ref(token), &mut one);
                                sums[t][r] = one[0][0];
                            }
                        }
                    }
                }
            }
        }
    };
}

entry!(dot_tile_avx512vnni, tile_avx512vnni, "avx512f", "avx512bw", "avx512vnni");
entry!(dot_tile_avxvnni, tile_avxvnni, "avx2", "avxvnni");
entry!(dot_tile_avx2, tile_avx2, "avx2");

/// One whole f32 tile. `mul` and `add` apart, never fused: the sums keep the bits of
/// `super::dot_f32`. That one is compiled for SSE2 and reads both operands for each sum; here four
/// times wider registers meet eight loads for sixteen sums.
pub(super) fn dot_tile_f32_avx512(
    weights: &[f32],
    cols: usize,
    tokens: &[&[f32]],
    sums: &mut [[f32; TILE_ROWS]; TILE_TOKENS],
) {
    assert!(is_x86_feature_detected!("avx512f"), "caller checks the CPU");
    assert!(weights.len() == TILE_ROWS * cols && tokens.len() == TILE_TOKENS, "one whole tile");
    assert!(tokens.iter().all(|token| token.len() == cols), "tokens of one width");
    // SAFETY: the CPU has the feature and the lengths are those the contract asks for, all
    // asserted above.
    unsafe { tile_f32_avx512(weights, cols, tokens, sums) }
}

/// # Safety
/// `weights` holds `TILE_ROWS * cols` values, `tokens` holds `TILE_TOKENS` rows of `cols` values.
#[target_feature(enable = "avx512f")]
unsafe fn tile_f32_avx512(
    weights: &[f32],
    cols: usize,
    tokens: &[&[f32]],
    sums: &mut [[f32; TILE_ROWS]; TILE_TOKENS],
) {
    let mut acc = [[_mm512_setzero_ps(); TILE_ROWS]; TILE_TOKENS];
    let whole = cols / F32_LANES * F32_LANES;
    for k in (0..whole).step_by(F32_LANES) {
        let mut w = [_mm512_setzero_ps(); TILE_ROWS];
        for (r, w) in w.iter_mut().enumerate() {
            // SAFETY: k + F32_LANES <= cols, so the load stays in row r by the contract.
            *w = unsafe { _mm512_loadu_ps(weights.as_ptr().add(r * cols + k)) };
        }
        for (t, acc) in acc.iter_mut().enumerate() {
            // SAFETY: as above, for token t.
            let x = unsafe { _mm512_loadu_ps(tokens[t].as_ptr().add(k)) };
            for (acc, w) in acc.iter_mut().zip(w) {
                *acc = _mm512_add_ps(*acc, _mm512_mul_ps(w, x));
            }
        }
    }
    for (t, acc) in acc.iter().enumerate() {
        for (r, acc) in acc.iter().enumerate() {
            let mut lanes = [0.0; F32_LANES];
            // SAFETY: the array is one register long.
            unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), *acc) };
            let tail = weights[r * cols + whole..(r + 1) * cols].iter().zip(&tokens[t][whole..]);
            for (lane, (w, x)) in lanes.iter_mut().zip(tail) {
                *lane += w * x;
            }
            sums[t][r] = sum_lanes(lanes);
        }
    }
}

/// Starts loading the cache lines of `values`.
pub(super) fn prefetch(values: &[i8]) {
    const LINE_BYTES: usize = 64;
    for line in values.chunks(LINE_BYTES) {
        // SAFETY: a prefetch is a hint and faults on no address; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr()) };
    }
}

/// # Safety
/// `weights` holds `R * cols` values, `tokens` holds `T` rows of `cols` values.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn tile_avx512vnni<const R: usize, const T: usize>(
    weights: &[i8],
    cols: usize,
    tokens: &[TokenRow<'_>],
    sums: &mut TileSums,
) {
    const LANES: usize = 64;
    let flip = _mm512_set1_epi8(i8::MIN);
    let mut acc = [[_mm512_setzero_si512(); R]; T];
    let mut step = |k: usize, mask: __mmask64| {
        let mut w = [_mm512_setzero_si512(); R];
        for (r, w) in w.iter_mut().enumerate() {
            // SAFETY: masked-off bytes are not touched; the others lie in row r by the contract.
            let loaded =
                unsafe { _mm512_maskz_loadu_epi8(mask, weights.as_ptr().add(r * cols + k)) };
            *w = _mm512_xor_si512(loaded, flip);
        }
        for (t, acc) in acc.iter_mut().enumerate() {
            // SAFETY: as above, for token t. Masked-off values are 0 and add nothing.
            let x = unsafe { _mm512_maskz_loadu_epi8(mask, tokens[t].values.as_ptr().add(k)) };
            for (acc, w) in acc.iter_mut().zip(w) {
                *acc = _mm512_dpbusd_epi32(*acc, w, x);
            }
        }
    };
    let whole = cols / LANES * LANES;
    for k in (0..whole).step_by(LANES) {
        step(k, !0);
    }
    if whole < cols {
        step(whole, (1 << (cols - whole)) - 1);
    }
    for t in 0..T {
        let totals = reduce_add_512(&acc[t]);
        for r in 0..R {
            sums[t][r] = totals[r] - WEIGHT_OFFSET * tokens[t].sum;
        }
    }
}

/// The sum of each vector. Four at a time share their shuffles.
#[target_feature(enable = "avx512f")]
#[inline]
fn reduce_add_512<const R: usize>(vectors: &[__m512i; R]) -> [i32; TILE_ROWS] {
    let mut totals = [0; TILE_ROWS];
    let &[a, b, c, d] = vectors.as_slice() else {
        for (total, vector) in totals.iter_mut().zip(vectors) {
            *total = _mm512_reduce_add_epi32(*vector);
        }
        return totals;
    };
    // After two rounds of interleaving and adding, each 128-bit lane holds a part of each sum.
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64::<1>(abcd));
    let sums = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
    // SAFETY: the array has exactly the 16 bytes that are written.
    unsafe { _mm_storeu_si128(totals.as_mut_ptr().cast(), sums) };
    totals
}

/// # Safety
/// `weights` holds `R * cols` values, `tokens` holds `T` rows of `cols` values.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn tile_avxvnni<const R: usize, const T: usize>(
    weights: &[i8],
    cols: usize,
    tokens: &[TokenRow<'_>],
    sums: &mut TileSums,
) {
    let flip = _mm256_set1_epi8(i8::MIN);
    let mut acc = [[_mm256_setzero_si256(); R]; T];
    for_chunks(cols, |k, len| {
        for r in 0..R {
            let w = _mm256_xor_si256(load(&weights[r * cols + k..], len), flip);
            for t in 0..T {
                let x = load(&tokens[t].values[k..], len);
                acc[t][r] = _mm256_dpbusd_avx_epi32(acc[t][r], w, x);
            }
        }
    });
    for t in 0..T {
        for r in 0..R {
            sums[t][r] = reduce_add(acc[t][r]) - WEIGHT_OFFSET * tokens[t].sum;
        }
    }
}

/// # Safety
/// `weights` holds `R * cols` values, `tokens` holds `T` rows of `cols` values.
#[target_feature(enable = "avx2")]
unsafe fn tile_avx2<const R: usize, const T: usize>(
    weights: &[i8],
    cols: usize,
    tokens: &[TokenRow<'_>],
    sums: &mut TileSums,
) {
    let ones = _mm256_set1_epi16(1);
    let mut acc = [[_mm256_setzero_si256(); R]; T];
    for_chunks(cols, |k, len| {
        for r in 0..R {
            let w = load(&weights[r * cols + k..], len);
            let magnitude = _mm256_abs_epi8(w);
            for t in 0..T {
                let x = load(&tokens[t].values[k..], len);
                let pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(x, w));
                acc[t][r] = _mm256_add_epi32(acc[t][r], _mm256_madd_epi16(pairs, ones));
            }
        }
    });
    for t in 0..T {
        for r in 0..R {
            sums[t][r] = reduce_add(acc[t][r]);
        }
    }
}

const YMM_BYTES: usize = 32;

/// Calls `f(start, length)` for each chunk of 32 columns and for the rest.
#[inline(always)]
fn for_chunks(cols: usize, mut f: impl FnMut(usize, usize)) {
    let whole = cols / YMM_BYTES * YMM_BYTES;
    for k in (0..whole).step_by(YMM_BYTES) {
        f(k, YMM_BYTES);
    }
    if whole < cols {
        f(whole, cols - whole);
    }
}

/// The first `len` bytes of `values`, zeros after them.
#[target_feature(enable = "avx2")]
#[inline]
fn load(values: &[i8], len: usize) -> __m256i {
    if len == YMM_BYTES {
        let whole: &[i8; YMM_BYTES] = values.first_chunk().expect("a whole chunk is left");
        // SAFETY: the array has exactly the 32 bytes that are read.
        return unsafe { _mm256_loadu_si256(whole.as_ptr().cast()) };
    }
    let mut padded = [0_i8; YMM_BYTES];
    padded[..len].copy_from_slice(&values[..len]);
    // SAFETY: as above.
    unsafe { _mm256_loadu_si256(padded.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
#[inline]
fn reduce_add(x: __m256i) -> i32 {
    let x = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
    let x = _mm_add_epi32(x, _mm_shuffle_epi32::<0b00_00_11_10>(x));
    let x = _mm_add_epi32(x, _mm_shuffle_epi32::<0b00_00_00_01>(x));
    _mm_cvtsi128_si32(x)
}
