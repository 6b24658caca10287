//! One line of what `hymt doctor` says.

use serde::Serialize;

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// As it should be.
    Ok,
    /// Works, but somebody should know.
    Note,
    /// Does not work, and was asked for.
    #[serde(rename = "FAIL")]
    Failed,
}

impl State {
    /// As it is printed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Note => "NOTE",
            Self::Failed => "FAIL",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// How it stands.
    pub state: State,
    /// What was found.
    pub detail: String,
    /// What to type, where something is amiss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, state: State::Ok, detail: detail.into(), fix: None }
    }

    /// Somebody should know.
    pub fn note(what: &'static str, detail: impl Into<String>) -> Self {
        Self { state: State::Note, ..Self::ok(what, detail) }
    }

    /// It does not work.
    pub fn failed(what: &'static str, detail: impl Into<String>) -> Self {
        Self { state: State::Failed, ..Self::ok(what, detail) }
    }

    /// With what to type.
    #[must_use]
    pub fn fixed_by(self, command: impl Into<String>) -> Self {
        Self { fix: Some(command.into()), ..self }
    }

    /// A note becomes a failure where the thing was asked for.
    #[must_use]
    pub fn failed_if(self, is_needed: bool) -> Self {
        match self.state {
            State::Note if is_needed => Self { state: State::Failed, ..self },
            _ => self,
        }
    }
}
