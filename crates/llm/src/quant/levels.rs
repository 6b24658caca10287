//! Activations as integer levels: `x = level * unit`, one unit for each token or head.
//!
//! Before linear layers a level has 8 bits: the unit is `top / 127`, `top` being the largest
//! magnitude, and a level is `round(x * (127 / top))`, ties to even. Weights, whose rule is
//! [`super::int8`]'s, are divided by their scale, as the files that hold them say. Activations are
//! multiplied, since a division costs several times as much and they are quantised at every step.
//! The two differ where a quotient is within a rounding of a half. In attention levels are finer
//! and the unit is a power of two. The specification is `docs/arithmetic.md`.

use super::int8::{LEVEL_MAX, absmax, nearest};

/// Largest fine level. Cut into `high * 256 + low` both fit 8 bits, so a GPU can multiply in INT8.
pub const FINE_LEVEL_MAX: i16 = 1 << 14;

/// Writes the levels of `x`, in -127..=127, and returns their unit. A row that is zero in effect
/// has unit 0; one that is not finite has such a unit, and its levels mean nothing.
///
/// # Panics
/// When the lengths differ.
pub fn to_levels8(x: impl ExactSizeIterator<Item = f32> + Clone, levels: &mut [i8]) -> f32 {
    assert_eq!(x.len(), levels.len(), "a row and its levels have one length");
    let Scaling { factor, unit } = Scaling::of(absmax(x.clone()));
    for (level, x) in levels.iter_mut().zip(x) {
        *level = nearest(x * factor) as i8;
    }
    unit
}

/// Writes fine levels of `x`, in -16384..=16384, and returns their unit: the power of two that brings
/// the largest magnitude to 2^13 or above and below 2^14. As in [`to_levels8`] a vector that is zero
/// in effect has unit 0, and one that is not finite has such a unit.
///
/// # Panics
/// When the lengths differ.
pub fn to_fine_levels(x: &[f32], levels: &mut [i16]) -> f32 {
    assert_eq!(x.len(), levels.len(), "a vector and its levels have one length");
    let Scaling { factor, unit } = Scaling::fine(absmax(x.iter().copied()));
    for (level, x) in levels.iter_mut().zip(x) {
        *level = nearest(x * factor) as i16;
    }
    unit
}

/// From values to levels, and back.
struct Scaling {
    factor: f32,
    unit: f32,
}

impl Scaling {
    const NONE: Self = Self { factor: 0.0, unit: 0.0 };

    fn of(top: f32) -> Self {
        // A unit below the normal numbers has lost precision; such rows are zero in effect.
        if top < LEVEL_MAX * f32::MIN_POSITIVE {
            return Self::NONE;
        }
        Self { factor: LEVEL_MAX / top, unit: top / LEVEL_MAX }
    }

    fn fine(top: f32) -> Self {
        const MANTISSA_BITS: u32 = 23;
        /// Exponent of the smallest level that the largest magnitude can have.
        const LEVEL_EXPONENT: u32 = 13;
        // With the bias of 127 that floats store; 255 is no finite number.
        match top.to_bits() >> MANTISSA_BITS {
            0..=LEVEL_EXPONENT => Self::NONE,
            255 => Self { factor: 0.0, unit: top },
            exponent => Self {
                factor: f32::from_bits((2 * 127 + LEVEL_EXPONENT - exponent) << MANTISSA_BITS),
                unit: f32::from_bits((exponent - LEVEL_EXPONENT) << MANTISSA_BITS),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn levels8(x: &[f32]) -> (Vec<i8>, f32) {
        let mut levels = vec![1; x.len()];
        let unit = to_levels8(x.iter().copied(), &mut levels);
        (levels, unit)
    }

    fn fine_levels(x: &[f32]) -> (Vec<i16>, f32) {
        let mut levels = vec![1; x.len()];
        let unit = to_fine_levels(x, &mut levels);
        (levels, unit)
    }

    #[test]
    fn rounding_is_half_to_even() {
        for step in -326_390..=326_390 {
            let x = step as f32 / 10.0;
            assert_eq!(nearest(x), x.round_ties_even() as i32, "{x}");
        }
    }

    #[test]
    fn rows_are_zero_below_the_first_normal_unit() {
        assert_eq!((LEVEL_MAX * f32::MIN_POSITIVE).to_bits(), 0x03fe_0000);
        let first = f32::from_bits(0x03fe_0000);
        assert_eq!(levels8(&[-first, 0.0]), (vec![-127, 0], f32::MIN_POSITIVE));
        assert_eq!(levels8(&[first.next_down(), -0.0]), (vec![0, 0], 0.0));
        let first = 2_f32.powi(-113);
        assert_eq!(fine_levels(&[-first, 0.0]), (vec![-8192, 0], f32::MIN_POSITIVE));
        assert_eq!(fine_levels(&[first.next_down(), -0.0]), (vec![0, 0], 0.0));
        let (levels, unit) = fine_levels(&[f32::MAX, -f32::MAX]);
        assert_eq!((levels, unit), (vec![16_384, -16_384], 2_f32.powi(114)));
    }

    #[test]
    fn a_row_that_is_not_finite_has_such_a_unit() {
        assert!(levels8(&[1.0, f32::NAN, f32::INFINITY]).1.is_nan());
        assert!(fine_levels(&[1.0, f32::NAN, f32::INFINITY]).1.is_nan());
        assert_eq!(levels8(&[1.0, f32::NEG_INFINITY]).1, f32::INFINITY);
        assert_eq!(fine_levels(&[1.0, f32::NEG_INFINITY]).1, f32::INFINITY);
    }

    proptest! {
        #[test]
        fn levels_are_the_rounded_products(
            x in proptest::collection::vec(-1e4_f32..1e4, 1..300),
            exponent in -20_i32..20,
        ) {
            let x: Vec<f32> = x.iter().map(|x| x * 2_f32.powi(exponent)).collect();
            let top = x.iter().fold(0.0_f32, |top, x| top.max(x.abs()));
            prop_assume!(top > 0.0);
            let (levels, unit) = levels8(&x);
            prop_assert_eq!(unit, top / 127.0);
            let rounded = |x: &f32| (x * (127.0 / top)).round_ties_even();
            prop_assert!(levels.iter().zip(&x).all(|(q, x)| f32::from(*q) == rounded(x)));
            let (levels, unit) = fine_levels(&x);
            prop_assert!((8192.0..16_384.0).contains(&(top / unit)), "{} of {}", unit, top);
            prop_assert_eq!(unit.to_bits() << 9, 0, "a power of two");
            let rounded = |x: &f32| (x / unit).round_ties_even();
            prop_assert!(levels.iter().zip(&x).all(|(q, x)| f32::from(*q) == rounded(x)));
        }
    }
}
