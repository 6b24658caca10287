//! Every kernel against a twin that is written plainly, on fresh random inputs (`HYMT_SEED` repeats
//! them), with poisoned outputs between guards. Needs a GPU and NVRTC; says so without.
//!
//! `HYMT_TOKENS=1,9` takes other numbers of tokens, for tools that make everything slow.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it skipped")]

#[path = "kernels/cache.rs"]
mod cache;
#[path = "support/gpu.rs"]
mod gpu;
#[path = "kernels/loading.rs"]
mod loading;
#[path = "kernels/products.rs"]
mod products;
#[path = "kernels/rows.rs"]
mod rows;
#[path = "support/shape.rs"]
mod shape;
#[path = "kernels/twin.rs"]
mod twin;

use half::f16;
use hymt_cuda::program::{PAGE_TOKENS, SPLIT_TOKENS, Shape, TILE_ROWS, padded};
use hymt_cuda::testing::Argument::{self, At, Buffer, Int, Long, Null, Struct};
use hymt_cuda::testing::{Guarded, Rig};
use hymt_llm::quant::int8::quantize_row;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::gpu::has_gpu;
use crate::shape::config;

/// Width, feed-forward width, layers, heads, key heads, head width, vocabulary. Rows and columns that
/// fill no tile and no unit, each width of a head that loads differ for, groups of 1, 2 and 4.
const SHAPES: [[usize; 7]; 5] = [
    [64, 112, 2, 4, 2, 16, 300],
    [136, 264, 1, 3, 3, 32, 1001],
    [200, 96, 2, 4, 1, 64, 515],
    [256, 648, 1, 8, 2, 128, 640],
    // More columns than are on their way at a time, and than a block holds at once.
    [1160, 2184, 1, 4, 2, 256, 700],
];
/// An output head of two pieces.
const WIDE: [usize; 7] = [2048, 64, 1, 2, 1, 16, 66_003];
/// Around the tokens of a tensor core's block (8) and of a product's block (64).
const TOKENS: [usize; 7] = [1, 7, 8, 9, 63, 64, 65];

/// A device, random numbers, and what a test is about.
struct Bench {
    rig: Rig,
    random: SmallRng,
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
