//! The text of subtitles, the same for SRT and VTT.

use std::ops::Range;

use super::DocumentError;
use super::inline::{self, Kind, Token};
use super::unit::{Found, Shape};

/// Most cues that are put together to show a sentence that runs over several.
const SENTENCE_CUES_MAX: usize = 4;

/// Longest tag. Bytes; without a bound a line of `<` would be read once for each of them.
const TAG_BYTES_MAX: usize = 512;

/// Adds the text of a cue: one unit, or one for each line of a dialogue, which begin with a dash.
pub(super) fn push(
    found: &mut Found<'_>,
    lines: &[Range<usize>],
    is_vtt: bool,
    cues: &mut Vec<usize>,
) -> Result<(), DocumentError> {
    let source = found.source;
    let is_said =
        |line: &Range<usize>| source[line.clone()].trim_start().starts_with(['-', '–', '—']);
    let mut group: Vec<Range<usize>> = Vec::new();
    for line in lines {
        if is_said(line) && !group.is_empty() {
            push_group(found, &std::mem::take(&mut group), is_vtt, cues)?;
        }
        group.push(line.clone());
    }
    push_group(found, &group, is_vtt, cues)
}

fn push_group(
    found: &mut Found<'_>,
    lines: &[Range<usize>],
    is_vtt: bool,
    cues: &mut Vec<usize>,
) -> Result<(), DocumentError> {
    let source = found.source;
    let mut tokens = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            tokens.push(Token::text("\n", lines[index - 1].end..line.start));
        }
        let text = &source[line.clone()];
        let said = text.trim_start().trim_start_matches(['-', '–', '—']);
        // A dash that says who speaks is none of the words, unlike a minus.
        let is_dash = index == 0 && !said.starts_with(|c: char| c.is_ascii_digit());
        let start = if is_dash { line.end - said.len() } else { line.start };
        scan(source, start..line.end, is_vtt, &mut tokens);
    }
    if let Some(unit) = inline::unit(&tokens) {
        let shape = Shape::Cue { lines_max: lines.len(), is_vtt };
        cues.push(found.push(unit, shape)?);
    }
    Ok(())
}

/// Text, tags and overrides of a line.
fn scan(source: &str, line: Range<usize>, is_vtt: bool, tokens: &mut Vec<Token>) {
    let (mut at, mut start) = (line.start, line.start);
    while at < line.end {
        let rest = &source[at..line.end];
        let token = tag(rest, at).or_else(|| if is_vtt { entity(rest, at) } else { None });
        let Some(token) = token else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        if start < at {
            tokens.push(Token::text(&source[start..at], start..at));
        }
        at = token.range.end;
        start = at;
        tokens.push(token);
    }
    if start < line.end {
        tokens.push(Token::text(&source[start..line.end], start..line.end));
    }
}

/// `<i>`, `</i>`, `<v Speaker>`, `<c.loud>`, `<00:01.000>`, `{\an8}`
fn tag(rest: &str, at: usize) -> Option<Token> {
    if rest.starts_with("{\\") {
        let len = rest.bytes().take(TAG_BYTES_MAX).position(|byte| byte == b'}')? + 1;
        return Some(Token::single(false, at..at + len));
    }
    let inner = rest.strip_prefix('<')?;
    let len = inner.bytes().take(TAG_BYTES_MAX).position(|byte| byte == b'>')?;
    let inner = &inner[..len];
    let range = at..at + len + 2;
    let name = |inner: &str| {
        let end = inner.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inner.len());
        inner[..end].to_ascii_lowercase()
    };
    if let Some(closed) = inner.strip_prefix('/') {
        return Some(Token { kind: Kind::Close(name(closed), None), range });
    }
    match inner.chars().next()? {
        c if c.is_ascii_alphabetic() => Some(Token { kind: Kind::Open(name(inner)), range }),
        c if c.is_ascii_digit() => Some(Token::single(false, range)),
        _ => None,
    }
}

/// The character references of WebVTT that matter for text.
fn entity(rest: &str, at: usize) -> Option<Token> {
    let known = [
        ("&amp;", "&"),
        ("&lt;", ""),
        ("&gt;", ">"),
        ("&nbsp;", "\u{A0}"),
        ("&lrm;", "\u{200E}"),
        ("&rlm;", "\u{200F}"),
    ];
    let (name, text) = known.into_iter().find(|(name, _)| rest.starts_with(name))?;
    let range = at..at + name.len();
    // A sign that would begin a mark stays a mark itself.
    Some(if text.is_empty() { Token::single(true, range) } else { Token::text(text, range) })
}

/// Text for SubRip, where nothing can be escaped: without what would be a tag, an override or the arrow
/// of times.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '>' && plain.ends_with("--") {
            plain.truncate(plain.trim_end_matches('-').len() + 1);
        }
        plain.push(c);
        let start = match c {
            '>' => plain.rfind('<'),
            '}' => plain.rfind("{\\"),
            _ => None,
        };
        if let Some(start) = start.filter(|start| tag(&plain[*start..], *start).is_some()) {
            plain.truncate(start);
        }
    }
    plain
}

/// Gives each cue that is part of a longer sentence the whole of it as context.
pub(super) fn add_sentences(found: &mut Found<'_>, cues: &[usize]) {
    let mut start = 0;
    for end in 0..cues.len() {
        let is_last = end + 1 == cues.len() || end + 1 - start == SENTENCE_CUES_MAX;
        if !is_last && !ends_sentence(found.text(cues[end])) {
            continue;
        }
        let parts: Vec<String> =
            cues[start..=end].iter().map(|cue| inline::bare(found.text(*cue))).collect();
        if parts.len() > 1 {
            cues[start..=end].iter().for_each(|cue| found.set_context(*cue, parts.join(" ")));
        }
        start = end + 1;
    }
}

fn ends_sentence(text: &str) -> bool {
    let text = inline::bare(text);
    let text = text.trim_end_matches(['"', '\'', '”', '’', '»', '」', '』', ')', '）', '♪', ' ']);
    text.ends_with(['.', '!', '?', ':', '。', '！', '？', '：', '؟', '۔', '।', '།', '။', '៕'])
}
