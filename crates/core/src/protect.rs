//! Keeping what must not be translated: tags, code, links, placeholders, emoji.
//!
//! [`protect`] puts a numbered marker in the place of each such part; the model translates around the
//! markers; [`Protected::restore`] puts the parts back and says whether each came back exactly
//! once. What can be repaired without guessing is repaired; the rest is reported, so that the caller
//! can translate the segment again without its format.
//!
//! Markers look as the model family was taught: HY-MT1.5 knows `<s1>…</s1>` (model card, "Formatted
//! Translation"), Hy-MT2 knows delimiters to be kept in number and place. A text that holds such
//! markers itself has them protected like anything else.
//!
//! ```
//! use hymt_core::protect::{MarkerStyle, ProtectOptions, Verdict, protect};
//!
//! let text = "Press <b>Start</b> or see https://example.org/help.";
//! let options = ProtectOptions { style: MarkerStyle::Numbered, ..ProtectOptions::default() };
//! let protected = protect(text, &options)?;
//! assert_eq!(protected.marked(), "Press <s1>Start</s1> or see <s2></s2>.");
//! let restored = protected.restore("Siehe <s2></s2> oder drücke <s1>Start</s1>.");
//! assert_eq!(restored.text, "Siehe https://example.org/help oder drücke <b>Start</b>.");
//! assert_eq!(restored.verdict(), Verdict::Kept);
//! # Ok::<(), hymt_core::protect::ProtectError>(())
//! ```

mod markers;
mod prompt;
mod restore;
mod scan;

pub use markers::MarkerStyle;
pub(crate) use prompt::format_prompt_other;
pub use prompt::{answer_text, format_prompt};
pub use restore::{Problem, Restored, Verdict};

use std::ops::Range;

use markers::{Role, marker_at};

/// Most parts of one text; a segment with more is format with some words in it.
pub const PARTS_MAX: usize = 99;

/// What is protected, and how markers look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectOptions {
    /// How markers look.
    pub style: MarkerStyle,
    /// The kinds to protect. Text that looks like a marker always is.
    pub kinds: Vec<PartKind>,
}

impl Default for ProtectOptions {
    fn default() -> Self {
        Self { style: MarkerStyle::default(), kinds: PartKind::ALL.to_vec() }
    }
}

/// What a protected part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PartKind {
    /// HTML or XML: a tag, a comment, an entity.
    Markup,
    /// Markdown: emphasis, link targets, what begins a line.
    Markdown,
    /// Code between backticks.
    Code,
    /// `{name}`, `{{name}}`, `${x}`, `%s`, `%1$d`, `%(name)s`.
    Placeholder,
    /// A URL.
    Url,
    /// An e-mail address.
    Email,
    /// A number with its unit.
    Quantity,
    /// Emoji.
    Emoji,
    /// Text that looks like a marker.
    Lookalike,
}

impl PartKind {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Markup,
        Self::Markdown,
        Self::Code,
        Self::Placeholder,
        Self::Url,
        Self::Email,
        Self::Quantity,
        Self::Emoji,
        Self::Lookalike,
    ];
}

/// A part that was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// As it stood in the text.
    pub text: String,
    /// Which marker stands for it.
    marker: usize,
    role: Role,
}

/// A text without its protected parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    style: MarkerStyle,
    marked: String,
    /// In the order of the text.
    parts: Vec<Part>,
}

/// Why a text cannot be protected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtectError {
    /// Too many parts.
    #[error("the text has more than {limit} tags, links and the like; send it in smaller segments")]
    TooManyParts {
        /// The bound.
        limit: usize,
    },
}

/// Takes out of `text` what must not be translated.
///
/// # Errors
/// When there are more than [`PARTS_MAX`] parts.
pub fn protect(text: &str, options: &ProtectOptions) -> Result<Protected, ProtectError> {
    let style = options.style;
    let found: Vec<_> = parts_of(text, options).take(PARTS_MAX + 1).collect();
    if found.len() > PARTS_MAX {
        return Err(ProtectError::TooManyParts { limit: PARTS_MAX });
    }
    let roles = pair_tags(&found.iter().map(|(k, r)| (*k, &text[r.clone()])).collect::<Vec<_>>());
    let (mut marked, mut parts) = (String::with_capacity(text.len()), Vec::new());
    let mut end = 0;
    for ((kind, range), (marker, role)) in found.into_iter().zip(roles) {
        marked.push_str(&text[end..range.start]);
        marked.push_str(&style.write(marker, role));
        end = range.end;
        parts.push(Part { kind, text: text[range].to_owned(), marker, role });
    }
    marked.push_str(&text[end..]);
    Ok(Protected { style, marked, parts })
}

/// What [`protect`] would take out of `text`, and where it stands; without a bound on how much, for
/// whoever cuts a text and must not cut there.
pub fn parts_of<'a>(
    text: &'a str,
    options: &'a ProtectOptions,
) -> impl Iterator<Item = (PartKind, Range<usize>)> + 'a {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() {
            let lookalike = marker_at(&text[at..], options.style);
            let lookalike = lookalike.map(|(_, len)| (PartKind::Lookalike, len));
            if let Some((kind, len)) = lookalike.or_else(|| scan::part_at(text, at, &options.kinds))
            {
                at += len;
                return Some((kind, at - len..at));
            }
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
        None
    })
}

impl Protected {
    /// The text with markers, for the model.
    pub fn marked(&self) -> &str {
        &self.marked
    }

    /// What was taken out, in the order of the text.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Puts the parts into a translation of [`Self::marked`].
    pub fn restore(&self, translation: &str) -> Restored {
        restore::restore(self, translation)
    }
}

/// Numbers the parts from 1; a tag and the one that closes it share a number where the markers can say
/// so, that is, inside one another and not across.
fn pair_tags(parts: &[(PartKind, &str)]) -> Vec<(usize, Role)> {
    let mut roles: Vec<(usize, Role)> = Vec::new();
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut next = 1;
    for (index, (kind, text)) in parts.iter().enumerate() {
        let tag = Some(text).filter(|_| *kind == PartKind::Markup).and_then(|tag| scan::tag(tag));
        let closes = |name: &str| open.last().filter(|(_, top)| top.eq_ignore_ascii_case(name));
        match tag {
            Some(scan::Tag::Close(name)) if closes(name).is_some() => {
                if let Some((opening, _)) = open.pop() {
                    roles[opening].1 = Role::Open;
                    roles.push((roles[opening].0, Role::Close));
                    continue;
                }
            }
            Some(scan::Tag::Open(name)) => open.push((index, name)),
            _ => {}
        }
        roles.push((next, Role::Single));
        next += 1;
    }
    roles
}

#[cfg(test)]
mod tests;
