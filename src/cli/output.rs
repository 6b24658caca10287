//! Where results go: standard output for results, standard error for everything else.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// The stream that results are written to.
pub struct Output {
    stream: Box<dyn Write>,
    terminal: bool,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Output").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl Output {
    /// The process's standard output.
    pub fn stdout() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self { stream: Box::new(stdout), terminal }
    }

    /// Any writer, never treated as a terminal.
    pub fn to(writer: impl Write + 'static) -> Self {
        Self { stream: Box::new(writer), terminal: false }
    }

    /// True when a person is probably looking.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Writes one line and flushes it, so that a caption appears when it is spoken.
    ///
    /// # Errors
    /// What the stream reports, a closed pipe among others.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.stream, "{}", text.as_ref())?;
        self.stream.flush()
    }

    /// Writes one JSON document on one line.
    ///
    /// # Errors
    /// What the stream reports.
    pub fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(value)?;
        self.line(text)?;
        Ok(())
    }

    /// `text` in an ANSI style on a terminal, plain elsewhere.
    pub fn styled(&self, style: Style, text: &str) -> String {
        if self.terminal && std::env::var_os("NO_COLOR").is_none() {
            format!("\x1b[{}m{text}\x1b[0m", style.code())
        } else {
            text.to_owned()
        }
    }
}

/// How a piece of output looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Names and results.
    Bold,
    /// What may be overlooked.
    Dim,
    /// Passed.
    Good,
    /// Failed.
    Bad,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Good => "32",
            Self::Bad => "31",
        }
    }
}

/// Prints an error and its causes on standard error.
pub fn error(error: &anyhow::Error) {
    let mut text = format!("hymt: error: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some error types already end with their source's text.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    note(&text);
}

/// Prints a line on standard error; a closed standard error is no reason to fail.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
