//! The process that builds: reads a request, drives TensorRT's builder, says how it goes.

use std::io::{BufRead as _, Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{BuildRequest, Failure, LINE_BYTES_MAX, Message};
use crate::error::TensorRtError;
use crate::graph::{LOGITS_AT, PAST_LENGTHS, POSITIONS, TOKEN_IDS};
use crate::plan::cache::write_atomic;
use crate::plan::sidecar::{LAYERS_NAMED_MAX, SIDECAR_TEXT_BYTES_MAX};
use crate::plan::{LayerReport, PlanShapes};
use crate::safe::{
    Capability, Config, Device, Flag, Layer, Libraries, Library, Log, Mode, Network, Severity,
    Shape, ShapeRange, TensorInfo, Typing,
};

/// Prompt length that prefill is made fast for: an utterance with its instruction. Tokens.
const PROMPT_TOKENS: i64 = 48;
/// Largest file of timings that is read. Bytes.
const TIMING_CACHE_BYTES_MAX: u64 = 256 << 20;

/// Hears messages, from any thread.
pub type Say = Arc<dyn Fn(&Message) + Send + Sync>;

/// The whole life of the worker: request from standard input, messages to standard output. Returns
/// whether there is a plan; by then its supervisor knows.
///
/// # Errors
/// When the request cannot be read.
pub fn serve() -> std::io::Result<bool> {
    prefer_to_be_killed();
    let mut line = String::new();
    std::io::stdin().lock().take(LINE_BYTES_MAX as u64).read_line(&mut line)?;
    let request: BuildRequest = serde_json::from_str(&line).map_err(std::io::Error::other)?;
    let cancelled = Arc::new(AtomicBool::new(false));
    watch_input(Arc::clone(&cancelled));
    let output = Mutex::new(std::io::stdout());
    let say: Say = Arc::new(move |message| {
        let mut line = serde_json::to_vec(message).expect("plain data becomes JSON");
        line.push(b'\n');
        // Who does not listen any more has closed the input too, which cancels.
        if let Ok(mut output) = output.lock() {
            let _ = output.write_all(&line).and_then(|()| output.flush());
        }
    });
    let built = build(&request, &Libraries::from_env(), &cancelled, &say);
    let is_built = built.is_ok();
    if let Err(failure) = built {
        say(&Message::Failed(failure));
    }
    Ok(is_built)
}

/// Builds the plan of a request, writes it, and says so before anything of TensorRT goes: its
/// destructors may end the process.
///
/// # Errors
/// [`Failure`].
pub fn build(
    request: &BuildRequest,
    libraries: &Libraries,
    cancelled: &Arc<AtomicBool>,
    say: &Say,
) -> Result<(), Failure> {
    let library = Library::open(libraries, log_to(say)).map_err(other)?;
    let builder = library.builder().map_err(other)?;
    let typing = if Capability::StronglyTyped.is_there() { Typing::Strong } else { Typing::Weak };
    let mut network = builder.network(typing).map_err(other)?;
    network.parse_file(&request.onnx).map_err(parse_failure)?;
    let mut config = builder.config().map_err(other)?;
    configure(&mut config, request, typing).map_err(other)?;
    let layers = layers(&mut network, &config, request).map_err(other)?;
    say(&Message::Layers(layers.clone()));
    let is_refused = request.target.dla_core().is_some()
        && !request.gpu_fallback
        && layers.on_dla < layers.total;
    if is_refused {
        return Err(Failure::Dla(layers));
    }
    add_profiles(&mut config, &network, &request.shapes)?;
    watch_progress(&mut config, cancelled, say).map_err(other)?;
    read_timings(&mut config, &request.timing_cache).map_err(other)?;
    let plan = builder.build(&mut network, &mut config);
    // Also after a build that failed or was cancelled: the next one begins where this one ended.
    save_timings(&config, &request.timing_cache, say);
    let plan = plan.map_err(|error| match error {
        TensorRtError::Cancelled => Failure::Cancelled,
        error => other(error),
    })?;
    if cancelled.load(Ordering::Relaxed) {
        return Err(Failure::Cancelled);
    }
    std::fs::write(&request.plan, &*plan).map_err(|error| {
        Failure::Other(format!("cannot write '{}': {error}", request.plan.display()))
    })?;
    say(&Message::Done { plan_bytes: plan.len() as u64 });
    Ok(())
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn other(error: TensorRtError) -> Failure {
    Failure::Other(error.to_string())
}

/// With the first complaints of the parser, which name nodes.
fn parse_failure(error: TensorRtError) -> Failure {
    let said = error.to_string();
    match error {
        TensorRtError::Parse { errors, .. } => {
            let first: Vec<String> = errors.iter().take(3).map(ToString::to_string).collect();
            Failure::Other(format!("{said} [{}]", first.join("; ")))
        }
        _ => Failure::Other(said),
    }
}

fn configure(
    config: &mut Config<'_>,
    request: &BuildRequest,
    typing: Typing,
) -> Result<(), TensorRtError> {
    config.set_workspace_bytes(request.workspace_bytes)?;
    if let Some(level) = request.level {
        config.set_level(level)?;
    }
    if typing == Typing::Weak {
        config.set_flag(Flag::Fp16)?;
        config.set_flag(Flag::Int8)?;
    }
    if let Some(core) = request.target.dla_core() {
        config.set_device(Device::Dla(core))?;
        if request.gpu_fallback {
            config.set_flag(Flag::GpuFallback)?;
        }
    }
    config.set_flag(Flag::DetailedLayers)
}

/// Asks for every layer where it can run: with GPU fallback TensorRT moves layers without a word.
fn layers(
    network: &mut Network<'_>,
    config: &Config<'_>,
    request: &BuildRequest,
) -> Result<LayerReport, TensorRtError> {
    let layers = network.layers()?;
    let mut report = LayerReport { total: layers.len(), ..LayerReport::default() };
    if request.target.dla_core().is_none() {
        return Ok(report);
    }
    for (index, Layer { name, kind }) in layers.iter().enumerate() {
        if config.layer_on_dla(network, index)? {
            report.on_dla += 1;
        } else if report.off_dla.len() < LAYERS_NAMED_MAX {
            let named = format!("{name} ({kind})");
            let safe = named.chars().filter(|c| !c.is_control()).take(SIDECAR_TEXT_BYTES_MAX / 4);
            report.off_dla.push(safe.collect());
        }
    }
    Ok(report)
}

fn add_profiles(
    config: &mut Config<'_>,
    network: &Network<'_>,
    shapes: &PlanShapes,
) -> Result<(), Failure> {
    let tensors = network.tensors().map_err(other)?;
    let inputs: Vec<_> = tensors.iter().filter(|tensor| tensor.mode == Mode::Input).collect();
    // Prefill, then decode, as `engine::limits` expects.
    let prefill = [shapes.prefill_rows, shapes.prefill_tokens, shapes.prefill_logits];
    let decode = [shapes.slots, shapes.decode_tokens, shapes.decode_tokens];
    for (sizes, tokens) in [(prefill, PROMPT_TOKENS), (decode, 1)] {
        let ranges = inputs
            .iter()
            .map(|tensor| Ok((tensor.name.as_str(), range(tensor, sizes, tokens, shapes)?)))
            .collect::<Result<Vec<_>, Failure>>()?;
        config.add_profile(&ranges).map_err(other)?;
    }
    Ok(())
}

/// Range of an input in a profile of at most `[batch, tokens, logits]`, fast at `tokens`.
fn range(
    tensor: &TensorInfo,
    sizes: [usize; 3],
    fast_tokens: i64,
    shapes: &PlanShapes,
) -> Result<ShapeRange, Failure> {
    let [batch, tokens, logits] = sizes.map(|size| size as i64);
    let wrong = |should: &str| {
        let (name, is) = (&tensor.name, &tensor.shape);
        Failure::Other(format!("the graph's '{name}' is {is}; expected {should}"))
    };
    let (min, opt, max) = match tensor.name.as_str() {
        TOKEN_IDS | POSITIONS => {
            (vec![1, 1], vec![1, fast_tokens.min(tokens)], vec![batch, tokens])
        }
        LOGITS_AT => (vec![1, 1], vec![1, 1], vec![batch, logits]),
        PAST_LENGTHS => (vec![1], vec![1], vec![batch]),
        _ => match tensor.shape.0[..] {
            [_, heads, context, width] if context == shapes.context_tokens as i64 => {
                let of = |batch| vec![batch, heads, context, width];
                (of(1), of(1), of(batch))
            }
            _ => return Err(wrong(&format!("a cache of {} tokens", shapes.context_tokens))),
        },
    };
    if tensor.shape.0.len() != max.len() {
        return Err(wrong(&format!("{} dimensions", max.len())));
    }
    Ok(ShapeRange { min: Shape(min), opt: Shape(opt), max: Shape(max) })
}

fn watch_progress(
    config: &mut Config<'_>,
    cancelled: &Arc<AtomicBool>,
    say: &Say,
) -> Result<(), TensorRtError> {
    if !Capability::Monitor.is_there() {
        // TensorRT 8 builds in silence; the supervisor ends it when it is cancelled.
        return Ok(());
    }
    let (cancelled, say) = (Arc::clone(cancelled), Arc::clone(say));
    config.set_progress(move |progress| {
        say(&Message::Progress {
            phase: progress.phase.clone(),
            parent: progress.parent.clone(),
            step: progress.step,
            steps: progress.steps,
            is_finished: progress.is_finished,
        });
        if cancelled.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })
}

/// Takes up what earlier builds measured; a file of another version or GPU, or a damaged one, is as
/// good as none.
fn read_timings(config: &mut Config<'_>, path: &Path) -> Result<(), TensorRtError> {
    let bounded = std::fs::metadata(path).is_ok_and(|file| file.len() <= TIMING_CACHE_BYTES_MAX);
    let bytes = if bounded { std::fs::read(path).unwrap_or_default() } else { Vec::new() };
    match config.set_timing_cache(&bytes) {
        Err(TensorRtError::Refused { detail }) if !bytes.is_empty() => {
            tracing::debug!(detail, "the timing cache is begun anew");
            config.set_timing_cache(&[])
        }
        other => other,
    }
}

fn save_timings(config: &Config<'_>, path: &Path, say: &Say) {
    let saved = config
        .timing_cache()
        .map_err(|error| error.to_string())
        .and_then(|bytes| write_atomic(path, &bytes).map_err(|error| error.to_string()));
    if let Err(error) = saved {
        say(&Message::Log(format!("the timing cache is not kept: {error}")));
    }
}

fn log_to(say: &Say) -> Log {
    let say = Arc::clone(say);
    Box::new(move |severity, text| {
        if severity <= Severity::Warning {
            let text = text.chars().filter(|c| !c.is_control()).take(1000).collect();
            say(&Message::Log(text));
        }
    })
}

/// Cancels when the supervisor closes the input, or is gone.
fn watch_input(cancelled: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        let mut rest = [0; 64];
        while matches!(std::io::stdin().lock().read(&mut rest), Ok(n) if n > 0) {}
        cancelled.store(true, Ordering::Relaxed);
    });
}

/// When memory runs out, the kernel is to end this process and no other.
fn prefer_to_be_killed() {
    // Not on every system, and no reason not to build.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
}
