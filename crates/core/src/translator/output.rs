//! What is taken away from a model's answer before anyone sees it.

/// Longest name of a special token.
const SPECIAL_CHARS_MAX: usize = 48;

/// Trims, and removes special tokens that leaked into the text, unless `source` holds the same ones.
///
/// Tokens of this model family leak now and then, in both bracket styles, sometimes with a bar of
/// half width or without the angle brackets: `<｜hy_place▁holder▁no▁2｜>`, `<|eos|>`, `｜hy_User｜`.
pub(super) fn clean(text: &str, source: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c == '<' || is_bar(c)) {
        cleaned.push_str(&rest[..start]);
        rest = &rest[start..];
        match special_token(rest).filter(|token| !source.contains(token)) {
            Some(token) => rest = &rest[token.len()..],
            None => {
                let first = rest.chars().next().map_or(1, char::len_utf8);
                cleaned.push_str(&rest[..first]);
                rest = &rest[first..];
            }
        }
    }
    cleaned.push_str(rest);
    cleaned.trim().to_owned()
}

/// The special token at the very start of `text`.
fn special_token(text: &str) -> Option<&str> {
    let bracketed = text.starts_with('<');
    let inner = text.strip_prefix('<').unwrap_or(text);
    let bar = inner.chars().next().filter(|c| is_bar(*c))?;
    let name_on = &inner[bar.len_utf8()..];
    let (length, end_bar) =
        name_on.char_indices().take(SPECIAL_CHARS_MAX).find(|(_, c)| is_bar(*c))?;
    let name = &name_on[..length];
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "_▁".contains(c));
    // Without angle brackets only the names that nothing else has.
    if !is_name || !(bracketed || name.starts_with("hy_")) {
        return None;
    }
    let after = &name_on[length + end_bar.len_utf8()..];
    let closed = usize::from(after.starts_with('>'));
    if bracketed && closed == 0 {
        return None;
    }
    Some(&text[..text.len() - after.len() + closed])
}

/// ASCII, full width (the model's own) and the half-width form some decoders turn it into.
fn is_bar(c: char) -> bool {
    matches!(c, '|' | '｜' | '\u{FF60}')
}
