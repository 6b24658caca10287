//! FP8 E4M3 ("e4m3fn"): one sign, four exponent and three mantissa bits, bias 7, no infinities.
//!
//! Source: Micikevicius et al., "FP8 formats for deep learning" (2022), table 1.

/// The value of each of the 256 codes, exactly; codes 0x7f and 0xff are NaN.
pub const E4M3: [f32; 256] = e4m3_table();

const fn e4m3_table() -> [f32; 256] {
    let mut table = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = e4m3_value(code as u32);
        code += 1;
    }
    table
}

const fn e4m3_value(code: u32) -> f32 {
    let (sign, exponent, mantissa) = (code >> 7 << 31, code >> 3 & 15, code & 7);
    if exponent == 15 && mantissa == 7 {
        return f32::NAN;
    }
    if exponent == 0 {
        // Subnormal: mantissa * 2^-9, which no division can round.
        let magnitude = mantissa as f32 / 512.0;
        return if sign == 0 { magnitude } else { -magnitude };
    }
    f32::from_bits(sign | (exponent + 127 - 7) << 23 | mantissa << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landmarks_of_the_paper() {
        let cases = [(0x7e, 448.0), (0x08, 0.015_625), (0x01, 0.001_953_125), (0x38, 1.0)];
        for (code, value) in cases {
            assert_eq!(E4M3[code], value, "{code:#x}");
            assert_eq!(E4M3[code | 0x80], -value, "{code:#x}");
        }
        assert!(E4M3[0x7f].is_nan() && E4M3[0xff].is_nan());
        assert_eq!(E4M3.iter().filter(|value| value.is_nan()).count(), 2);
    }
}
