//! What happened, in numbers, for diagnostics and for tests.

use super::decision::DropReason;

const REASONS: usize = DropReason::ALL.len();

/// Counts since the beginning.
///
/// Every hypothesis is accounted for exactly once: `heard` is what was dropped for a reason
/// about hypotheses, plus `started_heard`, plus what waits. Every run is: `started_heard` plus
/// `started_forced` is `finished` plus `cancelled` plus what runs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SpeechCounters {
    /// Hypotheses told.
    pub heard: u64,
    /// Runs started for a hypothesis.
    pub started_heard: u64,
    /// Runs started because of silence.
    pub started_forced: u64,
    /// Runs whose result was taken.
    pub finished: u64,
    /// Runs cancelled.
    pub cancelled: u64,
    /// Finals that silence called for.
    pub forced: u64,
    /// Of these, those that a longer or a real final replaced before they were started.
    pub forced_replaced: u64,
    /// Of these, those for which there was no place.
    pub forced_refused: u64,
    /// Versions published that are not final, texts in progress included.
    pub published_partials: u64,
    /// Versions published that are final.
    pub published_finals: u64,
    /// Of these, those that corrected a forced final.
    pub corrections: u64,
    /// Of these, those that withdrew what was shown.
    pub withdrawn: u64,
    /// Speakers forgotten because others came.
    pub speakers_evicted: u64,
    /// Characters of shown text that were rewritten.
    pub erased_chars: u64,
    /// Characters of final texts, corrections not counted.
    pub final_chars: u64,
    dropped: [u64; REASONS],
}

impl SpeechCounters {
    /// How often `reason` applied.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// Hypotheses dropped, for any reason.
    pub fn hypotheses_dropped(&self) -> u64 {
        self.dropped[..DropReason::StaleResult as usize].iter().sum()
    }

    /// Normalised erasure over everything: rewritten characters per character of final text.
    pub fn normalised_erasure(&self) -> f64 {
        self.erased_chars as f64 / self.final_chars.max(1) as f64
    }

    pub(super) fn count(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }
}
