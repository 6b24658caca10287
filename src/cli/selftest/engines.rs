//! What is done with each engine.
//!
//! The demo model stands for all models: it is in the program, its translations are known, and it is
//! small enough to be loaded once a check. A model of a real size is only measured.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hymt_core::generate::{GenerateOptions, Generator};
use hymt_core::request::RawRequest;
use hymt_core::translator::{BATCH_TARGETS_MAX, Translator};
use hymt_llm::engine::Engine;
use hymt_llm::testkit::{agreement, conformance};

use super::report::{BenchReport, DeviceReport, EngineReport, Outcome};
use crate::app::network::Asking;
use crate::app::{self, EngineOptions, ModelChoice, gpu};
use crate::cli::bench::{Work, median, round};
use crate::config::EngineChoice;
use crate::eval::rows;

/// Slots and context of the engines that are held against the rules; what the suite needs, and one
/// slot more so that the last one is not the only one that is different.
const SLOTS: usize = conformance::SLOTS_MIN + 1;
const CONTEXT_TOKENS: usize = 96;
/// Every so many of the held-out requests of the demo model is translated; all kinds are among them.
const GOLDEN_EVERY: usize = 7;
/// Share of them that must be the known translation, letter for letter. All 460 are on x86-64 with
/// AVX-512 and on an H100; other roundings may cost one.
const GOLDEN_EXACT_MIN: f64 = 0.95;
/// What is measured, as `hymt bench` does without arguments, and side by side.
const BATCHES: [usize; 2] = [1, 4];
const PROMPT_TOKENS: usize = 48;
const NEW_TOKENS: usize = 24;
/// The median of so many counts.
const RUNS: usize = 3;

/// An engine to be tested.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject {
    pub(super) choice: EngineChoice,
    /// Whether it was asked for by name.
    pub(super) is_named: bool,
}

/// The engine that was named, or all.
pub(super) fn subjects(choice: EngineChoice) -> Vec<Subject> {
    match choice {
        EngineChoice::Auto => [EngineChoice::Cpu, EngineChoice::Cuda, EngineChoice::TensorRt]
            .map(|choice| Subject { choice, is_named: false })
            .to_vec(),
        choice => vec![Subject { choice, is_named: true }],
    }
}

/// Something to be done, whose words are the report's.
pub(super) struct Check {
    pub(super) name: &'static str,
    act: Act,
}

/// Says what came of it; an error is a failure.
type Act = Box<dyn FnOnce(&mut EngineReport) -> anyhow::Result<String>>;

impl Check {
    fn new(
        name: &'static str,
        act: impl FnOnce(&mut EngineReport) -> anyhow::Result<String> + 'static,
    ) -> Self {
        Self { name, act: Box::new(act) }
    }

    /// Runs it and adds the result. A panic is a failure of this check alone.
    pub(super) fn run(self, report: &mut EngineReport) {
        let Self { name, act } = self;
        // Nothing that cannot run makes the others fail too.
        if report.checks.iter().any(|check| check.name == LOADS && check.outcome == Outcome::Fail) {
            return report.add(name, Outcome::Skip, "the engine does not load", 0.0);
        }
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| act(report)));
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let (outcome, detail) = match result {
            Ok(Ok(detail)) => (Outcome::Pass, detail),
            Ok(Err(error)) => (Outcome::Fail, format!("{error:#}")),
            Err(panic) => (Outcome::Fail, format!("panicked: {}", words(panic.as_ref()))),
        };
        report.add(name, outcome, &detail, ms);
    }
}

/// The check that all others build on.
const LOADS: &str = "loads";

impl Subject {
    /// Whether this build and this machine have the engine.
    pub(super) fn is_here(&self) -> Result<(), String> {
        self.choice.available()?;
        match self.choice {
            EngineChoice::Cuda => gpu::device().map(drop),
            // Without a plan of the demo model there is nothing to run, and nobody asked for one.
            EngineChoice::TensorRt if !self.is_named => {
                load(&self.options(0)).map(drop).map_err(|error| format!("{error:#}"))
            }
            _ => Ok(()),
        }
    }

    fn options(&self, threads: usize) -> EngineOptions {
        EngineOptions {
            engine: self.choice,
            threads,
            slots: SLOTS,
            context_tokens: CONTEXT_TOKENS,
            ..EngineOptions::default()
        }
    }

    pub(super) fn report(&self) -> EngineReport {
        let device = match self.choice {
            EngineChoice::Cpu => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                format!("{cores} cores of {}", std::env::consts::ARCH)
            }
            _ => gpu::device().unwrap_or_else(|_| "no GPU".to_owned()),
        };
        EngineReport {
            engine: self.choice.to_string(),
            device,
            checks: Vec::new(),
            bench: Vec::new(),
            memory: None,
        }
    }

    /// Everything there is to do, in order.
    pub(super) fn checks(&self, threads: usize, model: Option<&Path>) -> Vec<Check> {
        let options = self.options(threads);
        let mut checks = vec![loads(options.clone())];
        checks.extend(conformance::CHECKS.map(|rule| keeps(rule, options.clone())));
        if self.choice != EngineChoice::Cpu {
            checks.push(agrees(options.clone()));
        }
        checks.push(translates(options.clone()));
        checks.extend(measured("measures the demo model", &options, None));
        if let Some(model) = model {
            checks.extend(measured("measures the model named", &options, Some(model)));
        }
        checks.push(device_memory(&options, model));
        checks
    }
}

fn load(options: &EngineOptions) -> anyhow::Result<Box<dyn Engine>> {
    Ok(app::load_engine(options, &mut |_| ())?.0)
}

fn loads(options: EngineOptions) -> Check {
    Check::new(LOADS, move |_| {
        let engine = load(&options)?;
        conformance::require_size(engine.spec())?;
        Ok(engine.spec().name.clone())
    })
}

/// One rule of the conformance suite, on an engine of its own.
fn keeps(rule: conformance::Check, options: EngineOptions) -> Check {
    Check::new(rule.rule, move |_| {
        rule.run(load(&options)?.as_mut())?;
        Ok(String::new())
    })
}

/// Against the CPU engine, which is the oracle of all.
fn agrees(options: EngineOptions) -> Check {
    Check::new("agrees with the CPU engine", move |_| {
        let oracle = EngineOptions { engine: EngineChoice::Cpu, ..options.clone() };
        let asking = Asking::load(&oracle)?;
        let texts: Vec<_> = golden()?.into_iter().map(|row| row.reference).collect();
        let mut tokens = asking.tokenizer.encode(&texts.join(" "))?;
        tokens.truncate(CONTEXT_TOKENS);
        let found = agreement::compare(load(&options)?.as_mut(), load(&oracle)?.as_mut(), &tokens)?;
        let detail = format!(
            "relative error {:.4}, same best token at {} of {} positions",
            found.relative_error, found.same_best, found.positions
        );
        if options.engine == EngineChoice::Cuda {
            anyhow::ensure!(found.is_exact(), "{detail}; both follow one arithmetic to the bit");
        }
        anyhow::ensure!(
            found.is_close(),
            "{detail}; at most {} is a matter of rounding",
            agreement::RELATIVE_ERROR_MAX
        );
        Ok(detail)
    })
}

/// Requests whose translation by the demo model is known.
fn golden() -> anyhow::Result<Vec<rows::Row>> {
    Ok(rows::parse(rows::DEMO_SET)?.into_iter().step_by(GOLDEN_EVERY).collect())
}

/// Through the whole translator, as the node asks.
fn translates(options: EngineOptions) -> Check {
    Check::new("translates what is known", move |_| {
        let defaults = EngineOptions::default();
        let options = EngineOptions {
            slots: BATCH_TARGETS_MAX,
            context_tokens: defaults.context_tokens,
            ..options
        };
        let model = app::load(&options, &mut |_| ())?;
        let config = model.translator();
        let translator =
            Translator::new(Arc::clone(&model.generator) as Arc<dyn Generator>, config);
        let rows = golden()?;
        let mut requests = Vec::new();
        for row in &rows {
            let targets = [row.target.code().to_owned()];
            let terms: Vec<_> = row.terms.iter().map(|(a, b)| format!("{a}={b}")).collect();
            requests.push(translator.request(&RawRequest {
                text: &row.text,
                source: row.source.code(),
                targets: &targets,
                inline_terms: &terms,
                context: &row.context,
                ..RawRequest::default()
            })?);
        }
        let mut results = Vec::new();
        for requests in requests.chunks(BATCH_TARGETS_MAX) {
            results.extend(translator.translate_all(
                requests,
                &GenerateOptions::default(),
                &mut |_, _, _| (),
            ));
        }
        let got: Vec<_> = results.into_iter().flatten().map(|result| result.text).collect();
        let unlike = rows.iter().zip(&got).find(|(row, got)| row.reference != **got);
        let exact = rows.iter().zip(&got).filter(|(row, got)| row.reference == **got).count();
        let mut detail = format!("{exact} of {} are the known translation", rows.len());
        if let Some((row, got)) = unlike {
            detail += &format!("; '{}' became '{got}', expected '{}'", row.text, row.reference);
        }
        let is_enough = exact as f64 >= GOLDEN_EXACT_MIN * rows.len() as f64;
        anyhow::ensure!(is_enough, "{detail}");
        Ok(detail)
    })
}

/// A short benchmark of each batch size, on the demo model or the one that was named.
fn measured(name: &'static str, options: &EngineOptions, model: Option<&Path>) -> Vec<Check> {
    let model = model.map_or(ModelChoice::Demo, |path| ModelChoice::Folder(path.to_owned()));
    let check = |batch| {
        let options = EngineOptions {
            model: model.clone(),
            slots: batch,
            context_tokens: PROMPT_TOKENS + NEW_TOKENS,
            ..options.clone()
        };
        Check::new(name, move |report: &mut EngineReport| {
            report.bench.push(measure(&options, batch)?);
            Ok(format!("{batch} at once"))
        })
    };
    BATCHES.map(check).into()
}

fn measure(options: &EngineOptions, batch: usize) -> anyhow::Result<BenchReport> {
    let started = Instant::now();
    let (mut engine, config) = app::load_engine(options, &mut |_| ())?;
    let load_ms = started.elapsed().as_secs_f64() * 1e3;
    let work = Work { batch, prompt_tokens: PROMPT_TOKENS, new_tokens: NEW_TOKENS, guesses: 0 };
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    for number in 0..=RUNS {
        let timing = work.run(engine.as_mut())?;
        // The first one faults pages in and is not counted.
        if number > 0 {
            prefill.push(timing.prefill_ms);
            decode.push(timing.decode_ms / (NEW_TOKENS - 1) as f64);
        }
    }
    let decode_ms_per_token = median(decode);
    Ok(BenchReport {
        model: format!(
            "{} layers, hidden {}, vocabulary {}",
            config.n_layers, config.hidden_size, config.vocab_size
        ),
        batch,
        prompt_tokens: PROMPT_TOKENS,
        new_tokens: NEW_TOKENS,
        load_ms: round(load_ms),
        prefill_ms: round(median(prefill)),
        decode_ms_per_token: round(decode_ms_per_token),
        tokens_per_s: round(batch as f64 * 1e3 / decode_ms_per_token),
    })
}

/// What the engine takes, and how fast the memory is that it reads.
fn device_memory(options: &EngineOptions, model: Option<&Path>) -> Check {
    let model = model.map_or(ModelChoice::Demo, |path| ModelChoice::Folder(path.to_owned()));
    let options = EngineOptions { model, ..options.clone() };
    Check::new("reads its memory", move |report: &mut EngineReport| {
        let engine = load(&options)?;
        let (found, speed) = (engine.report()?, engine.memory_speed()?);
        let mib = |bytes: u64| bytes >> 20;
        report.memory = Some(DeviceReport {
            weights_mib: found.memory.map(|memory| memory.weights).or(found.step_bytes).map(mib),
            buffers_mib: found.memory.map(|memory| mib(memory.buffers)),
            cache_mib: found.memory.map(|memory| mib(memory.cache)),
            free_mib: found.memory.map(|memory| mib(memory.free)),
            total_mib: found.memory.map(|memory| mib(memory.total)),
            kernels_ms: found.kernels.map(|kernels| round(kernels.ms)),
            kernels_compiled: found.kernels.map(|kernels| kernels.compiled),
            copy_gb_per_s: speed.copy.map(round),
            read_gb_per_s: speed.read.map(round),
        });
        Ok(String::new())
    })
}

/// What a panic said.
fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(checks: Vec<Check>) -> EngineReport {
        let subject = Subject { choice: EngineChoice::Cpu, is_named: true };
        let mut report = subject.report();
        checks.into_iter().for_each(|check| check.run(&mut report));
        report
    }

    #[test]
    fn a_panic_or_an_error_fails_its_own_check_only() {
        let report = run(vec![
            Check::new(LOADS, |_| Ok("fine".to_owned())),
            Check::new("panics", |_| panic!("at {}", 7)),
            Check::new("errs", |_| anyhow::bail!("wrong")),
            Check::new("goes on", |_| Ok(String::new())),
        ]);
        let found: Vec<_> =
            report.checks.iter().map(|c| (c.name, c.outcome, c.detail.as_str())).collect();
        let expected = [
            (LOADS, Outcome::Pass, "fine"),
            ("panics", Outcome::Fail, "panicked: at 7"),
            ("errs", Outcome::Fail, "wrong"),
            ("goes on", Outcome::Pass, ""),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_does_not_load_is_not_tested_further() {
        let report =
            run(vec![Check::new(LOADS, |_| anyhow::bail!("no")), Check::new("next", |_| panic!())]);
        assert_eq!(report.checks[1].outcome, Outcome::Skip);
    }

    #[test]
    fn the_known_sentences_are_of_every_kind() {
        let rows = golden().unwrap();
        assert!(rows.len() >= 40, "{}", rows.len());
        assert!(rows.iter().any(|row| !row.terms.is_empty()));
        assert!(rows.iter().any(|row| !row.context.is_empty()));
        assert!(rows.iter().any(|row| row.text.contains('<')));
        let targets: std::collections::BTreeSet<_> =
            rows.iter().map(|row| row.target.code()).collect();
        assert_eq!(targets.len(), 5, "{targets:?}");
    }
}
