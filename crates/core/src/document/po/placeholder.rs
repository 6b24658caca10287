//! Placeholders of format strings: what a program that reads a translation will fill in.

/// How many placeholders one text has and the other has not, or has at another place where the place
/// says which argument is meant.
pub(super) fn differences(source: &str, translation: &str) -> usize {
    let (mut wanted, mut found) = (placeholders(source), placeholders(translation));
    let is_named = |p: &&str| p.contains(['$', '(']) || p.starts_with('{') && p.len() > 2;
    if wanted.iter().all(is_named) {
        wanted.sort_unstable();
        found.sort_unstable();
    }
    let n_same = wanted.iter().zip(&found).filter(|(wanted, found)| wanted == found).count();
    wanted.len().max(found.len()) - n_same
}

/// `%d`, `%1$s`, `%(name)s`, `%-5.2lf`, `{}`, `{name}`, `${x}`; not `%%`.
fn placeholders(text: &str) -> Vec<&str> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(next) = text[at..].find(['%', '{']) {
        at += next;
        let rest = &text[at..];
        if rest.starts_with("%%") {
            at += 2;
            continue;
        }
        let len = if rest.starts_with('%') { printf(rest) } else { braces(rest) };
        if let Some(len) = len {
            found.push(&rest[..len]);
        }
        at += len.unwrap_or(1);
    }
    found
}

fn printf(rest: &str) -> Option<usize> {
    let mut len = 1;
    if rest[1..].starts_with('(') {
        len = rest.find(')')? + 1;
    }
    let is_modifier = |byte: &u8| byte.is_ascii_digit() || b"$+-#.*' hlLqjzt".contains(byte);
    let n = rest.bytes().skip(len).take(24).take_while(is_modifier).count();
    let is_conversion = |byte: u8| b"diouxXeEfFgGaAcsSpCn@".contains(&byte);
    rest.as_bytes().get(len + n).copied().filter(|byte| is_conversion(*byte))?;
    // `50 % of` is none: a blank is a flag that nobody uses before a letter of a word.
    let is_word = rest[len..len + n].contains(' ')
        && rest.as_bytes().get(len + n + 1).is_some_and(u8::is_ascii_alphabetic);
    (!is_word).then_some(len + n + 1)
}

fn braces(rest: &str) -> Option<usize> {
    let end = rest.find('}')?;
    let is_name = |c: char| c.is_alphanumeric() || "_.:!-[]+#<>^$%=,".contains(c);
    (rest[1..end].chars().all(is_name) && end <= 64).then_some(end + 1)
}
