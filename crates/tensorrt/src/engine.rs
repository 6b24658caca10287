//! The engine: batches in, logits out, a TensorRT plan in between.
//!
//! The plan reads the cache and returns the new keys and values only; the engine keeps the cache,
//! copies what is new to its place after each pass, and decides which passes a batch takes. Two
//! contexts, one for each profile, so that a decode step keeps its shapes, and with them its CUDA
//! graph, while prompts come and go.

pub mod limits;
pub mod load;
pub mod network;
mod passes;
mod run;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use hymt_llm::engine::{
    BatchRow, Engine, EngineError, EngineReport, EngineSpec, MemoryReport, Shortlist, Slot,
};

use self::limits::{ContractError, DECODE, Limits, PREFILL};
use self::network::Plan;
use self::passes::{Pass, passes};
use self::run::{Buffers, Lane, RunError};
use crate::device::{Device, DeviceError};
use crate::error::TensorRtError;

/// Whether decode steps become CUDA graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Graphs {
    /// Where shapes repeat.
    #[default]
    On,
    /// Never; for plans with layers on DLA, which cannot be captured.
    Off,
}

/// An engine could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// TensorRT said no.
    #[error(transparent)]
    TensorRt(#[from] TensorRtError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The plan is none of ours.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The plan is that of another model.
    #[error(
        "the plan has {what} {plan}, the model {model}; build one for it with `hymt engine build`"
    )]
    OtherModel {
        /// What differs.
        what: &'static str,
        /// Of the plan.
        plan: usize,
        /// Of the model.
        model: usize,
    },
    /// The plan cannot be read.
    #[error("cannot read the plan '{}'", path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// HunYuanDenseV1 as a TensorRT plan. Fields are dropped in this order.
pub struct TensorRtEngine<P: Plan, D: Device> {
    spec: EngineSpec,
    limits: Limits,
    /// Graphs before contexts, contexts before plan and buffers, and the device last: with it may go
    /// the CUDA context, in which TensorRT still has memory to free.
    prefill: Lane<P::Context, D::Graph>,
    decode: Lane<P::Context, D::Graph>,
    _plan: P,
    buffers: Buffers<D>,
    device: D,
    graphs: Graphs,
    /// Length of the plan, which is little more than its weights.
    plan_bytes: u64,
    /// Its file, where it has one, held so that nobody removes it.
    _plan_file: Option<std::fs::File>,
    /// Tokens of each slot.
    held: Vec<usize>,
    /// Where each slot's cache ends that was written and not zeroed since: beyond `held` where a
    /// sequence or a draft was given up.
    written: Vec<usize>,
    /// Where on the device the rows of logits are that the last shortlist step was asked for.
    shortlisted: Vec<usize>,
}

impl<P: Plan, D: Device> TensorRtEngine<P, D> {
    /// Checks the plan and takes memory for it.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn new(plan: P, device: D, graphs: Graphs) -> Result<Self, SetupError> {
        // Locals go in reverse order: on an error too, the plan goes before its device.
        let mut device = device;
        let plan = plan;
        device.bind()?;
        let limits = Limits::read(&plan)?;
        let spec = limits.spec();
        let buffers = Buffers::new(&mut device, &limits)?;
        let lane = |profile| -> Result<_, SetupError> {
            let context = plan.context()?;
            Ok(Lane::new(context, profile, &device, &buffers, &limits)?)
        };
        let (prefill, decode) = (lane(PREFILL)?, lane(DECODE)?);
        let (held, written) = (vec![0; spec.slots], vec![0; spec.slots]);
        let shortlisted = Vec::new();
        Ok(Self {
            spec,
            limits,
            prefill,
            decode,
            buffers,
            device,
            _plan: plan,
            graphs,
            plan_bytes: 0,
            _plan_file: None,
            held,
            written,
            shortlisted,
        })
    }

    /// What the plan can do.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Bytes of the cache and of the buffers of a pass; TensorRT's own come on top.
    pub fn bytes(&self) -> usize {
        self.buffers.bytes()
    }

    /// Does `work`; when it fails, the batch's slots hold nothing any more.
    fn advance<T>(
        &mut self,
        batch: &[BatchRow<'_>],
        work: impl FnOnce(&mut Self) -> Result<T, RunError>,
    ) -> Result<T, EngineError> {
        self.shortlisted.clear();
        for row in batch {
            self.held[usize::from(row.slot.0)] = row.position;
        }
        let done = self.device.bind().map_err(RunError::from).and_then(|()| work(self));
        for row in batch {
            let end = row.position + row.tokens.len();
            self.held[usize::from(row.slot.0)] = if done.is_ok() { end } else { 0 };
        }
        done.map_err(|error| self.fatal(error))
    }

    fn fatal(&self, error: RunError) -> EngineError {
        EngineError::Device { engine: self.spec.name.clone(), source: Box::new(error) }
    }

    fn check(&self, batch: &[BatchRow<'_>]) -> Result<(), EngineError> {
        self.spec.check_batch(batch, |slot| self.held[slot])
    }
}

impl<P: Plan, D: Device> Engine for TensorRtEngine<P, D> {
    fn spec(&self) -> &EngineSpec {
        &self.spec
    }

    fn step(&mut self, batch: &[BatchRow<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        logits.clear();
        self.check(batch)?;
        if batch.is_empty() {
            return Ok(());
        }
        let passes = passes(batch, &self.limits);
        self.advance(batch, |this| this.run(batch, &passes, logits))
    }

    fn step_shortlist(
        &mut self,
        batch: &[BatchRow<'_>],
        _kept: usize,
        shortlists: &mut Vec<Shortlist>,
    ) -> Result<bool, EngineError> {
        shortlists.clear();
        self.check(batch)?;
        let passes = passes(batch, &self.limits);
        let [pass @ Pass { is_decode: true, logits: 1, .. }] = &passes[..] else {
            return Ok(false);
        };
        self.advance(batch, |this| this.run_shortlist(batch, pass, shortlists))?;
        Ok(true)
    }

    fn logits_of(&mut self, row: usize, logits: &mut Vec<f32>) -> Result<(), EngineError> {
        let Some(&at) = self.shortlisted.get(row) else {
            let detail = format!("logits of row {row} asked for; the last step left none there");
            return Err(EngineError::InvalidBatch { detail });
        };
        logits.resize(self.spec.vocab_size, 0.0);
        self.read_logits(at, logits).map_err(|error| self.fatal(error))
    }

    /// Weights are the length of the plan where it came from a file. TensorRT's scratch memory is in no
    /// figure but the free one.
    fn report(&self) -> Result<EngineReport, EngineError> {
        let memory = self.device.memory().map_err(|error| self.fatal(error.into()))?;
        let cache = self.buffers.cache_bytes() as u64;
        let weights = self.plan_bytes;
        let buffers = self.buffers.bytes() as u64 - cache;
        Ok(EngineReport {
            device: self.device.name(),
            step_bytes: (weights > 0).then_some(weights),
            memory: memory.map(|[free, total]| MemoryReport {
                weights,
                buffers,
                cache,
                free,
                total,
            }),
            kernels: None,
        })
    }

    fn release(&mut self, slot: Slot) {
        if let Some(held) = self.held.get_mut(usize::from(slot.0)) {
            *held = 0;
        }
    }
}
