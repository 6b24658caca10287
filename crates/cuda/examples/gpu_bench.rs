//! Times decoding and prompts of the 1.8B shape with random weights, and compares with the CPU.
//!
//! `gpu_bench FOLDER [compare TOKENS]`: the model is written to FOLDER when it is not there.

#![allow(clippy::print_stdout, reason = "an example reports to its user")]

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use hymt_cuda::{CudaEngine, CudaOptions};
use hymt_llm::engine::cpu::{CpuEngine, CpuOptions, logits_of_all_positions};
use hymt_llm::engine::{BatchRow, Engine, LogitsWanted, Slot};
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::weights::ModelSource;

const PROMPT: usize = 48;
const NEW: usize = 24;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = PathBuf::from(arguments.first().ok_or("give a folder")?);
    if !folder.join("model.safetensors").exists() {
        let started = Instant::now();
        let options =
            SynthOptions { shape: SynthShape::B1_8, dtype: SynthDtype::Int8, seed: 20_261_124 };
        write_model(&folder, &options, &mut |_| {})?;
        println!("model written in {:.1} s", started.elapsed().as_secs_f64());
    }
    let source = ModelSource::Dir(folder);
    let started = Instant::now();
    let mut engine = CudaEngine::load(&source, &CudaOptions::default(), &mut |_| {})?;
    println!("{} loaded in {:.2} s", engine.device().name, started.elapsed().as_secs_f64());
    println!("{:?}", engine.memory()?);
    if arguments.get(1).is_some_and(|word| word == "compare") {
        let n = arguments.get(2).map_or(Ok(200), |n| n.parse())?;
        return compare(&source, &mut engine, n);
    }
    let (copy, read) = engine.memory_speed()?;
    println!("copy {copy:.0} GB/s (read + written), read {read:.0} GB/s");
    let weights = engine.memory()?.weights as f64;
    for batch in [1, 2, 4, 8] {
        let (mut prefill, mut decode, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..21 {
            let (p, d, w) = sentence(&mut engine, batch)?;
            prefill.push(p);
            decode.push(d);
            whole.push(w);
        }
        let (prefill, decode, whole) = (median(prefill), median(decode), median(whole));
        println!(
            "batch {batch}: prompt of {PROMPT} {prefill:.3} ms, step {decode:.4} ms ({:.0} GB/s, \
             {:.1} % of the copy), 48 in 24 out {whole:.2} ms",
            weights / decode / 1e6,
            weights / decode / 1e4 / copy,
        );
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Milliseconds of the prompt, of one step (median), and of everything.
fn sentence(engine: &mut CudaEngine, batch: usize) -> Result<(f64, f64, f64), Box<dyn Error>> {
    let vocab = engine.spec().vocab_size;
    let prompts: Vec<Vec<u32>> = (0..batch)
        .map(|b| (0..PROMPT).map(|i| ((b * 131 + i) * 7919 % vocab) as u32).collect())
        .collect();
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1e3;
    let started = Instant::now();
    let mut logits = Vec::new();
    let rows: Vec<_> = (0..)
        .zip(&prompts)
        .map(|(slot, tokens)| BatchRow {
            slot: Slot(slot),
            position: 0,
            tokens,
            logits: LogitsWanted::Last,
        })
        .collect();
    engine.step(&rows, &mut logits)?;
    let best =
        |row: &[f32]| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0) as u32;
    let mut next: Vec<[u32; 1]> = logits.chunks_exact(vocab).map(|row| [best(row)]).collect();
    let prompt_ms = ms(started);
    let (mut steps, mut lists) = (Vec::new(), Vec::new());
    for step in 0..NEW - 1 {
        let rows: Vec<_> = (0..)
            .zip(&next)
            .map(|(slot, tokens)| BatchRow {
                slot: Slot(slot),
                position: PROMPT + step,
                tokens,
                logits: LogitsWanted::Last,
            })
            .collect();
        let began = Instant::now();
        if !engine.step_shortlist(&rows, &mut lists)? {
            return Err("no decode kernel for this batch".into());
        }
        steps.push(ms(began));
        for (next, list) in next.iter_mut().zip(&lists) {
            let best = list.entries.iter().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            *next = [best.map_or(0, |best| best.0)];
        }
    }
    (0..batch as u16).for_each(|slot| engine.release(Slot(slot)));
    Ok((prompt_ms, median(steps), ms(started)))
}

/// Teacher-forced agreement with the CPU engine.
fn compare(source: &ModelSource, engine: &mut CudaEngine, n: usize) -> Result<(), Box<dyn Error>> {
    let mut cpu = CpuEngine::load(source, &CpuOptions::default(), &mut |_| {})?;
    let vocab = engine.spec().vocab_size;
    let (mut same, mut difference, mut size, mut worst) = (0, 0.0_f64, 0.0_f64, 0.0_f32);
    for first in (0..n).step_by(50) {
        let tokens: Vec<u32> = (0..50).map(|i| ((first + i) * 7919 % vocab) as u32).collect();
        let expected = logits_of_all_positions(&mut cpu, &tokens)?;
        let got = logits_of_all_positions(engine, &tokens)?;
        let best = |row: &[f32]| (0..vocab).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        for (a, b) in got.chunks_exact(vocab).zip(expected.chunks_exact(vocab)) {
            if best(a) == best(b) {
                same += 1;
            } else if let (Some(x), Some(y)) = (best(a), best(b)) {
                worst = worst.max(b[y] - b[x]);
            }
            for (a, b) in a.iter().zip(b) {
                difference += f64::from(a - b).powi(2);
                size += f64::from(*b).powi(2);
            }
        }
    }
    let rms = (size / (n * vocab) as f64).sqrt();
    println!(
        "same best token {same} of {n}; relative error {:.2e}; where they differ, the CPU's gap \
         was at most {worst:.4} (logits have rms {rms:.3})",
        (difference / size).sqrt()
    );
    Ok(())
}
