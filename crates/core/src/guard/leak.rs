//! Special tokens that leaked into an answer.
//!
//! Tokens of these models leak now and then, in both bracket styles, with a bar of half width, without one
//! or both angle brackets, or cut off at the end: `<｜hy_place▁holder▁no▁2｜>`, `<|extra_0|>`, `｜hy_User｜`,
//! `hy_place▁holder▁no▁8`. What the text itself holds has not leaked.

/// Longest name of a special token. Characters.
pub const NAME_CHARS_MAX: usize = 48;

/// Tokens of other vocabularies and wrappers of prompts, as they are.
const LITERAL: &[&str] =
    &["</s>", "<eos>", "<bos>", "<pad>", "<unk>", "<target>", "</target>", "<source>", "</source>"];

/// Names that nothing but a token has, even without angle brackets.
const NAMES: &[&str] = &["endoftext", "startoftext"];

/// Trims, and removes the special tokens that `source` does not hold; and how many there were.
pub fn strip(text: &str, source: &str) -> (String, usize) {
    let (mut cleaned, mut n_leaked) = (text.trim().to_owned(), 0);
    // What stood around a token may be one itself.
    loop {
        let (next, n) = strip_once(&cleaned, source);
        n_leaked += n;
        if n == 0 {
            return (next, n_leaked);
        }
        cleaned = next;
    }
}

fn strip_once(text: &str, source: &str) -> (String, usize) {
    let mut cleaned = String::with_capacity(text.len());
    let (mut rest, mut n) = (text, 0);
    while let Some(start) = rest.find(|c: char| c == '<' || c == 'h' || is_bar(c)) {
        cleaned.push_str(&rest[..start]);
        rest = &rest[start..];
        match token(rest).filter(|token| !source.contains(token)) {
            Some(token) => {
                n += 1;
                rest = &rest[token.len()..];
            }
            None => {
                let first = rest.chars().next().map_or(1, char::len_utf8);
                cleaned.push_str(&rest[..first]);
                rest = &rest[first..];
            }
        }
    }
    cleaned.push_str(rest);
    (cleaned.trim().to_owned(), n)
}

/// The special token at the very start of `text`.
fn token(text: &str) -> Option<&str> {
    let literal = LITERAL.iter().find(|literal| text.starts_with(**literal));
    literal.map(|literal| &text[..literal.len()]).or_else(|| barred(text)).or_else(|| bare(text))
}

/// One with bars: both, or at the end of the text the first.
fn barred(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('<').unwrap_or(text);
    let is_bracketed = inner.len() < text.len();
    let bar = inner.chars().next().filter(|c| is_bar(*c))?;
    let name_on = &inner[bar.len_utf8()..];
    let is_name_char = |c: char| c.is_alphanumeric() || "_▁ ".contains(c);
    let length = name_on.find(|c: char| !is_name_char(c)).unwrap_or(name_on.len());
    let name = &name_on[..length];
    if name.trim().is_empty() || name.chars().nth(NAME_CHARS_MAX).is_some() {
        return None;
    }
    let behind = &name_on[length..];
    if behind.is_empty() {
        return (is_ours(name) && name.starts_with("hy_")).then_some(text);
    }
    let end_bar = behind.chars().next().filter(|c| is_bar(*c))?;
    let after = &behind[end_bar.len_utf8()..];
    let is_closed = after.starts_with('>');
    // Without both angle brackets only the names that nothing else has.
    let is_token = (is_bracketed && is_closed && !name.contains(' ')) || is_ours(name);
    is_token.then(|| &text[..text.len() - after.len() + usize::from(is_closed)])
}

/// One that lost its bars: only the longest name is told from a word.
fn bare(text: &str) -> Option<&str> {
    let behind = text.strip_prefix("hy_place▁holder▁no▁")?;
    let digits = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    (digits > 0).then(|| &text[..text.len() - behind.len() + digits])
}

fn is_ours(name: &str) -> bool {
    let extra = name.strip_prefix("extra_");
    name.starts_with("hy_")
        || NAMES.contains(&name)
        || extra.is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
}

/// ASCII, full width (the model's own) and the half-width form some decoders turn it into.
fn is_bar(c: char) -> bool {
    matches!(c, '|' | '｜' | '\u{FF60}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leaked_special_tokens_are_removed_and_other_text_is_not() {
        for (answer, source, expected) in [
            (" Hallo \n", "", "Hallo"),
            ("Hallo<｜hy_place▁holder▁no▁2｜>", "", "Hallo"),
            ("<|startoftext|>Hallo<|eos|>", "", "Hallo"),
            ("Hallo｜hy_Assistant｜ Welt", "", "Hallo Welt"),
            ("Hallo｜hy_User｜>", "", "Hallo"),
            ("Hallo<｜hy_User｜", "", "Hallo"),
            ("Hallo<\u{FF60}hy_place▁holder▁no▁8\u{FF60}>", "", "Hallo"),
            ("Hallo<｜hy_place holder no 8｜>", "", "Hallo"),
            ("Hallo<｜hy_place▁hol", "", "Hallo"),
            ("Hallo hy_place▁holder▁no▁8", "", "Hallo"),
            ("Hallo<|extra_0|>", "", "Hallo"),
            ("Hallo|extra_4|", "", "Hallo"),
            ("Hallo<|<|eos|>eos|>", "", "Hallo"),
            ("<target>Hallo</target></s>", "", "Hallo"),
            ("a < b | c > d", "", "a < b | c > d"),
            ("|x| <b>fett</b> 文｜字", "", "|x| <b>fett</b> 文｜字"),
            ("| eos | extra | hy |", "", "| eos | extra | hy |"),
            ("Sag <|eos|>", "Say <|eos|>", "Sag <|eos|>"),
            ("Nutze <target>", "Use <target>", "Nutze <target>"),
            ("<|", "", "<|"),
            ("<|x", "", "<|x"),
            ("<||>", "", "<||>"),
        ] {
            assert_eq!(strip(answer, source).0, expected, "{answer}");
        }
        assert_eq!(strip("<|eos|>a<|eos|>", "").1, 2);
    }

    proptest! {
        #[test]
        fn stripping_never_panics_and_is_idempotent(
            parts in prop::collection::vec("<|>|[|｜\u{FF60}]|hy_|extra_0|hy_place▁holder▁no▁2|eos|[ab<>]|.", 0..20),
        ) {
            let text = parts.concat();
            let (once, _) = strip(&text, "");
            prop_assert_eq!(strip(&once, ""), (once.clone(), 0));
        }
    }
}
