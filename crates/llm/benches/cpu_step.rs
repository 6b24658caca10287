//! One step of the CPU engine, on a small random model.
//!
//! Absolute times of the real shape come from `hymt bench`; this watches the engine's own overhead
//! (pool, quantisation, attention), which a small model makes visible.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions, Precision};
use hymt_llm::engine::{BatchRow, Engine, LogitsWanted, Slot};
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::weights::ModelSource;

const PROMPT_TOKENS: usize = 48;

fn engine(precision: Precision) -> CpuEngine {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let options = SynthOptions { shape: SynthShape::Tiny, dtype: SynthDtype::Bf16, seed: 1 };
    write_model(dir.path(), &options, &mut |_| {}).expect("the model can be written");
    let options = CpuOptions { precision, ..CpuOptions::default() };
    // The mapping outlives the folder.
    CpuEngine::load(&ModelSource::Dir(dir.path().to_owned()), &options, &mut |_| {})
        .expect("a fresh model loads")
}

fn prompt(engine: &mut CpuEngine, slot: u16, logits: &mut Vec<f32>) {
    let tokens = [7; PROMPT_TOKENS];
    let row =
        BatchRow { slot: Slot(slot), position: 0, tokens: &tokens, logits: LogitsWanted::Last };
    engine.step(&[row], logits).expect("a sound batch runs");
}

fn decode(engine: &mut CpuEngine, batch: u16, logits: &mut Vec<f32>) {
    // The same position each time: the sequence is cut back, so that steps stay equally long.
    let rows: Vec<_> = (0..batch)
        .map(|slot| BatchRow {
            slot: Slot(slot),
            position: PROMPT_TOKENS,
            tokens: &[9],
            logits: LogitsWanted::Last,
        })
        .collect();
    engine.step(&rows, logits).expect("a sound batch runs");
}

fn cpu_step(criterion: &mut Criterion) {
    for (name, precision) in [("f32", Precision::F32), ("int8", Precision::Int8)] {
        let (mut engine, mut logits) = (engine(precision), Vec::new());
        let mut group = criterion.benchmark_group(format!("cpu_step/{name}"));
        group.throughput(Throughput::Elements(PROMPT_TOKENS as u64));
        group.bench_function("prefill_48", |bencher| {
            bencher.iter(|| prompt(&mut engine, 0, black_box(&mut logits)));
        });
        for batch in [1, 8] {
            (0..batch).for_each(|slot| prompt(&mut engine, slot, &mut logits));
            group.throughput(Throughput::Elements(u64::from(batch)));
            group.bench_function(format!("decode_batch_{batch}"), |bencher| {
                bencher.iter(|| decode(&mut engine, batch, black_box(&mut logits)));
            });
        }
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    cpu_step(&mut criterion);
    criterion.final_summary();
}
