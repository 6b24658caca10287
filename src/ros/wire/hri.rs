//! Mirrors of `hri_msgs`, whose `LiveSpeech` has had three layouts.
//!
//! | version of `hri_msgs` | layout |
//! |---|---|
//! | 2.0.0 | [`LiveSpeechLanguage`] |
//! | 2.1.0 to 2.2.0 | [`LiveSpeechBoth`] |
//! | from 2.2.1 | [`LiveSpeech`] |

use super::{Header, interface};

interface! {
    /// What a speech recogniser has heard; the present layout.
    pub struct LiveSpeech = "hri_msgs/msg/LiveSpeech" {
        /// When the speech ended.
        header: Header,
        /// What was understood so far.
        incremental: String,
        /// Not empty once the utterance has ended.
        r#final: String,
        /// 0..1.
        confidence: f64,
        /// As in `en_GB`; may be empty.
        locale: String,
    }
}

interface! {
    /// [`LiveSpeech`] with both names of the language.
    pub struct LiveSpeechBoth = "hri_msgs/msg/LiveSpeech" {
        /// When the speech ended.
        header: Header,
        /// What was understood so far.
        incremental: String,
        /// Not empty once the utterance has ended.
        r#final: String,
        /// 0..1.
        confidence: f64,
        /// As in `en-GB`; may be empty.
        language: String,
        /// As in `en_GB`; may be empty.
        locale: String,
    }
}

interface! {
    /// [`LiveSpeech`] in its first layout. On the wire it is the same as the present one.
    pub struct LiveSpeechLanguage = "hri_msgs/msg/LiveSpeech" {
        /// When the speech ended.
        header: Header,
        /// What was understood so far.
        incremental: String,
        /// Not empty once the utterance has ended.
        r#final: String,
        /// 0..1.
        confidence: f64,
        /// As in `en-GB`; may be empty.
        language: String,
    }
}

interface! {
    /// Identifiers of what is tracked, for example voices.
    pub struct IdsList = "hri_msgs/msg/IdsList" {
        /// When.
        header: Header,
        /// The identifiers.
        ids: Vec<String>,
    }
}
