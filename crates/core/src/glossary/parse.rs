//! One glossary line, read and written. A small scanner, since every byte comes from outside.

use super::{GlossaryEntry, LanguagePair, TERM_LINE_BYTES_MAX, Term, TermError};
use crate::language::Language;

pub(super) fn entry(line: &str) -> Result<GlossaryEntry, TermError> {
    if line.len() > TERM_LINE_BYTES_MAX {
        return Err(TermError::LineTooLong { bytes: line.len() });
    }
    let line = line.trim();
    let (scope, phrases) = match line.strip_prefix('[') {
        Some(rest) => {
            let (scope, phrases) = rest.split_once(']').ok_or(TermError::UnclosedLanguages)?;
            (Some(scope), phrases)
        }
        None => (None, line),
    };
    let (pair, is_case_sensitive) = match scope {
        Some(scope) => read_scope(scope)?,
        None => (LanguagePair::default(), false),
    };
    let (source, target) = split_sides(phrases)?;
    Ok(GlossaryEntry { term: Term::new(&source, &target)?, pair, is_case_sensitive })
}

pub(super) fn escape(phrase: &str) -> String {
    let mut escaped = String::with_capacity(phrase.len());
    for c in phrase.chars() {
        if matches!(c, '=' | '[' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// `de`, `en>de`, `*>de`, `en>*`, each with an optional `!` at the end; or `!` alone.
fn read_scope(scope: &str) -> Result<(LanguagePair, bool), TermError> {
    let scope = scope.trim();
    let (scope, is_case_sensitive) = match scope.strip_suffix('!') {
        Some(scope) => (scope.trim(), true),
        None => (scope, false),
    };
    let pair = match scope.split_once('>') {
        Some((source, target)) => {
            LanguagePair { source: language(source)?, target: language(target)? }
        }
        None if scope.is_empty() && is_case_sensitive => LanguagePair::default(),
        None => LanguagePair { source: None, target: language(scope)? },
    };
    Ok((pair, is_case_sensitive))
}

fn language(tag: &str) -> Result<Option<Language>, TermError> {
    match tag.trim() {
        "*" => Ok(None),
        tag => Language::parse(tag).map(Some).map_err(TermError::Language),
    }
}

fn split_sides(phrases: &str) -> Result<(String, String), TermError> {
    let mut sides = [String::new(), String::new()];
    let mut current = 0;
    let mut chars = phrases.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('=' | '[' | '\\')) => sides[current].push(escaped),
                other => return Err(TermError::UnknownEscape { found: other.unwrap_or(' ') }),
            },
            '=' if current == 1 => return Err(TermError::ManySeparators),
            '=' => current = 1,
            c => sides[current].push(c),
        }
    }
    if current == 0 {
        return Err(TermError::NoSeparator);
    }
    Ok(sides.into())
}
