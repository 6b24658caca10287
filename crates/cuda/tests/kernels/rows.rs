//! Rows of activations become INT8.

use super::*;

#[test]
fn rows_are_quantised_to_the_bit() {
    for mut bench in benches(&SHAPES) {
        let c = bench.shape().config.clone();
        for n in token_counts() {
            for (kernel, k) in
                [("quantize_attended", c.q_size()), ("quantize_gated", c.intermediate_size)]
            {
                let rows = activations(&mut bench, n, k);
                let (x, out, scales) = (
                    bench.holding(&rows),
                    bench.poisoned::<i8>(n * padded(k)),
                    bench.poisoned::<f32>(n),
                );
                bench.launch(kernel, [n, 1, 1], &[Buffer(&x), Buffer(&out), Buffer(&scales)]);
                let (levels, scales): (Vec<i8>, Vec<f32>) =
                    (out.read().unwrap(), scales.read().unwrap());
                for (index, row) in rows.chunks_exact(k).enumerate() {
                    let (want, scale) = twin::quantized(row, None, padded(k));
                    let what = format!("{kernel}, {n} tokens, row {index}");
                    assert_eq!(levels[index * padded(k)..][..padded(k)], want, "{what}");
                    same_bits(&scales[index..=index], &[scale], &what);
                }
                same_bits(&x.read::<f32>().unwrap(), &rows, "the input stays");
            }
        }
    }
}

#[test]
fn rows_are_normalised_and_quantised_to_the_bit() {
    for mut bench in benches(&SHAPES) {
        let (k, eps) = (bench.shape().config.hidden_size, bench.shape().config.rms_norm_eps);
        for n in token_counts() {
            let (rows, weight) = (activations(&mut bench, n, k), bench.floats(k));
            // In the head some rows are picked, in any order.
            let all: Vec<i32> = (0..n as i32).collect();
            let some: Vec<i32> = (0..n).map(|_| bench.random.random_range(0..n as i32)).collect();
            for (picked, is_given) in [(&all, false), (&some, true)] {
                let (x, w, chosen) =
                    (bench.holding(&rows), bench.holding(&weight), bench.holding(picked));
                let (out, scales) = (bench.poisoned::<i8>(n * padded(k)), bench.poisoned::<f32>(n));
                let picked_argument = if is_given { Buffer(&chosen) } else { Null };
                let arguments =
                    [Buffer(&x), picked_argument, Buffer(&w), Buffer(&out), Buffer(&scales)];
                bench.launch("norm_quantize_hidden", [n, 1, 1], &arguments);
                let (levels, scales): (Vec<i8>, Vec<f32>) =
                    (out.read().unwrap(), scales.read().unwrap());
                for (index, from) in picked.iter().enumerate() {
                    let row = &rows[*from as usize * k..][..k];
                    let (want, scale) = twin::quantized(row, Some((&weight, eps)), padded(k));
                    let what = format!("{n} tokens, row {index}");
                    assert_eq!(levels[index * padded(k)..][..padded(k)], want, "{what}");
                    same_bits(&scales[index..=index], &[scale], &what);
                }
            }
        }
    }
}

#[test]
fn what_is_not_a_number_stays_in_its_row() {
    for mut bench in benches(&SHAPES) {
        let k = bench.shape().config.intermediate_size;
        let mut rows = bench.floats(3 * k);
        rows[k + k / 2] = f32::NAN;
        let (x, out, scales) =
            (bench.holding(&rows), bench.poisoned::<i8>(3 * padded(k)), bench.poisoned::<f32>(3));
        bench.launch("quantize_gated", [3, 1, 1], &[Buffer(&x), Buffer(&out), Buffer(&scales)]);
        let (levels, scales): (Vec<i8>, Vec<f32>) = (out.read().unwrap(), scales.read().unwrap());
        assert!(scales[1].is_nan(), "so that it reaches the logits: {scales:?}");
        for index in [0, 2] {
            let (want, scale) = twin::quantized(&rows[index * k..][..k], None, padded(k));
            assert_eq!(levels[index * padded(k)..][..padded(k)], want);
            same_bits(&scales[index..=index], &[scale], "a row beside it");
        }
    }
}
