//! Mirrors of `hri_msgs`, whose `LiveSpeech` has had three layouts.
//!
//! | version of `hri_msgs` | layout |
//! |---|---|
//! | 2.0.0 | [`LiveSpeechLanguage`] |
//! | 2.1.0 to 2.2.0 | [`LiveSpeechBoth`] |
//! | from 2.2.1 | [`LiveSpeech`] |

use serde::{Deserialize, Serialize};

use super::{ConstantDecl, FieldDecl, Header, Message, interface};
use crate::ros::{RosError, SerializedMessage};

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

/// [`LiveSpeech`] in whichever of its layouts it came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AnyLiveSpeech {
    /// When the speech ended.
    pub header: Header,
    /// What was understood so far.
    pub incremental: String,
    /// Not empty once the utterance has ended.
    pub r#final: String,
    /// 0..1.
    pub confidence: f64,
    /// `locale`, or `language` where there is no locale; may be empty.
    pub locale: String,
}

impl Message for AnyLiveSpeech {
    const ROS_TYPE: &'static str = LiveSpeech::ROS_TYPE;

    fn fields() -> Vec<FieldDecl> {
        LiveSpeech::fields()
    }

    fn constants() -> Vec<ConstantDecl> {
        LiveSpeech::constants()
    }

    /// The layout with both names is the longer one, so it is tried first: a shorter message ends
    /// before its last field.
    fn read(sample: &SerializedMessage) -> Result<Self, RosError> {
        if let Ok(both) = sample.decode::<LiveSpeechBoth>() {
            let locale = if both.locale.is_empty() { both.language } else { both.locale };
            let LiveSpeechBoth { header, incremental, r#final, confidence, .. } = both;
            return Ok(Self { header, incremental, r#final, confidence, locale });
        }
        sample.decode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<M: Message>(message: &M) -> AnyLiveSpeech {
        AnyLiveSpeech::read(&SerializedMessage::encode(message).unwrap()).unwrap()
    }

    #[test]
    fn all_three_layouts_are_read() {
        let said = |locale: &str| AnyLiveSpeech {
            incremental: "guten".to_owned(),
            r#final: "guten Tag".to_owned(),
            confidence: 0.5,
            locale: locale.to_owned(),
            ..AnyLiveSpeech::default()
        };
        let AnyLiveSpeech { header, incremental, r#final, confidence, .. } = said("");
        let language = "de-AT".to_owned();
        for locale in ["", "d", "de", "de_", "de_D", "de_DE"] {
            let new = LiveSpeech {
                header: header.clone(),
                incremental: incremental.clone(),
                r#final: r#final.clone(),
                confidence,
                locale: locale.to_owned(),
            };
            assert_eq!(read(&new), said(locale));
            let both = LiveSpeechBoth {
                header: header.clone(),
                incremental: incremental.clone(),
                r#final: r#final.clone(),
                confidence,
                language: language.clone(),
                locale: locale.to_owned(),
            };
            assert_eq!(read(&both), said(if locale.is_empty() { &language } else { locale }));
        }
        let old = LiveSpeechLanguage { header, incremental, r#final, confidence, language };
        assert_eq!(read(&old), said("de-AT"));
    }
}
