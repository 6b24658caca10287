//! Weights times activations.

use super::*;

/// Levels and scales of `n` tokens, padded with zeros.
fn tokens(bench: &mut Bench, n: usize, k: usize) -> (Vec<i8>, Vec<f32>) {
    let mut x = bench.levels(n * padded(k));
    x.chunks_exact_mut(padded(k)).for_each(|row| row[k..].fill(0));
    (x, bench.scales(n))
}

impl Bench {
    /// One product of `tiles` tiles (values, scales) with tokens `x`, into `out`.
    fn product(
        &self,
        name: &str,
        tiles: &[Guarded; 2],
        n_tiles: usize,
        x: &(Vec<i8>, Vec<f32>),
        out: &Guarded,
        piece: usize,
    ) {
        let n = x.1.len();
        let (levels, scales) = (self.holding(&x.0), self.holding(&x.1));
        let constant = |name: &str| self.rig.constant(name).unwrap() as usize;
        let grid = [
            n_tiles.div_ceil(constant(&format!("product_tiles_{name}"))),
            n.div_ceil(constant("product_tokens")),
            1,
        ];
        let arguments = [
            Buffer(&tiles[0]),
            Buffer(&tiles[1]),
            Buffer(&levels),
            Buffer(&scales),
            Int(n as i32),
            Buffer(out),
            Int(piece as i32),
        ];
        self.launch(&format!("product_{name}"), grid, &arguments);
        for buffer in tiles.iter().chain([&levels, &scales]) {
            buffer.read::<u8>().unwrap();
        }
    }
}

/// Rows of a weight, with their scales.
struct Matrix {
    values: Vec<i8>,
    scales: Vec<f32>,
    cols: usize,
}

impl Matrix {
    fn new(bench: &mut Bench, rows: usize, cols: usize) -> Self {
        Self { values: bench.levels(rows * cols), scales: bench.scales(rows), cols }
    }

    fn times(&self, row: usize, x: &(Vec<i8>, Vec<f32>), token: usize) -> f32 {
        let w = &self.values[row * self.cols..][..self.cols];
        let of_token = &x.0[token * padded(self.cols)..][..self.cols];
        twin::product(w, self.scales[row], of_token, x.1[token])
    }
}

#[test]
fn products_are_right_to_the_bit() {
    for mut bench in benches(&SHAPES) {
        let (c, qkv) = (bench.shape().config.clone(), bench.shape().qkv_rows());
        for (name, rows, k, adds) in [
            ("qkv", qkv, c.hidden_size, false),
            ("o", c.hidden_size, c.q_size(), true),
            ("down", c.hidden_size, c.intermediate_size, true),
        ] {
            let w = Matrix::new(&mut bench, rows, k);
            let tiles = bench.tiles(&w.values, &w.scales, k);
            for n in token_counts() {
                let x = tokens(&mut bench, n, k);
                let before = bench.floats(n * rows);
                let out = match adds {
                    true => bench.holding(&before),
                    false => bench.poisoned::<f32>(n * rows),
                };
                bench.product(name, &tiles, rows.div_ceil(TILE_ROWS), &x, &out, 0);
                let value = |at: usize| {
                    let v = w.times(at % rows, &x, at / rows);
                    if adds { before[at] + v } else { v }
                };
                let want: Vec<f32> = (0..n * rows).map(value).collect();
                same_bits(&out.read::<f32>().unwrap(), &want, &format!("{name}, {n} tokens"));
            }
        }
    }
}

#[test]
fn gate_and_up_become_one() {
    for mut bench in benches(&SHAPES) {
        let (k, rows) = (bench.shape().config.hidden_size, bench.shape().config.intermediate_size);
        let halves: Vec<_> = (0..2).map(|_| Matrix::new(&mut bench, rows, k)).collect();
        let tile_rows = (2 * rows).next_multiple_of(TILE_ROWS);
        let tiles = [
            bench.holding(&vec![0_i8; tile_rows * padded(k)]),
            bench.holding(&vec![0.0_f32; tile_rows]),
        ];
        for (interleave, half) in (0..).zip(&halves) {
            let bytes = bytemuck::cast_slice(&half.values);
            let source = Source { bytes, kind: 0, scales: &half.scales };
            bench.pack(&source, Place { cols: k, row: 0, interleave }, &tiles);
        }
        for n in token_counts() {
            let x = tokens(&mut bench, n, k);
            let out = bench.poisoned::<f32>(n * rows);
            bench.product("gate", &tiles, rows.div_ceil(TILE_ROWS / 2), &x, &out, 0);
            let value = |at: usize| {
                let [gate, up] =
                    [0, 1].map(|half: usize| halves[half].times(at % rows, &x, at / rows));
                twin::silu_times(gate, up)
            };
            let want: Vec<f32> = (0..n * rows).map(value).collect();
            same_bits(&out.read::<f32>().unwrap(), &want, &format!("gate, {n} tokens"));
        }
    }
}

#[test]
fn the_head_is_right_to_the_bit_in_each_piece() {
    let shapes: Vec<_> = SHAPES.into_iter().chain([WIDE]).collect();
    for mut bench in benches(&shapes) {
        let (k, rows) = (bench.shape().config.hidden_size, bench.shape().config.vocab_size);
        let pieces = bench.shape().head_pieces();
        let is_wide = rows == WIDE[6];
        assert_eq!(pieces, if is_wide { 2 } else { 1 });
        let piece_rows = bench.shape().head_piece_tiles() * TILE_ROWS;
        let w = Matrix::new(&mut bench, rows, k);
        for n in if is_wide { vec![2] } else { token_counts() } {
            let x = tokens(&mut bench, n, k);
            let out = bench.poisoned::<f32>(n * rows);
            for piece in 0..pieces {
                let range = piece * piece_rows..((piece + 1) * piece_rows).min(rows);
                let part = &w.values[range.start * k..range.end * k];
                let tiles = bench.tiles(part, &w.scales[range.clone()], k);
                bench.product("head", &tiles, range.len().div_ceil(TILE_ROWS), &x, &out, piece);
            }
            let want: Vec<f32> =
                (0..n * rows).map(|at| w.times(at % rows, &x, at / rows)).collect();
            same_bits(&out.read::<f32>().unwrap(), &want, &format!("{rows} rows, {n} tokens"));
        }
    }
}
