//! Putting protected parts back, and telling what became of them.

use std::ops::Range;

use super::markers::{Role, marker_at};
use super::{Part, Protected};

/// A translation with its parts back in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The text; where [`Self::verdict`] says broken, as good as could be done.
    pub text: String,
    /// What was not as it should be, repaired or not.
    pub problems: Vec<Problem>,
}

/// What can be wrong with a part.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It was lost, but stood at an end of the text, and was put there.
    PutBack(String),
    /// A marker that stands for nothing was removed.
    Removed(String),
    /// Its marker was repeated on the spot; one was kept.
    Repeated(String),
    /// It is lost.
    Lost(String),
    /// It is there more than once.
    Multiplied(String),
    /// A pair closes before it opens.
    Crossed(String),
}

impl Problem {
    fn is_repaired(&self) -> bool {
        matches!(self, Self::PutBack(_) | Self::Removed(_) | Self::Repeated(_))
    }
}

/// Whether the parts survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Each part came back exactly once.
    Kept,
    /// After repairs that need no guess.
    Repaired,
    /// Something is lost, multiplied or crossed: translate again, or tell.
    Broken,
}

impl Restored {
    /// Whether the parts survived.
    pub fn verdict(&self) -> Verdict {
        match self.problems.as_slice() {
            [] => Verdict::Kept,
            problems if problems.iter().all(Problem::is_repaired) => Verdict::Repaired,
            _ => Verdict::Broken,
        }
    }
}

/// A marker in the translation, and the part it stands for.
struct Found {
    range: Range<usize>,
    part: Option<usize>,
}

pub(super) fn restore(protected: &Protected, translation: &str) -> Restored {
    let found = find(protected, translation);
    let parts = &protected.parts;
    let mut problems = Vec::new();
    let mut text = String::with_capacity(translation.len());
    let (mut end, mut last) = (0, None);
    let mut counts = vec![0usize; parts.len()];
    for Found { range, part } in found {
        let between = &translation[end..range.start];
        let is_repeated = part.is_some() && part == last && between.trim().is_empty();
        if !is_repeated {
            text.push_str(between);
        }
        match part {
            Some(part) if is_repeated => problems.push(Problem::Repeated(parts[part].text.clone())),
            Some(part) => {
                counts[part] += 1;
                text.push_str(&parts[part].text);
            }
            None => problems.push(Problem::Removed(translation[range.clone()].to_owned())),
        }
        (end, last) = (range.end, part);
    }
    text.push_str(&translation[end..]);
    for (part, count) in parts.iter().zip(&counts) {
        if *count > 1 {
            problems.push(Problem::Multiplied(part.text.clone()));
        }
    }
    problems.extend(crossed(protected, translation));
    put_back(protected, &counts, &mut text, &mut problems);
    Restored { text, problems }
}

/// The markers of a translation. One that stands for no part is [`Found`] without.
fn find(protected: &Protected, translation: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < translation.len() {
        let Some(((marker, role), len)) = marker_at(&translation[at..], protected.style) else {
            at += translation[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        };
        let mut range = at..at + len;
        let of = |wanted: Role| {
            let is_it = |part: &Part| part.marker == marker && part.role == wanted;
            protected.parts.iter().position(is_it)
        };
        let part = match (role, of(Role::Single)) {
            (Role::Open, Some(single)) => {
                range.end += closing_behind(protected, &translation[range.end..], marker);
                Some(single)
            }
            (Role::Single, single) => single,
            (Role::Close, Some(_)) => None,
            (Role::Open | Role::Close, None) => of(role),
        };
        at = range.end;
        found.push(Found { range, part });
    }
    found
}

/// Length of `</s1>` behind `<s1>`, with a space between forgiven; none in a style without.
fn closing_behind(protected: &Protected, behind: &str, marker: usize) -> usize {
    let spaces = behind.len() - behind.trim_start_matches(' ').len();
    match marker_at(&behind[spaces..], protected.style) {
        Some(((closing, Role::Close), len)) if closing == marker => spaces + len,
        _ => 0,
    }
}

/// Pairs of which the closing part comes first.
fn crossed(protected: &Protected, translation: &str) -> Vec<Problem> {
    let found = find(protected, translation);
    let place = |marker: usize, role: Role| {
        let parts = &protected.parts;
        let is_it = |part: usize| parts[part].marker == marker && parts[part].role == role;
        found.iter().position(|found| found.part.is_some_and(is_it))
    };
    let opening = protected.parts.iter().filter(|part| part.role == Role::Open);
    let is_crossed = |part: &&Part| {
        let (open, close) = (place(part.marker, Role::Open), place(part.marker, Role::Close));
        matches!((open, close), (Some(open), Some(close)) if close < open)
    };
    opening.filter(is_crossed).map(|part| Problem::Crossed(part.text.clone())).collect()
}

/// Puts lost parts back that stood at an end of the text, where there is no other place for them.
fn put_back(
    protected: &Protected,
    counts: &[usize],
    text: &mut String,
    problems: &mut Vec<Problem>,
) {
    let (n_leading, n_trailing) = ends(protected);
    let parts = &protected.parts;
    let n = parts.len();
    let mut leading = String::new();
    for (index, part) in parts.iter().enumerate() {
        let is_leading = index < n_leading && counts[..index].iter().all(|count| *count == 0);
        let is_trailing =
            index >= n - n_trailing && counts[index..].iter().all(|count| *count == 0);
        let problem = match counts[index] {
            0 if is_leading => {
                leading.push_str(&part.text);
                Problem::PutBack(part.text.clone())
            }
            0 if is_trailing => {
                text.push_str(&part.text);
                Problem::PutBack(part.text.clone())
            }
            0 => Problem::Lost(part.text.clone()),
            _ => continue,
        };
        problems.push(problem);
    }
    text.insert_str(0, &leading);
}

/// How many parts stand before, and how many behind, all other text.
fn ends(protected: &Protected) -> (usize, usize) {
    let (marked, parts) = (&protected.marked, &protected.parts);
    let write = |part: &Part| protected.style.write(part.marker, part.role);
    let mut rest = marked.as_str();
    let n_leading = parts.iter().take_while(|part| {
        let behind = rest.strip_prefix(&*write(part));
        rest = behind.unwrap_or(rest);
        behind.is_some()
    });
    let n_leading = n_leading.count();
    let mut rest = marked.as_str();
    let n_trailing = parts.iter().rev().take_while(|part| {
        let before = rest.strip_suffix(&*write(part));
        rest = before.unwrap_or(rest);
        before.is_some()
    });
    (n_leading, n_trailing.count())
}
