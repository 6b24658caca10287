//! Sums of products of fine levels: the arithmetic of attention.
//!
//! One operand is cut into two halves of 8 bits, `high * 256 + low`, so that its sums with the
//! other are exact in i32 and the instructions for pairs of i16 can be used. The two sums meet in
//! f64, where `high * 256 + low` is exact too, and are rounded to f32 once: what an exact integer
//! sum gives when it is converted.

use super::Isa;
use crate::config::HEAD_DIM_MAX;
use crate::quant::levels::FINE_LEVEL_MAX;

#[cfg(target_arch = "x86_64")]
mod x86;

/// Tokens of the cache that one call looks at.
pub(crate) const SPLIT_TOKENS: usize = 128;

// The low halves reach -128: what the widest head sums up fits an i32, and a split's values do too.
const _: () = assert!(HEAD_DIM_MAX as u64 * 128 * FINE_LEVEL_MAX as u64 <= i32::MAX as u64);
const _: () = assert!(SPLIT_TOKENS <= HEAD_DIM_MAX);

/// Levels cut into halves of 8 bits, which have the memory of 16.
#[derive(Debug, Clone)]
pub(crate) struct Halves {
    high: Vec<i16>,
    low: Vec<i16>,
}

impl Halves {
    pub(crate) fn new(len: usize) -> Self {
        Self { high: vec![0; len], low: vec![0; len] }
    }

    pub(crate) fn set(&mut self, levels: &[i16]) {
        assert_eq!(levels.len(), self.high.len(), "as many levels as there is room for");
        for ((high, low), level) in self.high.iter_mut().zip(&mut self.low).zip(levels) {
            *high = (level + 128) >> 8;
            *low = level - (*high << 8);
        }
    }
}

fn join(high: i32, low: i32) -> f32 {
    (f64::from(high) * 256.0 + f64::from(low)) as f32
}

/// The dot product of a query with each of up to [`SPLIT_TOKENS`] keys, exact and then rounded to
/// f32. Sums beyond what was passed are left as they are.
///
/// # Panics
/// When the lengths do not fit together.
pub(crate) fn dots(isa: Isa, query: &Halves, keys: &[&[i16]], sums: &mut [f32; SPLIT_TOKENS]) {
    let d = query.high.len();
    assert!(d <= HEAD_DIM_MAX, "sums of {d} products fit an i32");
    assert!(keys.len() <= SPLIT_TOKENS, "one split at most");
    assert!(keys.iter().all(|key| key.len() == d), "keys are as wide as the query");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni | Isa::AvxVnni | Isa::Avx2 => x86::dots(query, keys, sums),
        Isa::Portable => {
            for (sum, key) in sums.iter_mut().zip(keys) {
                *sum = join(dot(&query.high, key), dot(&query.low, key));
            }
        }
    }
}

fn dot(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

/// `sums[i] = sum over j of weights[j] * values[j][i]`, exact and then rounded to f32; there are
/// [`SPLIT_TOKENS`] weights and up to so many rows of values.
///
/// # Panics
/// When the lengths do not fit together.
pub(crate) fn weighted_sums(isa: Isa, weights: &Halves, values: &[&[i16]], sums: &mut [f32]) {
    assert_eq!(weights.high.len(), SPLIT_TOKENS, "one split of weights");
    assert!(values.len() <= SPLIT_TOKENS, "one split at most");
    assert!(values.iter().all(|row| row.len() == sums.len()), "rows of one width");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni | Isa::AvxVnni | Isa::Avx2 => x86::weighted_sums(weights, values, sums),
        Isa::Portable => weighted_sums_from(0, weights, values, sums),
    }
}

/// [`weighted_sums`] from column `start` on.
fn weighted_sums_from(start: usize, weights: &Halves, values: &[&[i16]], sums: &mut [f32]) {
    const LANES: usize = 8;
    for (chunk, sums) in sums[start..].chunks_mut(LANES).enumerate() {
        let columns = start + chunk * LANES..start + chunk * LANES + sums.len();
        let (mut highs, mut lows) = ([0; LANES], [0; LANES]);
        for ((row, high), low) in values.iter().zip(&weights.high).zip(&weights.low) {
            let lanes = highs.iter_mut().zip(&mut lows).zip(&row[columns.clone()]);
            for ((high_sum, low_sum), value) in lanes {
                *high_sum += i32::from(*high) * i32::from(*value);
                *low_sum += i32::from(*low) * i32::from(*value);
            }
        }
        for ((sum, high), low) in sums.iter_mut().zip(highs).zip(lows) {
            *sum = join(high, low);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    const LEVEL_MAX: i16 = FINE_LEVEL_MAX;

    fn halves(levels: &[i16]) -> Halves {
        let mut halves = Halves::new(levels.len());
        halves.set(levels);
        halves
    }

    #[test]
    fn halves_have_8_bits_and_give_the_level_back() {
        let levels: Vec<i16> = (-LEVEL_MAX..=LEVEL_MAX).collect();
        let halves = halves(&levels);
        for ((level, high), low) in levels.iter().zip(&halves.high).zip(&halves.low) {
            assert_eq!(i32::from(*high) * 256 + i32::from(*low), i32::from(*level));
            assert!(i8::try_from(*high).is_ok() && i8::try_from(*low).is_ok(), "{level}");
        }
    }

    /// Random levels, all of the largest magnitude, and all with low halves of -128.
    fn fillings() -> [Box<dyn FnMut() -> i16>; 3] {
        let mut rng = SmallRng::seed_from_u64(1);
        [
            Box::new(move || rng.random_range(-LEVEL_MAX..=LEVEL_MAX)),
            Box::new(|| -LEVEL_MAX),
            Box::new(|| -(63 * 256 + 128)),
        ]
    }

    #[test]
    fn every_kernel_equals_the_sum_in_i64() {
        for isa in Isa::available() {
            for mut level in fillings() {
                for d in (2..=66).step_by(2).chain([80, 96, 112, 126, 128, 192, 256, 510, 512]) {
                    for n in [1, 2, 3, 7, 16, 127, 128] {
                        let query: Vec<i16> = (0..d).map(|_| level()).collect();
                        let weights: Vec<i16> = (0..SPLIT_TOKENS).map(|_| level()).collect();
                        let cached: Vec<i16> = (0..n * d).map(|_| level()).collect();
                        let rows: Vec<&[i16]> = cached.chunks_exact(d).collect();
                        let exact = |products: &mut dyn Iterator<Item = (i16, i16)>| {
                            let one = |(a, b)| i64::from(a) * i64::from(b);
                            products.map(one).sum::<i64>() as f32
                        };

                        let mut sums = [f32::NAN; SPLIT_TOKENS];
                        dots(isa, &halves(&query), &rows, &mut sums);
                        for (row, sum) in rows.iter().zip(&sums) {
                            let products = query.iter().copied().zip(row.iter().copied());
                            assert_eq!(*sum, exact(&mut { products }), "{isa:?} {d} {n}");
                        }
                        assert!(sums[n..].iter().all(|sum| sum.is_nan()));

                        let mut sums = vec![f32::NAN; d];
                        weighted_sums(isa, &halves(&weights), &rows, &mut sums);
                        for (i, sum) in sums.iter().enumerate() {
                            let column = rows.iter().map(|row| row[i]);
                            let products = weights.iter().copied().zip(column);
                            assert_eq!(*sum, exact(&mut { products }), "{isa:?} {d} {n}");
                        }
                    }
                }
            }
        }
    }
}
