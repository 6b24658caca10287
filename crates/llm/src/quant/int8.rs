//! INT8: symmetric, one scale per row.
//!
//! A row is an output channel of a weight, `[out, in]`. Its scale is `absmax / 127`, its values
//! `round(x / scale)` with ties to even: the arithmetic of compressed-tensors (`torch.round`), so
//! weights quantised here and there are the same bytes. Activations follow [`super::levels`].

/// Largest magnitude a row is scaled to. -128 is never produced, but may be read from a file.
pub const LEVEL_MAX: f32 = 127.0;

/// Quantises one row and returns its scale. A row of zeros has scale 0; a row that is not finite
/// has a scale that is not finite, and its values mean nothing.
///
/// # Panics
/// When the lengths differ.
pub fn quantize_row(x: &[f32], values: &mut [i8]) -> f32 {
    assert_eq!(x.len(), values.len(), "a row and its quantised values have one length");
    let scale = absmax(x.iter().copied()) / LEVEL_MAX;
    // Subnormal scales lose the precision the bound below needs; such rows are zero in effect.
    if scale < f32::MIN_POSITIVE {
        values.fill(0);
        return if scale.is_nan() { scale } else { 0.0 };
    }
    for (value, x) in values.iter_mut().zip(x) {
        *value = nearest(x / scale) as i8;
    }
    scale
}

/// Quantises one row with a scale that is given: `round(x / scale)`, ties to even, saturated to
/// -128..=127, as ONNX defines `QuantizeLinear` and TensorRT computes it.
///
/// # Panics
/// When the lengths differ.
pub fn quantize_row_static(x: &[f32], scale: f32, values: &mut [i8]) {
    assert_eq!(x.len(), values.len(), "a row and its quantised values have one length");
    for (value, x) in values.iter_mut().zip(x) {
        *value = nearest((x / scale).clamp(-LEVEL_MAX - 1.0, LEVEL_MAX)) as i8;
    }
}

/// `values * scale`, element by element.
///
/// # Panics
/// When the lengths differ.
pub fn dequantize_row(values: &[i8], scale: f32, x: &mut [f32]) {
    assert_eq!(x.len(), values.len(), "a row and its quantised values have one length");
    for (x, value) in x.iter_mut().zip(values) {
        *x = f32::from(*value) * scale;
    }
}

/// Largest magnitude; NaN when there is one. A maximum of integers has no order, so the loop vectorises.
pub(super) fn absmax(x: impl Iterator<Item = f32>) -> f32 {
    // Magnitudes of floats order like their bits, and NaN orders above infinity.
    const MAGNITUDE: u32 = 0x7fff_ffff;
    f32::from_bits(x.fold(0, |top, x| top.max(x.to_bits() & MAGNITUDE)))
}

/// 1.5 * 2^23: added to a number below 2^22, it leaves no bits for a fraction, so that the addition
/// itself rounds in the default mode, half to even. What lies above its own bits is the integer.
pub(crate) const SHIFT: f32 = 12_582_912.0;

/// Nearest integer, ties to even, for magnitudes below 2^22. Unlike `f32::round_ties_even` this
/// needs no instruction beyond SSE2.
pub(super) fn nearest(x: f32) -> i32 {
    (x + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i32
}

/// `quantization_config` of compressed-tensors, as llm-compressor and AngelSlim write it.
pub(crate) fn quantization_config() -> serde_json::Value {
    let scheme = |strategy: &str, dynamic: bool| {
        serde_json::json!({"num_bits": 8, "type": "int", "strategy": strategy, "symmetric": true,
            "dynamic": dynamic})
    };
    serde_json::json!({
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": {
            "targets": ["Linear"],
            "weights": scheme("channel", false),
            "input_activations": scheme("token", true),
            "output_activations": null,
        }},
        "ignore": ["lm_head"],
        "kv_cache_scheme": null,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rounding_is_half_to_even() {
        for step in -1270..=1270 {
            let x = step as f32 / 10.0;
            assert_eq!(nearest(x) as i8, x.round_ties_even() as i8, "{x}");
        }
    }

    #[test]
    fn static_scales_saturate_at_both_ends() {
        let x = [-1e9, -128.6, -128.4, -2.5, -0.5, 0.5, 1.5, 126.5, 127.4, 1e9];
        let mut values = [0; 10];
        for exponent in [-3, 0, 9] {
            let scale = 2_f32.powi(exponent);
            quantize_row_static(&x.map(|x| x * scale), scale, &mut values);
            assert_eq!(values, [-128, -128, -128, -2, 0, 0, 2, 126, 127, 127]);
        }
    }

    #[test]
    fn zero_rows_and_rows_with_nan() {
        let mut values = [1; 3];
        assert_eq!(quantize_row(&[0.0, -0.0, 0.0], &mut values), 0.0);
        assert_eq!(values, [0; 3]);
        assert!(quantize_row(&[1.0, f32::NAN, 0.0], &mut values).is_nan());
        assert_eq!(quantize_row(&[1.0, f32::INFINITY, 0.0], &mut values), f32::INFINITY);
        assert_eq!(quantize_row(&[1e-42, 0.0, 0.0], &mut values), 0.0);
    }

    proptest! {
        #[test]
        fn round_trip_errs_by_half_a_step_at_most(
            x in proptest::collection::vec(-1e4_f32..1e4, 1..300),
            exponent in -20_i32..20,
        ) {
            let x: Vec<f32> = x.iter().map(|x| x * 2_f32.powi(exponent)).collect();
            let mut values = vec![0; x.len()];
            let mut back = vec![0.0; x.len()];
            let scale = quantize_row(&x, &mut values);
            dequantize_row(&values, scale, &mut back);
            for (x, back) in x.iter().zip(&back) {
                // Half a step, plus the rounding of the quotient and of the product in f32.
                prop_assert!((x - back).abs() <= scale * 0.500_05, "{x} {back} {scale}");
            }
        }

        #[test]
        fn the_largest_magnitude_is_exact_level_max(
            x in proptest::collection::vec(-1.0_f32..1.0, 1..100),
        ) {
            prop_assume!(x.iter().any(|x| x.abs() > 1e-3));
            let mut values = vec![0; x.len()];
            quantize_row(&x, &mut values);
            prop_assert_eq!(values.iter().map(|v| v.unsigned_abs()).max(), Some(127));
        }
    }
}
