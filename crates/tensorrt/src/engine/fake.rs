//! A FAKE of TensorRT, in Rust, on a [`HostDevice`]: a network that is no language model but has what
//! one has. Its keys and values depend on token and position, and on everything that the layers below
//! saw; its logits depend on all of them. All arithmetic is in integers, so that any wrong byte in
//! the cache changes the logits, and a right cache gives the same bits however it was filled.
//!
//! It keeps TensorRT's rules and panics where the engine breaks one that TensorRT would not notice. As
//! the real network it multiplies what lies in the cache beyond a row's past by 0, so that an infinity
//! there makes its logits NaN.
//!
//! `unsafe` here: a method of [`Context`] is.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use half::f16;

use super::limits::Limits;
use super::network::{Context, Plan};
use crate::device::host::HostDevice;
use crate::device::{ALIGNMENT, DeviceError};
use crate::error::TensorRtError;
use crate::graph::{
    LOGITS, LOGITS_AT, PAST_LENGTHS, POSITIONS, TOKEN_IDS, new_key, new_value, past_key, past_value,
};
use crate::safe::{DataType, Mode, Shape, ShapeRange, Stream, TensorInfo};

/// A token whose keys and values are too large for the cache's type.
pub(super) const OVERFLOWING: u32 = 40;
/// Stands for infinity among the elements.
const INFINITE: u64 = u64::MAX;

/// A plan of the fake network.
#[derive(Clone)]
pub(super) struct FakePlan {
    pub(super) limits: Limits,
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) profiles: usize,
    pub(super) device: HostDevice,
    /// Hears what memory there is when the last copy of the plan goes.
    pub(super) last: Option<Arc<LastWord>>,
}

/// Says, when dropped, how many bytes the device holds.
pub(super) struct LastWord(pub(super) HostDevice, pub(super) Arc<AtomicU64>);

impl Drop for LastWord {
    fn drop(&mut self) {
        self.1.store(self.0.bytes() as u64, Ordering::Relaxed);
    }
}

impl FakePlan {
    pub(super) fn new(limits: Limits, device: &HostDevice) -> Self {
        Self { limits, tensors: tensors(&limits), profiles: 2, device: device.clone(), last: None }
    }
}

fn tensors(limits: &Limits) -> Vec<TensorInfo> {
    let tensor = |name: &str, mode, dtype, shape: &[i64]| TensorInfo {
        name: name.to_owned(),
        mode,
        dtype,
        on_host: false,
        shape: Shape(shape.to_vec()),
    };
    let integers = |name, shape: &[i64]| tensor(name, Mode::Input, DataType::I32, shape);
    let mut all = vec![
        integers(TOKEN_IDS, &[-1, -1]),
        integers(POSITIONS, &[-1, -1]),
        integers(PAST_LENGTHS, &[-1]),
        integers(LOGITS_AT, &[-1, -1]),
        tensor(LOGITS, Mode::Output, DataType::F32, &[-1, -1, limits.vocab as i64]),
    ];
    let float = if limits.element_bytes == 2 { DataType::F16 } else { DataType::F32 };
    let (heads, context, dim) =
        (limits.kv_heads as i64, limits.context as i64, limits.head_dim as i64);
    for layer in 0..limits.layers {
        for name in [past_key(layer), past_value(layer)] {
            all.push(tensor(&name, Mode::Input, float, &[-1, heads, context, dim]));
        }
        for name in [new_key(layer), new_value(layer)] {
            all.push(tensor(&name, Mode::Output, float, &[-1, heads, -1, dim]));
        }
    }
    all
}

impl Plan for FakePlan {
    type Context = FakeContext;

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn profiles(&self) -> Result<usize, TensorRtError> {
        call(&self.device, "profiles")?;
        Ok(self.profiles)
    }

    fn profile_range(&self, name: &str, profile: usize) -> Result<ShapeRange, TensorRtError> {
        call(&self.device, "profile_range")?;
        let limits = &self.limits;
        let of = if profile == 0 { limits.prefill } else { limits.decode };
        let [one, batch, tokens, logits, heads, context, dim] =
            [1, of.batch, of.tokens, of.logits, limits.kv_heads, limits.context, limits.head_dim]
                .map(|size| size as i64);
        let (min, max) = match name {
            TOKEN_IDS | POSITIONS => (vec![one, one], vec![batch, tokens]),
            LOGITS_AT => (vec![one, one], vec![batch, logits]),
            PAST_LENGTHS => (vec![one], vec![batch]),
            _ => (vec![one, heads, context, dim], vec![batch, heads, context, dim]),
        };
        Ok(ShapeRange { min: Shape(min.clone()), opt: Shape(min), max: Shape(max) })
    }

    fn context(&self) -> Result<FakeContext, TensorRtError> {
        call(&self.device, "context")?;
        Ok(FakeContext {
            plan: self.clone(),
            profile: None,
            shapes: BTreeMap::new(),
            addresses: BTreeMap::new(),
            changes: Arc::default(),
            ran_at: None,
        })
    }
}

fn call(device: &HostDevice, name: &'static str) -> Result<(), TensorRtError> {
    device
        .call(name)
        .map_err(|error: DeviceError| TensorRtError::Refused { detail: error.to_string() })
}

/// A context of the fake network.
pub(super) struct FakeContext {
    plan: FakePlan,
    profile: Option<usize>,
    shapes: BTreeMap<String, Shape>,
    addresses: BTreeMap<String, u64>,
    /// Counts changes of shapes and addresses; a graph of an earlier state must not run.
    changes: Arc<AtomicU64>,
    /// State in which it last ran for real.
    ran_at: Option<u64>,
}

impl Context for FakeContext {
    fn set_profile(&mut self, profile: usize, _: &Stream) -> Result<(), TensorRtError> {
        call(&self.plan.device, "set_profile")?;
        self.profile = Some(profile);
        self.shapes.clear();
        Ok(())
    }

    fn set_input_shape(&mut self, name: &str, shape: &Shape) -> Result<(), TensorRtError> {
        call(&self.plan.device, "set_input_shape")?;
        let profile = self.profile.expect("a profile was chosen");
        let range = self.plan.profile_range(name, profile)?;
        let inside = |(size, (min, max)): (&i64, (&i64, &i64))| (min..=max).contains(&size);
        let is_inside = shape.0.len() == range.min.0.len()
            && shape.0.iter().zip(range.min.0.iter().zip(&range.max.0)).all(inside);
        assert!(is_inside, "'{name}' is {shape}, profile {profile} has {range:?}");
        self.shapes.insert(name.to_owned(), shape.clone());
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn set_address(&mut self, name: &str, address: u64) -> Result<(), TensorRtError> {
        call(&self.plan.device, "set_address")?;
        assert!(self.plan.tensors.iter().any(|tensor| tensor.name == name), "no tensor '{name}'");
        assert!(address.is_multiple_of(ALIGNMENT as u64), "'{name}' at {address:#x}");
        self.addresses.insert(name.to_owned(), address);
        self.changes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn infer_shapes(&mut self) -> Result<(), TensorRtError> {
        call(&self.plan.device, "infer_shapes")?;
        self.check_open();
        Ok(())
    }

    unsafe fn enqueue(&mut self, _: &Stream) -> Result<(), TensorRtError> {
        call(&self.plan.device, "enqueue")?;
        self.check_open();
        let now = self.changes.load(Ordering::Relaxed);
        let device = self.plan.device.clone();
        if device.is_recording() {
            assert_eq!(self.ran_at, Some(now), "captured before a plain run of the same shapes");
        } else {
            self.ran_at = Some(now);
        }
        let run = Run {
            device: device.clone(),
            limits: self.plan.limits,
            addresses: self.addresses.clone(),
            tokens: self.shapes[TOKEN_IDS].clone(),
            logits: self.shapes[LOGITS_AT].clone(),
        };
        let changes = Arc::clone(&self.changes);
        device.push(Arc::new(move || {
            assert_eq!(
                changes.load(Ordering::Relaxed),
                now,
                "a graph of other shapes or addresses"
            );
            run.run();
        }));
        Ok(())
    }
}

impl FakeContext {
    fn check_open(&self) {
        for tensor in &self.plan.tensors {
            let name = &tensor.name;
            assert!(self.addresses.contains_key(name), "no address for '{name}'");
            assert!(
                tensor.mode == Mode::Output || self.shapes.contains_key(name),
                "no shape: '{name}'"
            );
        }
        let batches: Vec<i64> = self.shapes.values().map(|shape| shape.0[0]).collect();
        assert!(batches.windows(2).all(|pair| pair[0] == pair[1]), "batches of {batches:?}");
    }
}

/// One run with everything that it reads fixed.
struct Run {
    device: HostDevice,
    limits: Limits,
    addresses: BTreeMap<String, u64>,
    tokens: Shape,
    logits: Shape,
}

impl Run {
    fn run(&self) {
        let (batch, tokens) = (self.tokens.0[0] as usize, self.tokens.0[1] as usize);
        let n_logits = self.logits.0[1] as usize;
        let ids = self.integers(TOKEN_IDS, batch * tokens);
        let positions = self.integers(POSITIONS, batch * tokens);
        let past = self.integers(PAST_LENGTHS, batch);
        let logits_at = self.integers(LOGITS_AT, batch * n_logits);
        for row in 0..batch {
            let range = row * tokens..(row + 1) * tokens;
            let counted: Vec<i32> = (past[row]..).take(tokens).collect();
            assert_eq!(positions[range.clone()], counted, "positions of row {row}");
            let inputs = (&ids[range.clone()], &positions[range]);
            let unseen = self.unseen(row, past[row] as usize);
            let states = self.states(row, past[row] as usize, inputs);
            for index in 0..n_logits {
                let state = states[logits_at[row * n_logits + index] as usize];
                let vocab = self.limits.vocab;
                let values: Vec<u8> = (0..vocab as u64)
                    .flat_map(|token| (mix(state, token) as f32 / 65_536.0 + unseen).to_ne_bytes())
                    .collect();
                let at = 4 * (row * n_logits + index) * vocab;
                self.device.store(self.addresses[LOGITS] + at as u64, &values);
            }
        }
    }

    /// What is known after each token of a row, having written its keys and values.
    fn states(&self, row: usize, past: usize, (ids, positions): (&[i32], &[i32])) -> Vec<u64> {
        let seeds = ids.iter().zip(positions);
        let mut states: Vec<u64> = seeds.map(|(id, at)| mix(*id as u64, *at as u64)).collect();
        for layer in 0..self.limits.layers {
            let mut attended = vec![0_u64; states.len()];
            for (kind, old, new) in
                [(1, past_key(layer), new_key(layer)), (2, past_value(layer), new_value(layer))]
            {
                for head in 0..self.limits.kv_heads {
                    let mut seen = self.past(&old, row, head, past);
                    let here: Vec<Vec<u64>> = states
                        .iter()
                        .zip(ids)
                        .map(|(state, id)| match *id as u32 {
                            OVERFLOWING => vec![INFINITE; self.limits.head_dim],
                            _ => self.elements(*state, (layer * 4 + kind) as u64, head),
                        })
                        .collect();
                    self.store_new(&new, row, head, &here);
                    for (sum, token) in attended.iter_mut().zip(here) {
                        seen.push(token);
                        for (place, elements) in seen.iter().enumerate() {
                            for element in elements {
                                *sum = sum.wrapping_add(mix(place as u64, *element));
                            }
                        }
                    }
                }
            }
            states.iter_mut().zip(attended).for_each(|(state, sum)| *state = mix(*state, sum));
        }
        states
    }

    fn elements(&self, state: u64, salt: u64, head: usize) -> Vec<u64> {
        let dim = self.limits.head_dim as u64;
        (0..dim).map(|i| mix(state ^ salt, head as u64 * dim + i) % 256).collect()
    }

    /// 0 times everything in the cache that is not the row's past.
    fn unseen(&self, row: usize, past: usize) -> f32 {
        let Limits { layers, kv_heads, context, .. } = self.limits;
        let names = (0..layers).flat_map(|layer| [past_key(layer), past_value(layer)]);
        names
            .flat_map(|name| (0..kv_heads).map(move |head| (name.clone(), head)))
            .flat_map(|(name, head)| self.cached(&name, row, head, past..context))
            .map(|element| 0.0 * element)
            .sum()
    }

    fn past(&self, name: &str, row: usize, head: usize, n: usize) -> Vec<Vec<u64>> {
        let elements = self.cached(name, row, head, 0..n);
        let tokens = elements.chunks_exact(self.limits.head_dim);
        // An infinity becomes the largest number, as it was.
        tokens.map(|token| token.iter().map(|element| *element as u64).collect()).collect()
    }

    /// Elements of some places of the cache.
    fn cached(&self, name: &str, row: usize, head: usize, places: Range<usize>) -> Vec<f32> {
        let Limits { kv_heads, head_dim, element_bytes, context, .. } = self.limits;
        let place_bytes = head_dim * element_bytes;
        let at = ((row * kv_heads + head) * context + places.start) * place_bytes;
        let bytes = self.device.load(self.addresses[name] + at as u64, places.len() * place_bytes);
        let value = |bytes: &[u8]| match *bytes {
            [a, b] => f16::from_ne_bytes([a, b]).to_f32(),
            [a, b, c, d] => f32::from_ne_bytes([a, b, c, d]),
            _ => unreachable!("elements of 2 or 4 bytes"),
        };
        bytes.chunks_exact(element_bytes).map(value).collect()
    }

    fn store_new(&self, name: &str, row: usize, head: usize, tokens: &[Vec<u64>]) {
        let Limits { kv_heads, head_dim, element_bytes, .. } = self.limits;
        let bytes: Vec<u8> = tokens
            .iter()
            .flatten()
            .map(|element| if *element == INFINITE { f32::INFINITY } else { *element as f32 })
            .flat_map(|element| match element_bytes {
                2 => f16::from_f32(element).to_ne_bytes().to_vec(),
                _ => element.to_ne_bytes().to_vec(),
            })
            .collect();
        let at = (row * kv_heads + head) * tokens.len() * head_dim * element_bytes;
        self.device.store(self.addresses[name] + at as u64, &bytes);
    }

    fn integers(&self, name: &str, n: usize) -> Vec<i32> {
        let bytes = self.device.load(self.addresses[name], 4 * n);
        bytes.as_chunks::<4>().0.iter().map(|word| i32::from_ne_bytes(*word)).collect()
    }
}

/// SplitMix64 of two numbers, cut to 32 bits.
fn mix(a: u64, b: u64) -> u64 {
    let mut x = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_add(0x7f4a_7c15_9e37_79b9);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) & 0xffff_ffff
}
