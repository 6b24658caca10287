//! Laying text out in lines: how wide it is, where it may be broken, and balanced lines.

use super::inline::mark_at;

/// True for characters that take two columns and between which lines may be broken: Chinese, Japanese,
/// Korean syllables, full-width forms (Unicode Standard Annex 11, simplified to blocks).
pub(super) fn is_wide(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x115F | 0x2E80..=0x303E | 0x3041..=0x33FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF
        | 0xA000..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6 | 0x1F300..=0x1FAFF | 0x2_0000..=0x3_FFFF)
}

/// Korean is wide and breaks at spaces only.
fn breaks_anywhere(c: char) -> bool {
    is_wide(c) && !matches!(u32::from(c), 0x1100..=0x115F | 0xAC00..=0xD7A3)
}

/// Marks that no line begins with.
const NEVER_FIRST: &str =
    "。，、．：；！？）」』】》〉〕…‥ー～・々ぁぃぅぇぉっゃゅょァィゥェォッャュョ%,.!?:;)]}”’»";
/// Marks that no line ends with.
const NEVER_LAST: &str = "（「『【《〈〔([{“‘«";

/// Columns of `text`; marks of tags take none.
pub(super) fn width(text: &str) -> usize {
    let (mut at, mut columns) = (0, 0);
    while let Some(c) = text[at..].chars().next() {
        if let Some((_, len)) = mark_at(&text[at..]) {
            at += len;
            continue;
        }
        columns += char_width(c);
        at += c.len_utf8();
    }
    columns
}

fn char_width(c: char) -> usize {
    let is_combining = matches!(u32::from(c),
        0x0300..=0x036F | 0x0591..=0x05BD | 0x064B..=0x065F | 0x0E31 | 0x0E34..=0x0E3A
        | 0x0E47..=0x0E4E | 0x200B..=0x200F | 0x20D0..=0x20F0 | 0xFE00..=0xFE0F);
    if is_combining { 0 } else { 1 + usize::from(is_wide(c)) }
}

/// What stays together on a line.
struct Atom {
    text: String,
    columns: usize,
    /// Columns of the space before it, unless it begins a line.
    gap: usize,
}

/// Lines of at most `columns`, but for what cannot be broken.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    greedy(&atoms(text), columns)
}

/// The fewest lines, at most `lines_max`, that hold `text` in `columns`; as even as can be. A text that
/// does not fit makes longer lines, not more of them.
pub(super) fn balance(text: &str, lines_max: usize, columns: usize) -> Vec<String> {
    let atoms = atoms(text);
    let total: usize = atoms.iter().map(|atom| atom.columns + atom.gap).sum();
    let n_wanted = greedy(&atoms, columns).len().clamp(1, lines_max.max(1));
    // The narrowest lines that do not make more of them.
    let (mut narrow, mut wide) = (0, total.max(1));
    while narrow + 1 < wide {
        let middle = usize::midpoint(narrow, wide);
        if greedy(&atoms, middle).len() <= n_wanted { wide = middle } else { narrow = middle }
    }
    greedy(&atoms, wide)
}

fn greedy(atoms: &[Atom], columns: usize) -> Vec<String> {
    let (mut lines, mut used) = (Vec::new(), 0);
    for atom in atoms {
        let fits = used + atom.gap + atom.columns <= columns;
        match lines.last_mut().filter(|_| fits) {
            Some(line) => {
                let line: &mut String = line;
                line.push_str(if atom.gap > 0 { " " } else { "" });
                line.push_str(&atom.text);
                used += atom.gap + atom.columns;
            }
            None => {
                lines.push(atom.text.clone());
                used = atom.columns;
            }
        }
    }
    lines
}

fn atoms(text: &str) -> Vec<Atom> {
    let mut atoms: Vec<Atom> = Vec::new();
    for word in text.split([' ', '\n', '\r', '\t']).filter(|word| !word.is_empty()) {
        let mut gap = usize::from(!atoms.is_empty());
        let mut rest = word;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(first_break(rest));
            rest = behind;
            match atoms.last_mut().filter(|_| gap > 0 && begins_dialogue(piece)) {
                Some(Atom { text, columns, .. }) => {
                    *columns += gap + width(piece);
                    text.push(' ');
                    text.push_str(piece);
                }
                None => atoms.push(Atom { text: piece.to_owned(), columns: width(piece), gap }),
            }
            gap = 0;
        }
    }
    atoms
}

/// A dash at the start of a line says that another speaks.
fn begins_dialogue(word: &str) -> bool {
    word.starts_with(['-', '–', '—'])
}

/// Where the first line break inside of a word may be, or its end.
fn first_break(word: &str) -> usize {
    let mut before: Option<char> = None;
    let mut at = 0;
    while let Some(c) = word[at..].chars().next() {
        if let Some((piece, len)) = mark_at(&word[at..]) {
            let is_break = before.is_some_and(breaks_anywhere)
                && matches!(piece, super::inline::Piece::Open(_))
                && word[at + len..].chars().next().is_some_and(breaks_anywhere);
            if is_break {
                return at;
            }
            at += len;
            continue;
        }
        let is_break = before.is_some_and(|before| {
            (breaks_anywhere(before) || breaks_anywhere(c))
                && !NEVER_FIRST.contains(c)
                && !NEVER_LAST.contains(before)
        });
        if is_break {
            return at;
        }
        before = Some(c);
        at += c.len_utf8();
    }
    word.len()
}
