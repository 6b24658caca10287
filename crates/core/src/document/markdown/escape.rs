//! Writing text so that Markdown takes it as text.

use crate::document::inline::Piece;
use crate::document::render::one_line;

/// The pieces of a translation as Markdown. `is_inside` is a place where no block can begin: a table cell,
/// an alternative text. `behind` follows in the document.
pub(in crate::document) fn encode(
    pieces: &[Piece<'_>],
    is_inside: bool,
    behind: Option<char>,
    raw: &dyn Fn(&Piece<'_>) -> String,
) -> String {
    let mut out = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        let next = next_char(&pieces[index + 1..], raw).or(behind);
        match piece {
            Piece::Text(text) => {
                let text = spaced(text, pieces, index);
                push_text(&text, next, is_inside, &mut out);
            }
            Piece::Open(_) => push_open(&raw(piece), next, &mut out),
            Piece::Close(_) => push_close(&raw(piece), next, &mut out),
            Piece::Single(_) => out.push_str(&raw(piece)),
        }
    }
    out.trim().to_owned()
}

/// On one line, with the spaces at its ends.
fn spaced(text: &str, pieces: &[Piece<'_>], index: usize) -> String {
    let is_space = |c: char| c.is_whitespace();
    let is_in = |at: Option<usize>| at.and_then(|at| pieces.get(at));
    // Emphasis with a space inside of it is none.
    let after_open = matches!(is_in(index.checked_sub(1)), Some(Piece::Open(_)));
    let before_close = matches!(is_in(Some(index + 1)), Some(Piece::Close(_)));
    let start = if text.starts_with(is_space) && !after_open { " " } else { "" };
    let end = if text.ends_with(is_space) && !before_close { " " } else { "" };
    let line = one_line(text);
    if line.is_empty() { start.to_owned() } else { format!("{start}{}{end}", line.trim()) }
}

/// The first character behind a piece.
fn next_char(pieces: &[Piece<'_>], raw: &dyn Fn(&Piece<'_>) -> String) -> Option<char> {
    match pieces.first()? {
        Piece::Text(text) => text.chars().next(),
        other => raw(other).chars().next(),
    }
}

/// A run of `*` or `_` opens only before a word, or before punctuation behind a space (CommonMark 6.2).
fn push_open(mark: &str, next: Option<char>, out: &mut String) {
    let before = out.chars().next_back();
    let is_run = is_emphasis(mark);
    let is_stuck = next.is_some_and(is_punctuation) && before.is_some_and(is_word);
    if is_run && (is_stuck || (mark.starts_with('_') && before.is_some_and(is_word))) {
        out.push(' ');
    }
    out.push_str(mark);
}

fn push_close(mark: &str, next: Option<char>, out: &mut String) {
    let before = out.chars().next_back();
    out.push_str(mark);
    let is_stuck = before.is_some_and(is_punctuation) && next.is_some_and(is_word);
    if is_emphasis(mark) && (is_stuck || (mark.starts_with('_') && next.is_some_and(is_word))) {
        out.push(' ');
    }
}

fn is_emphasis(mark: &str) -> bool {
    mark.chars().all(|c| matches!(c, '*' | '_' | '~'))
}

fn is_word(c: char) -> bool {
    !c.is_whitespace() && !is_punctuation(c)
}

/// Near to Unicode's P and S: what is neither letter, digit nor space.
fn is_punctuation(c: char) -> bool {
    !c.is_alphanumeric() && !c.is_whitespace()
}

fn push_text(text: &str, next: Option<char>, is_inside: bool, out: &mut String) {
    let is_start = out.trim().is_empty();
    let mut chars = text.char_indices().peekable();
    if is_start && !is_inside {
        let kept = escape_block(text, out);
        while chars.next_if(|(at, _)| *at < kept).is_some() {}
    }
    while let Some((at, c)) = chars.next() {
        let behind = chars.peek().map(|(_, c)| *c).or(next);
        // In a code span that an earlier backtick begins, a backslash would escape nothing.
        if c == '`' {
            out.push_str("&#96;");
            continue;
        }
        if needs_escape(c, out.chars().next_back(), behind, &text[at..], is_inside) {
            out.push('\\');
        }
        out.push(c);
    }
}

fn needs_escape(
    c: char,
    before: Option<char>,
    next: Option<char>,
    rest: &str,
    is_inside: bool,
) -> bool {
    let is_space = |c: Option<char>| c.is_none_or(char::is_whitespace);
    let is_alnum = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    match c {
        '\\' => next.is_none_or(|c| c.is_ascii_punctuation()),
        '<' | '[' | ']' => true,
        '*' => !(is_space(before) && is_space(next)),
        '_' => !((is_alnum(before) && is_alnum(next)) || (is_space(before) && is_space(next))),
        '~' => before == Some('~') || next == Some('~') || !(is_space(before) || is_space(next)),
        '|' => is_inside,
        '&' => is_reference(&rest[1..]),
        '!' => next == Some('['),
        // At its end these would close a heading.
        '#' => is_space(before) && rest.trim_start_matches('#').trim().is_empty(),
        _ => false,
    }
}

/// True when `rest` goes on as a character reference does.
fn is_reference(rest: &str) -> bool {
    let len = rest.bytes().take(40).take_while(|b| b.is_ascii_alphanumeric() || *b == b'#').count();
    len > 0 && rest[len..].starts_with(';')
}

/// Escapes what would begin a block; says how much of the text that took.
fn escape_block(text: &str, out: &mut String) -> usize {
    let lead = text.len() - text.trim_start().len();
    out.push_str(&text[..lead]);
    let text = &text[lead..];
    let digits = text.bytes().take(10).take_while(u8::is_ascii_digit).count();
    if (1..10).contains(&digits) && text[digits..].starts_with(['.', ')']) {
        out.push_str(&text[..digits]);
        out.push('\\');
        out.push_str(&text[digits..=digits]);
        return lead + digits + 1;
    }
    if text.starts_with(['#', '>', '-', '+', '=', '|', ':', '~', '*', '_']) {
        out.push('\\');
        out.push_str(&text[..1]);
        return lead + 1;
    }
    lead
}
