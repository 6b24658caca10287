//! Every kernel against a twin that is written plainly, on fresh random inputs (`HYMT_SEED` repeats
//! them), with poisoned outputs between guards. Needs a GPU and NVRTC; says so without.
//!
//! `HYMT_TOKENS=1,9` takes other numbers of tokens, for tools that make everything slow.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it skipped")]

#[path = "kernels/twin.rs"]
mod twin;

use std::io::Write as _;

use half::f16;
use hymt_cuda::device;
use hymt_cuda::program::{PAGE_TOKENS, SPLIT_TOKENS, Shape, TILE_ROWS, padded};
use hymt_cuda::testing::Argument::{self, At, Buffer, Int, Long, Null, Struct};
use hymt_cuda::testing::{Guarded, Rig};
use hymt_llm::config::ModelConfig;
use hymt_llm::quant::int8::quantize_row;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Width, feed-forward width, layers, heads, key heads, head width, vocabulary. Rows and columns that
/// fill no tile and no unit, each width of a head that loads differ for, groups of 1, 2 and 4.
const SHAPES: [[usize; 7]; 4] = [
    [64, 112, 2, 4, 2, 16, 300],
    [136, 264, 1, 3, 3, 32, 1001],
    [200, 96, 2, 4, 1, 64, 515],
    [256, 648, 1, 8, 2, 128, 640],
];
/// An output head of two pieces.
const WIDE: [usize; 7] = [2048, 64, 1, 2, 1, 16, 66_003];
/// Around the tokens of a tensor core's block (8) and of a product's block (64).
const TOKENS: [usize; 7] = [1, 7, 8, 9, 63, 64, 65];

/// `expf` is within 2 units in the last place (CUDA C++ Programming Guide, mathematical functions); the
/// addition, division and product around it round once each.
const SILU_TOLERANCE: f64 = 5.0 * f32::EPSILON as f64;
/// Where `expf(-gate)` overflows, from 88.7 on, nothing is left of `gate / exp(-gate)`.
const SILU_VANISHES: f64 = 3e-37;
/// Of the largest value. A score is a sum of up to 128 products of about 11 in all, in f32, so its error
/// is of the order of 1e-5, and that of its weight too. One key in 700 left out would be 1e-3.
const ATTENTION_TOLERANCE: f64 = 1e-4;

fn config([hidden, ffn, layers, heads, kv_heads, head_dim, vocab]: [usize; 7]) -> ModelConfig {
    let json = format!(
        r#"{{"model_type": "hunyuan_v1_dense", "hidden_act": "silu", "hidden_size": {hidden},
        "intermediate_size": {ffn}, "num_hidden_layers": {layers}, "num_attention_heads": {heads},
        "num_key_value_heads": {kv_heads}, "head_dim": {head_dim}, "vocab_size": {vocab},
        "max_position_embeddings": 262144, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "use_qk_norm": true}}"#
    );
    ModelConfig::from_json(json.as_bytes()).unwrap()
}

/// A device, random numbers, and what a test is about.
struct Bench {
    rig: Rig,
    random: SmallRng,
}

fn has_gpu() -> bool {
    match device::probe(0) {
        Ok(_) => true,
        Err(error) => {
            // Straight to the stream: the test runner swallows what the macros print.
            let said = format!("\n*** SKIPPED: needs an NVIDIA GPU: {error} ***\n");
            let _ = writeln!(std::io::stderr(), "{said}");
            let required = std::env::var_os("HYMT_REQUIRE_CUDA").is_some();
            assert!(!required, "HYMT_REQUIRE_CUDA is set, but there is no GPU: {error}");
            false
        }
    }
}

/// One for each of `shapes`; none without a GPU.
fn benches(shapes: &[[usize; 7]]) -> Vec<Bench> {
    if !has_gpu() {
        return Vec::new();
    }
    let named = std::env::var("HYMT_SEED").ok();
    let seed = named.map_or_else(|| rand::rng().random(), |seed| seed.parse().unwrap());
    eprintln!("HYMT_SEED={seed} repeats this");
    let bench = |shape: &[usize; 7]| Bench {
        rig: Rig::new(&config(*shape)).unwrap(),
        random: SmallRng::seed_from_u64(seed),
    };
    shapes.iter().map(bench).collect()
}

fn token_counts() -> Vec<usize> {
    let named = std::env::var("HYMT_TOKENS").ok();
    named.map_or(TOKENS.to_vec(), |text| text.split(',').map(|n| n.parse().unwrap()).collect())
}

impl Bench {
    fn floats(&mut self, n: usize) -> Vec<f32> {
        // Of very different sizes, as activations are.
        (0..n)
            .map(|_| {
                let size = 2.0_f32.powi(self.random.random_range(-6..4));
                self.random.random_range(-1.0..1.0) * size
            })
            .collect()
    }

    fn levels(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.random.random_range(-127..=127)).collect()
    }

    fn scales(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.random.random_range(1e-4..1e-2)).collect()
    }

    fn shape(&self) -> &Shape {
        &self.rig.shape
    }

    fn launch(&self, kernel: &str, grid: [usize; 3], arguments: &[Argument<'_>]) {
        self.rig.launch(kernel, grid, arguments).unwrap();
    }

    fn holding<T: bytemuck::Pod>(&self, values: &[T]) -> Guarded {
        self.rig.holding(values).unwrap()
    }

    fn poisoned<T>(&self, n: usize) -> Guarded {
        self.rig.poisoned(n * size_of::<T>()).unwrap()
    }

    /// A matrix as tiles, packed by the kernel that loads weights.
    fn tiles(&self, values: &[i8], scales: &[f32], cols: usize) -> [Guarded; 2] {
        let tile_rows = scales.len().next_multiple_of(TILE_ROWS);
        let tiles = [
            self.holding(&vec![0_i8; tile_rows * padded(cols)]),
            self.holding(&vec![0.0_f32; tile_rows]),
        ];
        let source = Source { bytes: bytemuck::cast_slice(values), kind: 0, scales };
        self.pack(&source, Place { cols, row: 0, interleave: -1 }, &tiles);
        tiles
    }

    /// Puts rows into tiles; what the kernel says of rows that are not finite.
    fn pack(&self, source: &Source<'_>, place: Place, tiles: &[Guarded; 2]) -> i32 {
        let rows = source.scales.len();
        let (bytes, stored, bad) =
            (self.holding(source.bytes), self.holding(source.scales), self.holding(&[0_i32]));
        let arguments = [
            Buffer(&bytes),
            Int(source.kind),
            Int(rows as i32),
            Int(place.cols as i32),
            Int(place.row as i32),
            Int(place.interleave),
            Buffer(&tiles[0]),
            Buffer(&tiles[1]),
            Buffer(&stored),
            Buffer(&bad),
        ];
        self.launch("pack_rows", [rows, 1, 1], &arguments);
        bad.read::<i32>().unwrap()[0]
    }
}

/// Where rows go in tiles, as `pack_rows` takes it.
#[derive(Clone, Copy)]
struct Place {
    cols: usize,
    row: usize,
    interleave: i32,
}

/// Rows of a file: type 0 is i8 with stored scales, 1 bf16, 2 f16, 3 f32.
struct Source<'a> {
    bytes: &'a [u8],
    kind: i32,
    /// One a row; of floats they are ignored.
    scales: &'a [f32],
}

#[track_caller]
fn same_bits(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        assert_eq!(got.to_bits(), want.to_bits(), "{what}, element {index}: {got} for {want}");
    }
}

/// Rows that are usual, zero, as good as zero, and huge.
fn activations(bench: &mut Bench, n: usize, k: usize) -> Vec<f32> {
    let mut rows = bench.floats(n * k);
    for (index, row) in rows.chunks_exact_mut(k).enumerate() {
        match index % 9 {
            3 => row.fill(0.0),
            5 => row.iter_mut().for_each(|x| *x *= 1e-38),
            7 => row.iter_mut().for_each(|x| *x *= 1e15),
            _ => {}
        }
    }
    rows
}

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
            for (at, got) in out.read::<f32>().unwrap().into_iter().enumerate() {
                let (token, row) = (at / rows, at % rows);
                let [gate, up] = [0, 1].map(|half: usize| halves[half].times(row, &x, token));
                let want = twin::silu_times(gate, up);
                let allowed = SILU_TOLERANCE * want.abs() + SILU_VANISHES * f64::from(up.abs());
                assert!(
                    (f64::from(got) - want).abs() <= allowed + f64::from(f32::MIN_POSITIVE),
                    "{n} tokens, token {token}, row {row}: {got} for {want}"
                );
            }
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

/// A cache whose slots hold one sequence each, and the tokens that come next.
struct Cache {
    /// `[token][page]`
    pages: Vec<Vec<Guarded>>,
    /// Each token is in a slot of its own.
    positions: Vec<i32>,
    /// The host's view of `pages`.
    content: Vec<Vec<Vec<f16>>>,
    buffers: [Guarded; 4],
    pages_max: usize,
    rotations: Vec<f32>,
}

impl Cache {
    /// Holds something before each position, at it too with `holds_own`, and NaN behind.
    fn new(bench: &mut Bench, positions: &[usize], holds_own: bool) -> Self {
        const PAGES_MAX: usize = 3;
        let c = bench.shape().config.clone();
        let (n, d) = (positions.len(), c.head_dim);
        let nan = f16::from_bits(0xffff);
        let mut content = Vec::new();
        for position in positions {
            let end = position + usize::from(holds_own);
            let pages: Vec<Vec<f16>> = (0..position / PAGE_TOKENS + 1)
                .map(|page| {
                    let here = end.saturating_sub(page * PAGE_TOKENS).min(PAGE_TOKENS);
                    let mut halves = Vec::new();
                    for _head in 0..c.n_layers * 2 * c.n_kv_heads {
                        let some = bench.floats(here * d);
                        halves.extend(some.into_iter().map(|x| f16::from_f32(x * 0.25)));
                        halves.extend(std::iter::repeat_n(nan, (PAGE_TOKENS - here) * d));
                    }
                    halves
                })
                .collect();
            content.push(pages);
        }
        let pages: Vec<Vec<Guarded>> = content
            .iter()
            .map(|pages| pages.iter().map(|page| bench.holding(page)).collect())
            .collect();
        let mut table = vec![u64::MAX; n * PAGES_MAX];
        // Slots in another order than tokens.
        let slots: Vec<i32> = (0..n as i32).rev().collect();
        for (slot, pages) in slots.iter().zip(&pages) {
            for (index, page) in pages.iter().enumerate() {
                table[*slot as usize * PAGES_MAX + index] = page.address();
            }
        }
        let base = c.rope.base(d);
        let rotations: Vec<f32> = positions
            .iter()
            .flat_map(|position| {
                let angle =
                    move |i: usize| *position as f64 * base.powf(-2.0 * i as f64 / d as f64);
                let cosines = (0..d / 2).map(move |i| angle(i).cos() as f32);
                cosines.chain((0..d / 2).map(move |i| angle(i).sin() as f32)).collect::<Vec<_>>()
            })
            .collect();
        let positions: Vec<i32> = positions.iter().map(|position| *position as i32).collect();
        let buffers = [
            bench.holding(&positions),
            bench.holding(&slots),
            bench.holding(&rotations),
            bench.holding(&table),
        ];
        Self { pages, positions, content, buffers, pages_max: PAGES_MAX, rotations }
    }

    /// As `struct Tokens` of `prefill.cu`.
    fn argument(&self) -> [u64; 5] {
        let [positions, slots, rotations, table] = &self.buffers;
        let pages_max = self.pages_max as u64;
        [positions.address(), slots.address(), rotations.address(), table.address(), pages_max]
    }

    fn rotation(&self, token: usize, head_dim: usize) -> &[f32] {
        &self.rotations[token * head_dim..][..head_dim]
    }
}

/// Around the ends of splits and pages, and anywhere.
fn positions(bench: &mut Bench, n: usize) -> Vec<usize> {
    const EDGES: [usize; 12] = [0, 1, 127, 128, 254, 255, 256, 257, 383, 511, 512, 767];
    let mut some: Vec<usize> = (0..n).map(|_| bench.random.random_range(0..768)).collect();
    let first = bench.random.random_range(0..EDGES.len());
    some.iter_mut().zip(EDGES.iter().cycle().skip(first)).for_each(|(to, edge)| *to = *edge);
    some
}

#[test]
fn keys_and_values_are_appended_to_the_bit() {
    for mut bench in benches(&SHAPES) {
        let (c, qkv_rows) = (bench.shape().config.clone(), bench.shape().qkv_rows());
        let d = c.head_dim;
        for n in token_counts() {
            let positions = positions(&mut bench, n);
            let mut cache = Cache::new(&mut bench, &positions, false);
            let (qkv, norms) = (bench.floats(n * qkv_rows), bench.floats(c.n_layers * 2 * d));
            let layer = c.n_layers - 1;
            let (qkv_there, norms_there) = (bench.holding(&qkv), bench.holding(&norms));
            let words = cache.argument();
            let arguments =
                [Buffer(&qkv_there), Struct(&words), Buffer(&norms_there), Int(layer as i32)];
            bench.launch("append", [n, 1, 1], &arguments);
            for token in 0..n {
                let k_norm = &norms[(layer * 2 + 1) * d..][..d];
                let own = &qkv[token * qkv_rows + c.q_size()..][..2 * c.kv_size()];
                for head in 0..2 * c.n_kv_heads {
                    let row = &own[head * d..][..d];
                    let row = match head < c.n_kv_heads {
                        true => {
                            twin::rope_norm(row, cache.rotation(token, d), k_norm, c.rms_norm_eps)
                        }
                        false => row.to_vec(),
                    };
                    let at = ((layer * 2 * c.n_kv_heads + head) * PAGE_TOKENS
                        + positions[token] % PAGE_TOKENS)
                        * d;
                    let page = &mut cache.content[token][positions[token] / PAGE_TOKENS];
                    page[at..at + d].iter_mut().zip(row).for_each(|(to, x)| *to = f16::from_f32(x));
                }
                for (page, want) in cache.pages[token].iter().zip(&cache.content[token]) {
                    let bits =
                        |halves: &[f16]| halves.iter().map(|h| h.to_bits()).collect::<Vec<_>>();
                    let position = positions[token];
                    assert!(
                        bits(&page.read::<f16>().unwrap()) == bits(want),
                        "{n} tokens, position {position}"
                    );
                }
            }
        }
    }
}

#[test]
fn attention_is_close_and_reads_no_other_position() {
    for mut bench in benches(&SHAPES) {
        let (c, qkv_rows) = (bench.shape().config.clone(), bench.shape().qkv_rows());
        let (d, group) = (c.head_dim, c.n_heads / c.n_kv_heads);
        for n in token_counts() {
            let positions = positions(&mut bench, n);
            let cache = Cache::new(&mut bench, &positions, true);
            let (qkv, norms) = (bench.floats(n * qkv_rows), bench.floats(c.n_layers * 2 * d));
            let layer = c.n_layers - 1;
            let splits = positions.iter().max().unwrap() / SPLIT_TOKENS + 1;
            let (qkv_there, norms_there) = (bench.holding(&qkv), bench.holding(&norms));
            let out = bench.poisoned::<f32>(n * c.q_size());
            let partials = bench.poisoned::<f32>(n * splits * c.n_heads * (d + 2));
            let arrivals = bench.holding(&vec![0_u32; n * c.n_heads]);
            let words = cache.argument();
            let arguments = [
                Buffer(&qkv_there),
                Struct(&words),
                Buffer(&norms_there),
                Int(layer as i32),
                Buffer(&out),
                Buffer(&partials),
                Buffer(&arrivals),
            ];
            bench.launch("attention", [c.n_heads, n, splits], &arguments);
            partials.read::<f32>().unwrap();
            assert!(
                arrivals.read::<u32>().unwrap().iter().all(|count| *count == 0),
                "for the next layer"
            );
            let out: Vec<f32> = out.read().unwrap();
            for token in 0..n {
                let keys = cache.positions[token] as usize + 1;
                // Heads of all pages one after the other.
                let rows = |is_value: usize, head: usize| -> Vec<f16> {
                    let at = ((layer * 2 + is_value) * c.n_kv_heads + head) * PAGE_TOKENS * d;
                    let pages = cache.content[token].iter();
                    let mut all: Vec<f16> =
                        pages.flat_map(|page| page[at..at + PAGE_TOKENS * d].to_vec()).collect();
                    all.truncate(keys * d);
                    all
                };
                for head in 0..c.n_heads {
                    let q = &qkv[token * qkv_rows + head * d..][..d];
                    let q_norm = &norms[layer * 2 * d..][..d];
                    let q = twin::rope_norm(q, cache.rotation(token, d), q_norm, c.rms_norm_eps);
                    let values = rows(1, head / group);
                    let want = twin::attention(&q, &rows(0, head / group), &values);
                    let largest = values.iter().map(|v| f64::from(*v).abs()).fold(0.0, f64::max);
                    let got = &out[token * c.q_size() + head * d..][..d];
                    for (got, want) in got.iter().zip(want) {
                        let error = (f64::from(*got) - want).abs();
                        assert!(
                            error <= ATTENTION_TOLERANCE * largest,
                            "{n} tokens, {keys} keys, head {head}: {got} for {want}"
                        );
                    }
                }
            }
        }
    }
}

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
