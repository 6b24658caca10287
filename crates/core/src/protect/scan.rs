//! Finding what must not be translated.
//!
//! Hand-written matchers, tried in order at each place: a grammar of all these formats does not exist,
//! and each matcher is a few lines that can be read.

use unicode_segmentation::UnicodeSegmentation;

use super::PartKind;

/// Longest tag, placeholder or link. Bytes.
const PART_BYTES_MAX: usize = 2048;
/// Longest run of emoji. Characters.
const EMOJI_CHARS_MAX: usize = 64;
/// Longest code span. Bytes.
const CODE_BYTES_MAX: usize = 8192;

/// Length of the part at the start of a text, given the character before it.
type Matcher = fn(&str, Option<char>) -> Option<usize>;

/// A tag by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag<'a> {
    Open(&'a str),
    Close(&'a str),
}

/// The part that begins at `at`, and its length in bytes, never 0.
pub(super) fn part_at(text: &str, at: usize, kinds: &[PartKind]) -> Option<(PartKind, usize)> {
    let rest = &text[at..];
    let before = text[..at].chars().next_back();
    let matchers: [(PartKind, Matcher); 8] = [
        (PartKind::Code, code),
        (PartKind::Markup, markup),
        (PartKind::Placeholder, placeholder),
        (PartKind::Url, url),
        (PartKind::Email, email),
        (PartKind::Markdown, markdown),
        (PartKind::Quantity, quantity),
        (PartKind::Emoji, emoji),
    ];
    let wanted = matchers.into_iter().filter(|(kind, _)| kinds.contains(kind));
    let mut found = wanted.filter_map(|(kind, matcher)| Some((kind, matcher(rest, before)?)));
    found.find(|(_, len)| *len > 0)
}

/// Reads a part that is markup; `None` for comments, entities and elements without content.
pub(super) fn tag(markup: &str) -> Option<Tag<'_>> {
    let inner = markup.strip_prefix('<')?.strip_suffix('>')?;
    let name = |inner: &'_ str| inner.find(|c: char| !is_name(c)).unwrap_or(inner.len());
    if let Some(closing) = inner.strip_prefix('/') {
        return Some(Tag::Close(&closing[..name(closing)]));
    }
    let is_open = inner.starts_with(|c: char| c.is_ascii_alphabetic()) && !inner.ends_with('/');
    is_open.then(|| Tag::Open(&inner[..name(inner)]))
}

/// `` `code` `` with any number of backticks, the same on both sides.
fn code(rest: &str, before: Option<char>) -> Option<usize> {
    if before == Some('`') {
        return None;
    }
    let ticks = leading(rest, |c| c == '`');
    let mut at = ticks;
    while ticks > 0 && at < rest.len().min(CODE_BYTES_MAX) {
        let run = leading(&rest[at..], |c| c == '`');
        if run == ticks {
            return Some(at + run);
        }
        at += run.max(rest[at..].chars().next().map_or(1, char::len_utf8));
    }
    None
}

/// A tag, a comment, or an entity.
fn markup(rest: &str, _: Option<char>) -> Option<usize> {
    if rest.starts_with("<!--") {
        let ends = rest.match_indices('>').map(|(at, _)| at + 1);
        let mut ends = ends.take_while(|end| *end <= PART_BYTES_MAX);
        return ends.find(|end| *end >= 7 && rest[..*end].ends_with("-->"));
    }
    if let Some(entity) = rest.strip_prefix('&') {
        let len = leading(entity, |c| c.is_ascii_alphanumeric() || c == '#');
        return (len > 0 && len <= 32 && entity[len..].starts_with(';')).then_some(len + 2);
    }
    let inner = rest.strip_prefix('<')?;
    let name = inner.strip_prefix('/').unwrap_or(inner);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let after = name[leading(name, is_name)..].chars().next()?;
    if !(after == '>' || after == '/' || after.is_ascii_whitespace()) {
        return None;
    }
    let mut quote = None;
    for (at, c) in rest.char_indices().take_while(|(at, _)| *at < PART_BYTES_MAX).skip(1) {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '>') => return Some(at + 1),
            (None, '<') => return None,
            (None, _) => {}
        }
    }
    None
}

/// `${x}`, `{{x}}`, `{x}`, `%s` and its relatives.
fn placeholder(rest: &str, before: Option<char>) -> Option<usize> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || " _.:,!-[]+#<>^$%=()|'?".contains(c);
    let braces = |open: &str, close: &str| {
        let inner = rest.strip_prefix(open)?;
        let len = leading(inner, is_inside);
        let is_plain = inner.starts_with(|c: char| c.is_ascii_alphanumeric() || "_ }".contains(c));
        let fits = len <= 64 && is_plain && inner[len..].starts_with(close);
        fits.then_some(open.len() + len + close.len())
    };
    braces("${", "}")
        .or_else(|| braces("{{", "}}"))
        .or_else(|| braces("{", "}"))
        .or_else(|| printf(rest, before))
}

fn printf(rest: &str, before: Option<char>) -> Option<usize> {
    let spec = rest.strip_prefix('%').filter(|_| !before.is_some_and(|c| c.is_ascii_digit()))?;
    let mut len = 0;
    if let Some(name) = spec.strip_prefix('(') {
        let name_len = leading(name, |c| is_name(c) || c == '.');
        len = name[name_len..].strip_prefix(')').map(|_| name_len + 2)?;
    }
    len += leading(&spec[len..], |c| c.is_ascii_digit() || "$+-#.*".contains(c));
    len += leading(&spec[len..], |c| "hlLzjt".contains(c)).min(2);
    let mut behind = spec[len..].chars();
    let is_conversion = behind.next().is_some_and(|c| "sdifFgGeExXucop@".contains(c));
    let ends = !behind.next().is_some_and(char::is_alphanumeric);
    (len <= 64 && is_conversion && ends).then_some(len + 2)
}

/// With a scheme, or beginning with `www.`; ASCII only, so that Chinese text behind it is not
/// taken along.
fn url(rest: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let scheme = leading_max(rest, 24, |c| c.is_ascii_alphanumeric() || "+.-".contains(c));
    let is_link = rest.starts_with("www.")
        || rest.starts_with("mailto:")
        || (rest.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme <= 20
            && rest[scheme..].starts_with("://"));
    if !is_link {
        return None;
    }
    let is_part = |c: char| c.is_ascii_graphic() && !"<>\"`{}|\\^".contains(c);
    let len = leading(rest, is_part).min(PART_BYTES_MAX);
    let mut link = rest[..len].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '_']);
    while link.ends_with(')') && link.matches(')').count() > link.matches('(').count() {
        link = link[..link.len() - 1].trim_end_matches(['.', ',', ';', ':', '!', '?']);
    }
    (link.len() > 4 && !link.ends_with("://")).then_some(link.len())
}

fn email(rest: &str, before: Option<char>) -> Option<usize> {
    let is_local = |c: char| c.is_ascii_alphanumeric() || "._%+-".contains(c);
    if before.is_some_and(is_local) || !rest.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let local = leading(rest, is_local);
    let domain = rest[local..].strip_prefix('@')?;
    let len = leading(domain, |c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    let domain = domain[..len].trim_end_matches(['.', '-']);
    let top = domain.rsplit('.').next().filter(|top| top.len() < domain.len())?;
    let is_domain = top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic());
    (is_domain && local <= 64 && domain.len() <= 255).then_some(local + 1 + domain.len())
}

/// Link targets, emphasis, and what begins a line.
fn markdown(rest: &str, before: Option<char>) -> Option<usize> {
    if let Some(target) = rest.strip_prefix("](") {
        let len = leading(target, |c| !c.is_whitespace() && c != ')' && c != '(');
        return (len <= PART_BYTES_MAX && target[len..].starts_with(')')).then_some(len + 3);
    }
    if let Some(len) = line_mark(rest).filter(|_| before.is_none_or(|c| c == '\n')) {
        return Some(len);
    }
    let mark = rest.chars().next().filter(|c| "*_~".contains(*c))?;
    let run = leading(rest, |c| c == mark);
    let next = rest[run..].chars().next();
    let is_text = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace());
    let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    // `2*3` and `snake_case` are no emphasis: it has a word on one side only.
    let is_emphasis = match run {
        1 => mark != '~' && is_word(before) != is_word(next),
        2 | 3 => is_text(before) || is_text(next),
        _ => false,
    };
    (is_emphasis && before != Some(mark)).then_some(run)
}

/// `## `, `> `, `- `, `1. `
fn line_mark(rest: &str) -> Option<usize> {
    let hashes = leading(rest, |c| c == '#');
    let digits = leading(rest, |c| c.is_ascii_digit());
    let mark = match rest.chars().next()? {
        '#' if hashes <= 6 => hashes,
        '>' | '-' | '*' | '+' => 1,
        '0'..='9' if digits <= 4 && rest[digits..].starts_with(['.', ')']) => digits + 1,
        _ => return None,
    };
    let spaces = leading(&rest[mark..], |c| c == ' ');
    (spaces > 0).then_some(mark + spaces)
}

/// Units of quantities, as they are written; a number alone is left to the model, which must
/// decline the noun behind it.
const UNITS: &[&str] = &[
    "mm", "cm", "dm", "m", "km", "µm", "nm", "mm²", "cm²", "m²", "km²", "m³", "ml", "l", "L", "mL",
    "mg", "g", "kg", "t", "ms", "s", "min", "h", "Hz", "kHz", "MHz", "GHz", "V", "mV", "kV", "A",
    "mA", "mAh", "Ah", "W", "kW", "MW", "Wh", "kWh", "J", "kJ", "N", "Nm", "Pa", "hPa", "kPa",
    "bar", "rpm", "m/s", "km/h", "°C", "°F", "°", "%", "K", "B", "kB", "KB", "MB", "GB", "TB",
    "KiB", "MiB", "GiB", "Mbit/s", "Gbit/s", "dB", "px", "dpi", "fps", "Ω", "kΩ", "€", "$", "£",
    "¥",
];

/// `3.5 kg`, `20°C`, `€ 5`
fn quantity(rest: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == ',') {
        return None;
    }
    let currency = rest.chars().next().filter(|c| "€$£¥".contains(*c)).map_or(0, char::len_utf8);
    let space = if currency > 0 { leading(&rest[currency..], |c| c == ' ').min(1) } else { 0 };
    let start = currency + space;
    let number = &rest[start..];
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = number[..leading(number, |c| c.is_ascii_digit() || c == '.' || c == ',')]
        .trim_end_matches(['.', ','])
        .len();
    if digits > 32 {
        return None;
    }
    if currency > 0 {
        return Some(start + digits);
    }
    let behind = &number[digits..];
    let gap = behind.chars().next().filter(|c| matches!(c, ' ' | '\u{a0}' | '\u{202f}'));
    let gap = gap.map_or(0, char::len_utf8);
    let unit = &behind[gap..];
    let ends = |unit_len: usize| {
        !unit[unit_len..].starts_with(|c: char| c.is_alphanumeric() || c == '/' || c == '°')
    };
    let fitting = UNITS.iter().filter(|known| unit.starts_with(**known) && ends(known.len()));
    fitting.map(|known| known.len()).max().map(|len| digits + gap + len)
}

/// A run of emoji.
fn emoji(rest: &str, _: Option<char>) -> Option<usize> {
    if !begins_emoji(rest) {
        return None;
    }
    // Graphemes have no bound of their own: a megabyte of accents is one.
    let window = &rest[..leading_max(rest, EMOJI_CHARS_MAX, |_| true)];
    let run = window.graphemes(true).take_while(|grapheme| begins_emoji(grapheme));
    Some(run.map(str::len).sum()).filter(|len| *len > 0)
}

/// A character of the blocks that hold emoji, or any with the emoji variation selector or a keycap.
fn begins_emoji(text: &str) -> bool {
    let mut chars = text.chars();
    let is_in_block =
        |c: char| matches!(u32::from(c), 0x1F000..=0x1FAFF | 0x2600..=0x27BF | 0x2B05..=0x2B55);
    chars.next().is_some_and(is_in_block)
        || chars.next().is_some_and(|c| matches!(c, '\u{FE0F}' | '\u{20E3}'))
}

/// Bytes of what `text` begins with; looks no further than a part may be long.
fn leading(text: &str, is_it: impl Fn(char) -> bool) -> usize {
    leading_max(text, PART_BYTES_MAX, is_it)
}

fn leading_max(text: &str, chars_max: usize, is_it: impl Fn(char) -> bool) -> usize {
    text.chars().take(chars_max).take_while(|c| is_it(*c)).map(char::len_utf8).sum()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == ':'
}
