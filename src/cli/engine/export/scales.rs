//! Where the static scales of the activations come from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use hymt_llm::quant::activation_scales::{ActivationScales, observe_activations};
use hymt_llm::quant::checkpoint::ACTIVATION_SCALES_FILE;

use super::{ExportArgs, go_on};
use crate::app::EngineOptions;
use crate::cli::progress;
use crate::cli::quantize::{calibration, check_memory};

/// The scales of a model.
pub(super) struct Scales {
    pub(super) values: ActivationScales,
    pub(super) origin: Origin,
}

/// Where they come from.
pub(super) enum Origin {
    /// `input_scale` tensors of the checkpoint.
    Checkpoint,
    /// A file with scales.
    File(PathBuf),
    /// Calibration, here and now.
    Calibration { tokens: usize },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => formatter.write_str("the input_scale tensors of the model"),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Calibration { tokens } => {
                write!(formatter, "a calibration on at most {tokens} tokens")
            }
        }
    }
}

impl Scales {
    /// What is asked for, else what the model brings, else a calibration on the sentences that
    /// come with the program.
    pub(super) fn find(
        args: &ExportArgs,
        model: &EngineOptions,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let source = model.source();
        let config = source.config()?;
        if let Some(path) = &args.scales {
            let values = ActivationScales::read(path, &config)?;
            return Ok(Self { values, origin: Origin::File(path.clone()) });
        }
        let wants_calibration = args.calibration.is_some() || args.random_calibration;
        if !wants_calibration {
            if let Some(values) = ActivationScales::stored(&source.tensors()?, &config)? {
                return Ok(Self { values, origin: Origin::Checkpoint });
            }
            if let Some(path) = args.model.as_deref().and_then(beside) {
                let values = ActivationScales::read(&path, &config)?;
                return Ok(Self { values, origin: Origin::File(path) });
            }
        }
        Self::calibrate(args, model, stop)
    }

    fn calibrate(
        args: &ExportArgs,
        model: &EngineOptions,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let (source, tokens) = (model.source(), args.calibration_tokens);
        let config = source.config()?;
        check_memory(model, tokens)?;
        let prompts = if args.random_calibration {
            calibration::random(config.vocab_size, tokens)
        } else {
            calibration::prompts(model, args.calibration.as_deref()).context(
                "calibration texts cannot be made; without tokenizer: --random-calibration",
            )?
        };
        let bar = progress::steps_bar("calibrating", 0);
        let threads = (args.threads > 0).then_some(args.threads);
        let tensors = source.tensors()?;
        let values =
            observe_activations(&tensors, &config, &prompts, tokens, threads, &mut |step| {
                bar.set_length(step.total as u64);
                bar.set_position(step.done as u64);
                go_on(stop)
            });
        bar.finish_and_clear();
        Ok(Self { values: values?, origin: Origin::Calibration { tokens } })
    }
}

/// The file that `hymt quantize` leaves in its folder.
fn beside(model: &Path) -> Option<PathBuf> {
    let path = model.join(ACTIVATION_SCALES_FILE);
    path.is_file().then_some(path)
}
