//! Rows of a file become tiles; and what measures memory.

use super::*;

#[test]
fn rows_of_every_type_are_packed_to_the_bit() {
    for mut bench in benches(&SHAPES) {
        let cols = bench.shape().config.hidden_size;
        for kind in 0..4 {
            for interleave in [-1, 0, 1] {
                // Behind rows that are there already.
                let (rows, first) = (21, if interleave < 0 { 5 } else { 8 });
                let x = activations(&mut bench, rows, cols);
                let (levels, stored) = (bench.levels(rows * cols), bench.scales(rows));
                let (bytes, x): (Vec<u8>, Vec<f32>) = match kind {
                    0 => (bytemuck::cast_slice(&levels).to_vec(), x),
                    1 => {
                        let some: Vec<_> = x.iter().map(|x| half::bf16::from_f32(*x)).collect();
                        (
                            bytemuck::cast_slice(&some).to_vec(),
                            some.iter().map(|x| x.to_f32()).collect(),
                        )
                    }
                    2 => {
                        let some: Vec<_> =
                            x.iter().map(|x| f16::from_f32(x.clamp(-6e4, 6e4))).collect();
                        (
                            bytemuck::cast_slice(&some).to_vec(),
                            some.iter().map(|x| x.to_f32()).collect(),
                        )
                    }
                    _ => (bytemuck::cast_slice(&x).to_vec(), x),
                };
                let tile_rows = (2 * (first + rows)).next_multiple_of(TILE_ROWS);
                let tiles = bench.poisoned::<i8>(tile_rows * padded(cols));
                let scales = bench.poisoned::<f32>(tile_rows);
                let packed = [tiles, scales];
                let source = Source { bytes: &bytes, kind, scales: &stored };
                assert_eq!(bench.pack(&source, Place { cols, row: first, interleave }, &packed), 0);
                let mut want = vec![-1_i8; tile_rows * padded(cols)];
                let mut want_scales = vec![u32::MAX; tile_rows];
                for row in 0..rows {
                    let absolute = first + row;
                    let place = match interleave {
                        -1 => absolute,
                        half => absolute / 8 * 16 + half as usize * 8 + absolute % 8,
                    };
                    let mut values = levels[row * cols..][..cols].to_vec();
                    let mut scale = stored[row];
                    if kind != 0 {
                        scale = quantize_row(&x[row * cols..][..cols], &mut values);
                    }
                    want_scales[place] = scale.to_bits();
                    for (col, value) in values.into_iter().enumerate() {
                        want[twin::tile_offset(place, col, padded(cols))] = value;
                    }
                }
                let what = format!("type {kind}, interleave {interleave}");
                assert!(packed[0].read::<i8>().unwrap() == want, "{what}");
                assert_eq!(packed[1].read::<u32>().unwrap(), want_scales, "{what}");
            }
        }
    }
}

#[test]
fn a_weight_that_is_not_finite_is_told() {
    for mut bench in benches(&SHAPES[..1]) {
        let cols = bench.shape().config.hidden_size;
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = bench.floats(9 * cols);
            x[6 * cols + 3] = value;
            let packed = [bench.poisoned::<i8>(16 * padded(cols)), bench.poisoned::<f32>(16)];
            let source = Source { bytes: bytemuck::cast_slice(&x), kind: 3, scales: &[0.0; 9] };
            let place = Place { cols, row: 0, interleave: -1 };
            assert_eq!(bench.pack(&source, place, &packed), 7, "row 6");
        }
    }
}

#[test]
fn what_measures_memory_copies_reads_and_makes_levels() {
    for mut bench in benches(&SHAPES[..1]) {
        for vectors in [1, 511, 512, 513, 40_007] {
            let words: Vec<u32> = (0..4 * vectors).map(|_| bench.random.random()).collect();
            let (from, to) = (bench.holding(&words), bench.poisoned::<u32>(4 * vectors));
            let arguments = [Buffer(&from), Buffer(&to), Long(vectors as u64)];
            bench.launch("copy", [7, 1, 1], &arguments);
            assert_eq!(to.read::<u32>().unwrap(), words);
            let untouched = bench.poisoned::<u32>(1);
            let arguments = [At(&from, 0), Buffer(&untouched), Long(vectors as u64)];
            bench.launch("read", [7, 1, 1], &arguments);
            assert_eq!(untouched.read::<u32>().unwrap(), [u32::MAX]);
            let made = bench.poisoned::<u32>(4 * vectors);
            let arguments = [Buffer(&made), Long(4 * vectors as u64), Int(7)];
            bench.launch("randomize", [7, 1, 1], &arguments);
            let levels: Vec<i8> = made.read().unwrap();
            assert!(levels.iter().all(|level| *level != -128));
            if vectors > 10_000 {
                let different: std::collections::BTreeSet<_> = levels.into_iter().collect();
                assert!(different.len() > 100, "{different:?}");
            }
        }
    }
}
