//! What the conductor is told, and what it answers.

use std::sync::Arc;

use super::context::ContextSentence;
use crate::detect::Detection;
use crate::language::Language;

/// Names a translation run; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub u64);

/// What a speech recogniser says: a whole hypothesis of the utterance so far, or its end.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Hypothesis<'a> {
    /// Who speaks.
    pub speaker: &'a str,
    /// The utterance so far, from its beginning.
    pub text: &'a str,
    /// True when the utterance has ended and the text will not change.
    pub is_final: bool,
    /// Language tag of the message; empty when it has none.
    pub locale: &'a str,
    /// What detection says about `text`; only read when neither message nor configuration tell.
    pub detected: Option<Detection>,
    /// Stamp of the source, handed through. Nanoseconds.
    pub stamp_ns: i64,
}

impl<'a> Hypothesis<'a> {
    /// Reads the two fields of `hri_msgs/LiveSpeech`: recognisers put partials into `incremental`, and
    /// a final into both or into `final` alone. A `final` that is not empty is the end mark.
    #[must_use]
    pub fn with_live_speech(self, incremental: &'a str, r#final: &'a str) -> Self {
        match r#final.trim() {
            "" => Self { text: incremental, is_final: false, ..self },
            _ => Self { text: r#final, is_final: true, ..self },
        }
    }
}

/// What became of a run for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunResult {
    /// The target.
    pub target: Language,
    /// The translation; `None` when there is none.
    pub text: Option<String>,
}

/// What the caller has to do, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Translate; answer with exactly one `run_finished`, unless the run is cancelled.
    Start(Box<Start>),
    /// Stop this run; whatever it still says is refused.
    Cancel {
        /// Which.
        run: RunId,
    },
    /// Show this.
    Publish(Box<Publish>),
    /// An input or a result comes to nothing; already counted.
    Drop(Dropped),
}

/// A text to translate.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    /// Names the run from now on.
    pub run: RunId,
    /// Who spoke.
    pub speaker: Arc<str>,
    /// Which utterance; grows in the order of beginning, over all speakers.
    pub utterance: u64,
    /// Which version of the utterance's source this is, from 1.
    pub revision: u32,
    /// What to translate, trimmed. For a partial, the agreed part of the newest hypothesis.
    pub text: String,
    /// True for the end of an utterance: give it the higher priority.
    pub is_final: bool,
    /// True when silence and not the recogniser ended the utterance.
    pub is_forced: bool,
    /// Stamp of the source. Nanoseconds.
    pub stamp_ns: i64,
    /// Language of the text; `None` when nobody knows.
    pub source: Option<Language>,
    /// 0 to 1: 1 when the language was given, 0 when it was kept or is unknown.
    pub source_confidence: f32,
    /// Languages to translate into.
    pub targets: Vec<Language>,
    /// The last translation of this utterance per target, complete: a draft to be verified. None where
    /// [`SpeechConfig::drafts`](super::SpeechConfig::drafts) is false.
    pub drafts: Vec<(Language, String)>,
    /// What this speaker said before, oldest first.
    pub context: Vec<Arc<ContextSentence>>,
}

/// A version of an utterance to show in one language, in place of the one before.
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// The run it comes from; `None` when it comes from none.
    pub run: Option<RunId>,
    /// Who spoke.
    pub speaker: Arc<str>,
    /// Which utterance. Never smaller than the one before it of the same speaker.
    pub utterance: u64,
    /// Grows with everything published of the utterance.
    pub revision: u32,
    /// The language.
    pub target: Language,
    /// True for the end of the utterance: no partial follows. Only a forced final may be followed, by
    /// one more final that corrects it.
    pub is_final: bool,
    /// True when silence ended the utterance; the real final may still correct it.
    pub is_forced: bool,
    /// True when this replaces a forced final.
    pub is_correction: bool,
    /// What was translated.
    pub source_text: String,
    /// Language of the source.
    pub source: Option<Language>,
    /// 0 to 1, as in [`Start`].
    pub source_confidence: f32,
    /// Stamp of the source. Nanoseconds.
    pub stamp_ns: i64,
    /// What to show.
    pub text: PublishText,
    /// Prefix of the text that will not change. Unicode scalars. Re-translation can promise
    /// nothing for partials.
    pub stable_chars: u32,
    /// For finals: characters of shown text that were rewritten, per character of the final text
    /// (Arivazhagan et al., 2020). `None` for partials, failures and empty texts.
    pub normalised_erasure: Option<f32>,
}

/// What to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishText {
    /// This.
    Text(String),
    /// That there is none, because the engine failed. Only for finals.
    Failed,
    /// Nothing: what was shown is withdrawn, because the utterance ended without a
    /// translation into this language. Only for finals.
    Withdrawn,
}

/// Something that comes to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Whose it is; empty when the speaker is not known any more.
    pub speaker: Arc<str>,
    /// The utterance, when it belongs to one.
    pub utterance: Option<u64>,
    /// True for the end of an utterance.
    pub is_final: bool,
    /// Why.
    pub reason: DropReason,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// Why something comes to nothing. Those before [`Self::StaleResult`] are about hypotheses.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DropReason { $($(#[$doc])* $variant),* }

        impl DropReason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As diagnostics call it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

reasons! {
    /// No letter and no digit in it.
    Empty = "empty";
    /// Longer than [`SpeechConfig::text_chars_max`](super::SpeechConfig::text_chars_max).
    TooLong = "too_long";
    /// The speaker's name is empty or longer than [`SPEAKER_BYTES_MAX`](super::SPEAKER_BYTES_MAX).
    BadSpeaker = "bad_speaker";
    /// Heard while the robot spoke.
    Muted = "muted";
    /// Too many speakers, and each has work.
    SpeakersFull = "speakers_full";
    /// Partials are not wanted.
    PartialsOff = "partials_off";
    /// The same words as the hypothesis before, and no news in them.
    Repeated = "repeated";
    /// The updates do not agree on anything that was not translated yet.
    NotAgreed = "not_agreed";
    /// A newer partial took its place before it was started.
    Superseded = "superseded";
    /// A newer hypothesis says something else.
    Contradicted = "contradicted";
    /// The final came before it was started.
    ObsoletedByFinal = "obsoleted_by_final";
    /// Continues an utterance that silence has ended; the final will hold it.
    AfterForcedFinal = "after_forced_final";
    /// A final with the words of the forced final.
    DuplicateFinal = "duplicate_final";
    /// Too many finals of the speaker wait.
    FinalsFull = "finals_full";
    /// A result of a run that was cancelled or had ended.
    StaleResult = "stale_result";
    /// A result of a run that never was.
    UnknownRun = "unknown_run";
    /// The engine failed on a partial.
    FailedPartial = "failed_partial";
    /// A text in progress that would rewrite what is shown, or comes too soon.
    HeldBack = "held_back";
}
