//! Reading a catalogue, line by line.

use std::ops::Range;

use super::Entry;
use crate::document::DocumentError;
use crate::document::unit::{Found, bom_len, lines};

/// An entry that is being read.
#[derive(Default)]
struct Draft {
    comments: Vec<String>,
    flags: Vec<Range<usize>>,
    previous: Vec<Range<usize>>,
    /// Keyword, where it stands, and its string.
    fields: Vec<Field>,
    end: usize,
}

struct Field {
    keyword: Keyword,
    at: usize,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Keyword {
    Context,
    Id,
    Plural,
    /// `msgstr` or `msgstr[n]`.
    Str,
}

/// Adds a unit for each text to translate; gives back where translations go.
pub(in crate::document) fn find(
    found: &mut Found<'_>,
    overwrite: bool,
) -> Result<Vec<Entry>, DocumentError> {
    let source = found.source;
    let (mut entries, mut draft): (Vec<Entry>, _) = (Vec::new(), Draft::default());
    for line in lines(source) {
        let line = line.start.max(bom_len(source))..line.end;
        let text = source[line.clone()].trim();
        let at = line.end - source[line.clone()].trim_start().len();
        if begins_entry(text, &draft) {
            let entry = finish(found, &std::mem::take(&mut draft), overwrite)?;
            entries.extend(entry.filter(|entry| !entry.is_header || entries.is_empty()));
        }
        if text.starts_with('#') {
            // With the end of the line.
            let whole =
                line.start..source[line.end..].find('\n').map_or(line.end, |n| line.end + n + 1);
            comment(&mut draft, text, whole);
        } else if text.starts_with('"') {
            let Some(field) = draft.fields.last_mut() else {
                return Err(found.syntax(at, "a string without msgid or msgstr before it"));
            };
            field.text.push_str(&string(found, at, text)?);
            draft.end = at + text.len();
        } else if !text.is_empty() {
            let (keyword, rest) = keyword(text).ok_or_else(|| {
                found.syntax(
                    at,
                    "expected msgctxt, msgid, msgid_plural, msgstr, a string or a comment",
                )
            })?;
            let text_at = at + (text.len() - rest.len());
            let string = string(found, text_at, rest)?;
            draft.fields.push(Field { keyword, at, text: string });
            draft.end = at + text.len();
        }
    }
    let entry = finish(found, &draft, overwrite)?;
    entries.extend(entry.filter(|entry| !entry.is_header || entries.is_empty()));
    Ok(entries)
}

fn begins_entry(line: &str, draft: &Draft) -> bool {
    let Some(last) = draft.fields.last() else { return line.is_empty() };
    let is_new =
        line.starts_with('#') || matches!(keyword(line), Some((Keyword::Context | Keyword::Id, _)));
    line.is_empty() || (last.keyword == Keyword::Str && is_new)
}

fn comment(draft: &mut Draft, text: &str, line: Range<usize>) {
    if let Some(comment) = text.strip_prefix("#.") {
        draft.comments.push(comment.trim().to_owned());
    } else if text.starts_with("#~") && draft.fields.is_empty() {
        // What stands before an obsolete entry is about that one.
        *draft = Draft::default();
    } else if text.starts_with("#,") {
        draft.flags.push(line);
    } else if text.starts_with("#|") {
        draft.previous.push(line);
    }
}

fn keyword(line: &str) -> Option<(Keyword, &str)> {
    let behind =
        |word: &str| line.strip_prefix(word).filter(|rest| rest.starts_with([' ', '\t', '"']));
    let known = [
        ("msgctxt", Keyword::Context),
        ("msgid", Keyword::Id),
        ("msgid_plural", Keyword::Plural),
        ("msgstr", Keyword::Str),
    ];
    if let Some((keyword, rest)) = known.into_iter().find_map(|(w, k)| Some((k, behind(w)?))) {
        return Some((keyword, rest.trim_start()));
    }
    let (number, rest) = line.strip_prefix("msgstr[")?.split_once(']')?;
    let is_number = (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some((Keyword::Str, rest.trim_start()))
}

/// A string in quotes.
fn string(found: &Found<'_>, at: usize, quoted: &str) -> Result<String, DocumentError> {
    let wrong = || found.syntax(at, "expected one string in double quotes");
    let inner =
        quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(wrong)?;
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Err(wrong()),
            '\\' => text.push(match chars.next().ok_or_else(wrong)? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                'a' => '\u{7}',
                'b' => '\u{8}',
                'v' => '\u{B}',
                'f' => '\u{C}',
                'x' => numbered(&mut chars, 16, 2, 0).ok_or_else(wrong)?,
                c @ '0'..='7' => {
                    let first = c.to_digit(8).unwrap_or_default();
                    numbered(&mut chars, 8, 2, first).ok_or_else(wrong)?
                }
                other => other,
            }),
            c => text.push(c),
        }
    }
    Ok(text)
}

/// The character of `\033` or `\x1b`, of whose digits this reads so many at most.
fn numbered(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    radix: u32,
    n_digits: usize,
    first: u32,
) -> Option<char> {
    let mut value = first;
    for _ in 0..n_digits {
        let Some(digit) = chars.next_if(|c| c.is_digit(radix)) else { break };
        value = value * radix + digit.to_digit(radix)?;
    }
    u8::try_from(value).ok().map(char::from)
}

fn finish(
    found: &mut Found<'_>,
    draft: &Draft,
    overwrite: bool,
) -> Result<Option<Entry>, DocumentError> {
    let field = |keyword: Keyword| draft.fields.iter().find(move |field| field.keyword == keyword);
    let Some(first) = draft.fields.first() else { return Ok(None) };
    let Some(id) = field(Keyword::Id) else {
        return Err(found.syntax(first.at, "an entry without msgid"));
    };
    let Some(msgstr) = field(Keyword::Str) else {
        return Err(found.syntax(id.at, "msgid without msgstr"));
    };
    let mut entry = Entry {
        units: Vec::new(),
        texts: Vec::new(),
        kept: Vec::new(),
        msgstr: msgstr.at..draft.end,
        flags: draft.flags.clone(),
        previous: draft.previous.clone(),
        start: first.at,
        is_header: id.text.is_empty() && field(Keyword::Context).is_none(),
    };
    let strings = draft.fields.iter().filter(|field| field.keyword == Keyword::Str);
    let is_done =
        strings.clone().count() > 0 && strings.clone().all(|field| !field.text.is_empty());
    let is_fuzzy = entry.flag_names(found.source).contains(&"fuzzy");
    // msgstr must be the last of the fields, or its range would cover others.
    let is_last = draft
        .fields
        .iter()
        .rev()
        .skip_while(|f| f.keyword == Keyword::Str)
        .all(|f| f.keyword != Keyword::Str);
    if entry.is_header {
        return Ok(Some(entry));
    }
    let texts = [Some(id), field(Keyword::Plural)].into_iter().flatten();
    let has_words = texts.clone().all(|field| field.text.contains(char::is_alphabetic));
    if (is_done && !is_fuzzy && !overwrite) || !has_words || !is_last {
        return Ok(None);
    }
    if !is_fuzzy && !overwrite {
        entry.kept = strings.map(|field| field.text.clone()).collect();
    }
    let context = context(field(Keyword::Context), &draft.comments);
    for text in texts {
        entry.units.push(found.push_unit(text.text.trim(), context.clone(), text.at)?);
        entry.texts.push(text.text.clone());
    }
    Ok(Some(entry))
}

fn context(msgctxt: Option<&Field>, comments: &[String]) -> Option<String> {
    let parts = msgctxt.map(|field| field.text.as_str()).into_iter();
    let parts: Vec<&str> = parts.chain(comments.iter().map(String::as_str)).collect();
    let context = parts.join("\n");
    Some(context.trim().to_owned()).filter(|context| !context.is_empty())
}
