//! Sums of products of fine levels with AVX2, for `super`.
//!
//! `vpmaddwd` multiplies sixteen pairs of i16 and adds neighbours in i32. For the scores neighbours
//! are elements of a head; for the weighted sums of values they are two tokens, whose rows are
//! interleaved first. Limit: two loads a cycle, about as much as the multiplications need.
//!
//! One of the files with `unsafe`: vector loads and stores through pointers, and functions that
//! need a CPU feature. The CPU twin is the portable arm of `super::dots` and
//! `super::weighted_sums`.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{Halves, SPLIT_TOKENS, dot, join, weighted_sums_from};

/// i16 values of one register.
const LANES: usize = 16;

pub(super) fn dots(query: &Halves, keys: &[&[i16]], sums: &mut [f32; SPLIT_TOKENS]) {
    assert!(is_x86_feature_detected!("avx2"), "caller checks the CPU");
    // SAFETY: the CPU has the feature, asserted above.
    unsafe { dots_avx2(query, keys, sums) }
}

pub(super) fn weighted_sums(weights: &Halves, values: &[&[i16]], sums: &mut [f32]) {
    assert!(is_x86_feature_detected!("avx2"), "caller checks the CPU");
    // SAFETY: the CPU has the feature, asserted above.
    unsafe { weighted_sums_avx2(weights, values, sums) }
}

#[target_feature(enable = "avx2")]
fn dots_avx2(query: &Halves, keys: &[&[i16]], sums: &mut [f32; SPLIT_TOKENS]) {
    let (high_chunks, high_tail) = query.high.as_chunks::<LANES>();
    let (low_chunks, low_tail) = query.low.as_chunks::<LANES>();
    for (sum, key) in sums.iter_mut().zip(keys) {
        let (key_chunks, key_tail) = key.as_chunks::<LANES>();
        let (mut highs, mut lows) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        for ((high, low), key) in high_chunks.iter().zip(low_chunks).zip(key_chunks) {
            let key = load(key);
            highs = _mm256_add_epi32(highs, _mm256_madd_epi16(load(high), key));
            lows = _mm256_add_epi32(lows, _mm256_madd_epi16(load(low), key));
        }
        let [high, low] = reduce_add(highs, lows);
        *sum = join(high + dot(high_tail, key_tail), low + dot(low_tail, key_tail));
    }
}

#[target_feature(enable = "avx2")]
fn weighted_sums_avx2(weights: &Halves, values: &[&[i16]], sums: &mut [f32]) {
    let zeros = [0; LANES];
    let whole = sums.len() / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        let chunk = |row: &[i16]| *row[start..].first_chunk().expect("a whole chunk is left");
        let (mut highs, mut lows) = ([_mm256_setzero_si256(); 2], [_mm256_setzero_si256(); 2]);
        let pairs = weights.high.as_chunks::<2>().0.iter().zip(weights.low.as_chunks::<2>().0);
        for (rows, (high, low)) in values.chunks(2).zip(pairs) {
            let first = load(&chunk(rows[0]));
            let second = load(&rows.get(1).map_or(zeros, |row| chunk(row)));
            let interleaved =
                [_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)];
            let (high, low) = (broadcast(*high), broadcast(*low));
            for ((highs, lows), rows) in highs.iter_mut().zip(&mut lows).zip(interleaved) {
                *highs = _mm256_add_epi32(*highs, _mm256_madd_epi16(high, rows));
                *lows = _mm256_add_epi32(*lows, _mm256_madd_epi16(low, rows));
            }
        }
        store_joined(highs, lows, &mut sums[start..start + LANES]);
    }
    weighted_sums_from(whole, weights, values, sums);
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(values: &[i16; LANES]) -> __m256i {
    // SAFETY: the array has exactly the 32 bytes that are read.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

/// The pair in every i32 of a register.
#[target_feature(enable = "avx2")]
#[inline]
fn broadcast([first, second]: [i16; 2]) -> __m256i {
    _mm256_set1_epi32(i32::from(second) << 16 | i32::from(first as u16))
}

/// The sums of two registers.
#[target_feature(enable = "avx2")]
#[inline]
fn reduce_add(a: __m256i, b: __m256i) -> [i32; 2] {
    let ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let ab = _mm_add_epi32(_mm256_castsi256_si128(ab), _mm256_extracti128_si256::<1>(ab));
    let ab = _mm_add_epi32(ab, _mm_shuffle_epi32::<0b00_00_11_10>(ab));
    [_mm_extract_epi32::<0>(ab), _mm_extract_epi32::<1>(ab)]
}

/// Stores `high * 256 + low` as `super::join` computes it. Interleaving has left each half of the
/// columns in the order of 128-bit lanes: 0 to 3 and 8 to 11 in the first register.
#[target_feature(enable = "avx2")]
#[inline]
fn store_joined(highs: [__m256i; 2], lows: [__m256i; 2], sums: &mut [f32]) {
    let scale = _mm256_set1_pd(256.0);
    let (quads, _) = sums.as_chunks_mut::<4>();
    for (half, (highs, lows)) in highs.into_iter().zip(lows).enumerate() {
        let first = (_mm256_castsi256_si128(highs), _mm256_castsi256_si128(lows));
        let second = (_mm256_extracti128_si256::<1>(highs), _mm256_extracti128_si256::<1>(lows));
        for (lane, (high, low)) in [first, second].into_iter().enumerate() {
            let high = _mm256_mul_pd(_mm256_cvtepi32_pd(high), scale);
            let joined = _mm256_cvtpd_ps(_mm256_add_pd(high, _mm256_cvtepi32_pd(low)));
            // SAFETY: the array has exactly the 16 bytes that are written.
            unsafe { _mm_storeu_ps(quads[lane * 2 + half].as_mut_ptr(), joined) };
        }
    }
}
