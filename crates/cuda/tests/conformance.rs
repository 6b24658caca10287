//! The suite every engine passes, and the CPU engine as oracle. Needs a GPU; says so without.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what it skipped")]

#[path = "support/gpu.rs"]
mod gpu;

use std::path::PathBuf;

use hymt_cuda::{CudaEngine, CudaError, CudaOptions, device};
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions, logits_of_all_positions};
use hymt_llm::engine::{BatchRow, Engine, LogitsWanted, Slot};
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::testkit::conformance::run_conformance;
use hymt_llm::weights::ModelSource;

use crate::gpu::has_gpu;

fn options() -> CudaOptions {
    CudaOptions {
        slots: 5,
        context_tokens_max: 600,
        step_tokens_max: 300,
        ..CudaOptions::default()
    }
}

/// Two golden models (of which one is stored in INT8), one made now, and one of each layout that is
/// widened on the host.
fn models() -> Vec<(ModelSource, Option<tempfile::TempDir>)> {
    let golden = std::env::var_os("HYMT_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../llm/tests/golden"),
        PathBuf::from,
    );
    let folder = tempfile::tempdir().unwrap();
    let synth = SynthOptions { shape: SynthShape::Tiny, dtype: SynthDtype::Bf16, seed: 77 };
    write_model(folder.path(), &synth, &mut |_| {}).unwrap();
    let widened = ["fp8", "gptq-v1", "packed-int4", "int8-group", "int8-smooth", "mixed.gguf"];
    let golden_models = ["f32", "int8"].map(|name| golden.join(name));
    let widened = widened.map(|name| golden.join("formats").join(name));
    let made = (ModelSource::Dir(folder.path().to_owned()), Some(folder));
    let stored = golden_models.into_iter().chain(widened).map(|dir| (ModelSource::Dir(dir), None));
    stored.chain([made]).collect()
}

fn cuda(source: &ModelSource) -> CudaEngine {
    CudaEngine::load(source, &options(), &mut |_| {}).unwrap()
}

#[test]
fn the_cuda_engine_conforms() {
    if !has_gpu() {
        return;
    }
    for (source, _folder) in models() {
        run_conformance(&mut || Box::new(cuda(&source)));
    }
}

#[test]
fn logits_are_the_cpu_engines_to_the_bit() {
    if !has_gpu() {
        return;
    }
    for (source, _folder) in models() {
        let cpu = CpuOptions { context_tokens_max: 600, ..CpuOptions::default() };
        let mut cpu = CpuEngine::load(&source, &cpu, &mut |_| {}).unwrap();
        let mut gpu = cuda(&source);
        let vocab = gpu.spec().vocab_size;
        // Past one page of the cache, so that splits are added up.
        let tokens: Vec<u32> = (0..520).map(|i: u32| (i * i * 31 + i * 7) % vocab as u32).collect();
        let expected = logits_of_all_positions(&mut cpu, &tokens).unwrap();
        let got = logits_of_all_positions(&mut gpu, &tokens).unwrap();
        assert_eq!(got.len(), expected.len());
        assert!(got.iter().all(|logit| logit.is_finite()), "{source:?}");
        let differ = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
        let first = got.iter().zip(&expected).position(differ);
        let at = first.map(|at| (at / vocab, at % vocab, got[at], expected[at]));
        assert_eq!(at, None, "position, token, logit and the CPU's, of {source:?}");
    }
}

#[test]
fn shortlists_are_the_head_of_the_logits() {
    if !has_gpu() {
        return;
    }
    for (source, _folder) in models() {
        let mut gpu = cuda(&source);
        let mut logits = Vec::new();
        for slot in 0..5 {
            let tokens = [1 + u32::from(slot), 5, 9];
            let row = BatchRow {
                slot: Slot(slot),
                position: 0,
                tokens: &tokens,
                logits: LogitsWanted::None,
            };
            gpu.step(&[row], &mut logits).unwrap();
        }
        for n in 1..=5_u16 {
            let tokens = [11];
            let batch: Vec<_> = (0..n)
                .map(|slot| BatchRow {
                    slot: Slot(slot),
                    position: 3,
                    tokens: &tokens,
                    logits: LogitsWanted::Last,
                })
                .collect();
            gpu.step(&batch, &mut logits).unwrap();
            let mut lists = Vec::new();
            let kept = if n % 2 == 0 { 1 } else { 20 };
            assert!(gpu.step_shortlist(&batch, kept, &mut lists).unwrap());
            let vocab = gpu.spec().vocab_size;
            assert_eq!(lists.len(), usize::from(n));
            for (index, list) in lists.iter().enumerate() {
                let row = &logits[index * vocab..][..vocab];
                for (id, logit) in &list.entries {
                    assert_eq!(row[*id as usize], *logit, "row {index}, token {id}");
                }
                for (id, logit) in (0..).zip(row) {
                    let listed = list.entries.iter().any(|entry| entry.0 == id);
                    assert!(listed || *logit <= list.bound, "token {id} is lost");
                }
                let mut again = Vec::new();
                gpu.logits_of(index, &mut again).unwrap();
                assert_eq!(again, row, "logits on demand");
            }
        }
    }
}

#[test]
fn a_machine_without_gpu_gets_a_reason() {
    match device::probe(usize::MAX >> 40) {
        Ok(info) => panic!("no machine has so many devices: {info:?}"),
        Err(error) => {
            assert!(
                matches!(
                    error,
                    CudaError::NoDriver
                        | CudaError::DriverFailed { .. }
                        | CudaError::NoDevice { .. }
                ),
                "{error:?}"
            );
        }
    }
}
