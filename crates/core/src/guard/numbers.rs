//! Whether the numbers of a text are in its translation.
//!
//! Digits of any script count; how they are grouped and where the decimal sign stands does not, since
//! that is the language's business. Number words are not read, except Chinese numerals of the answer.
//! What a translation may well write otherwise is not missed: numbers up to ten, months, hours of the
//! other half of the day, round numbers with a word for their zeros.

use std::collections::HashSet;

/// Up to this, a number is often a word.
pub const WORD_MAX: u64 = 10;
/// Numbers that are named; more are only counted.
pub const SHOWN_MAX: usize = 5;
/// Longer numbers are described, not shown: they may be of a telephone.
pub const SHOWN_DIGITS_MAX: usize = 6;
/// Groups of digits of one number that are put together.
const GROUPS_MAX: usize = 8;

/// Groups of digits with nothing but separators between them, such as `1.234,50`.
#[derive(Debug, Default)]
struct Number {
    /// In ASCII, zeros in front taken away.
    groups: Vec<String>,
    shown: String,
    /// The character behind it.
    next: Option<char>,
    /// The character in front of it.
    before: Option<char>,
}

/// The numbers of `text` that `answer` lacks, as they are written; long ones described.
pub fn missing(text: &str, answer: &str) -> Vec<String> {
    let (of_text, of_answer) = (numbers(text), numbers(answer));
    let mut known: HashSet<String> = of_answer.iter().flat_map(spellings).collect();
    known.extend(han_numbers(answer));
    let is_time = is_about_time(text);
    let has_scale = SCALES.iter().any(|word| text.contains(word) || answer.contains(word));
    let in_text: HashSet<String> =
        of_text.iter().flat_map(spellings).chain(han_numbers(text)).collect();
    // One that the text does not have may stand for a small one.
    let has_other = of_answer.iter().any(|n| !spellings(n).any(|s| in_text.contains(&s)));
    let is_there = |digits: &str| {
        known.contains(digits)
            || digits.parse::<u64>().is_ok_and(|n| {
                (n <= WORD_MAX && !has_other)
                    || (is_time
                        && n <= 24
                        && (known.contains(&(n + 12).to_string())
                            || n >= 12 && known.contains(&(n - 12).to_string())))
            })
            || is_round(digits, &known, has_scale)
    };
    let mut lacking = Vec::new();
    for number in &of_text {
        let is_date = number.is_date();
        let is_month = |group: &String| is_date && group.parse::<u64>().is_ok_and(|n| n <= 12);
        let whole = number.groups.concat();
        let is_found = is_there(whole.trim_start_matches('0'))
            || number.groups.iter().all(|group| is_month(group) || is_there(group));
        if !is_found && !lacking.contains(&number.shown) {
            lacking.push(number.shown.clone());
        }
    }
    lacking.into_iter().map(described).collect()
}

/// True when hours may be counted from noon in one language and from midnight in the other.
fn is_about_time(text: &str) -> bool {
    const WORDS: &[&str] =
        &["am", "pm", "a.m", "p.m", "o'clock", "o’clock", "uhr", "h", "heures", "horas"];
    let lower = text.to_lowercase();
    let mut words =
        lower.split_whitespace().map(|word| word.trim_matches(|c: char| ".,!?;".contains(c)));
    let is_one =
        |word: &str| WORDS.contains(&word.trim_start_matches(|c: char| c.is_ascii_digit()));
    text.contains([':', '時', '时', '시', '点', '點']) || words.any(is_one)
}

fn described(shown: String) -> String {
    let n_digits = shown.chars().filter(|c| digit(*c).is_some()).count();
    if n_digits > SHOWN_DIGITS_MAX { format!("a number of {n_digits} digits") } else { shown }
}

impl Number {
    /// Day, month and year, or a month with its sign; months are words as often as not.
    fn is_date(&self) -> bool {
        let is_year = |group: &String| group.len() == 4;
        let of_three = self.groups.len() == 3 && (self.groups.iter().any(is_year));
        of_three
            || self.next == Some('月')
            || self.next == Some('월')
            || matches!(self.next, Some('/' | '-'))
            || matches!(self.before, Some('/' | '-'))
    }
}

/// Its groups, alone and put together with their neighbours.
fn spellings(number: &Number) -> impl Iterator<Item = String> + '_ {
    let groups = &number.groups;
    let from = move |start: usize| {
        let ends = start + 1..=groups.len().min(start + GROUPS_MAX);
        ends.map(move |end| plain(&groups[start..end].concat()))
    };
    (0..groups.len()).flat_map(from)
}

/// Without zeros in front.
fn plain(digits: &str) -> String {
    let short = digits.trim_start_matches('0');
    if short.is_empty() { "0".to_owned() } else { short.to_owned() }
}

/// Words for zeros, or what they begin with.
const SCALES: &[&str] = &[
    "万",
    "萬",
    "亿",
    "億",
    "만",
    "억",
    "illi",
    "иллион",
    "иллиард",
    "लाख",
    "करोड़",
    "ล้าน",
    "مليون",
    "میلیون",
];

/// `10000` is `1万`, 3.5 million is `350万` or 3500000.
fn is_round(digits: &str, known: &HashSet<String>, has_scale: bool) -> bool {
    let short = |digits: &str| digits.trim_end_matches('0').to_owned();
    let head = short(digits);
    let is_same = |other: &String| {
        (has_scale || digits.len() >= 4 || other.len() >= 4)
            && !head.is_empty()
            && short(other) == head
    };
    known.iter().any(is_same)
}

fn numbers(text: &str) -> Vec<Number> {
    let (mut found, mut open): (Vec<Number>, Option<Number>) = (Vec::new(), None);
    let chars: Vec<char> = text.chars().collect();
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let is_followed = chars.get(at + 1).is_some_and(|next| digit(*next).is_some());
        match (digit(*c), &mut open) {
            (Some(value), Some(number)) => {
                number.shown.push(*c);
                if before.is_some_and(is_separator) {
                    number.groups.push(String::new());
                }
                if let Some(group) = number.groups.last_mut() {
                    group.push(char::from(b'0' + value));
                }
            }
            // A digit behind a Latin letter belongs to a code.
            (Some(_), None) if before.is_some_and(|c| is_code(&chars, at, c)) => {}
            (Some(value), None) => {
                let groups = vec![char::from(b'0' + value).to_string()];
                open = Some(Number { groups, shown: c.to_string(), next: None, before });
            }
            (None, Some(number)) if is_separator(*c) && is_followed => number.shown.push(*c),
            (None, Some(number)) => {
                number.next = Some(*c);
                found.extend(open.take());
            }
            (None, None) => {}
        }
    }
    found.extend(open);
    for number in &mut found {
        number.groups.iter_mut().for_each(|group| *group = plain(group));
    }
    found
}

/// True when the digit at `at` continues a code such as `A12` or `XR-5`.
fn is_code(chars: &[char], at: usize, before: char) -> bool {
    let is_latin = |c: char| c.is_ascii_alphabetic();
    let is_after_hyphen = before == '-' && at >= 2 && chars[at - 2].is_ascii_uppercase();
    let mut back = chars[..at].iter().rev().skip_while(|c| c.is_ascii_digit());
    is_latin(before)
        || is_after_hyphen
        || (before.is_ascii_digit() && back.next().is_some_and(|c| is_latin(*c)))
}

fn is_separator(c: char) -> bool {
    matches!(c, '.' | ',' | '\'' | '’' | '٫' | '٬' | '，' | '．' | '\u{A0}' | '\u{202F}')
}

/// The value of a decimal digit of any of the scripts that the languages use.
fn digit(c: char) -> Option<u8> {
    /// The zeros; nine digits follow each.
    const ZEROS: &[u32] = &[
        0x30, 0x660, 0x6F0, 0x966, 0x9E6, 0xAE6, 0xBE6, 0xC66, 0xE50, 0xF20, 0x1040, 0x17E0,
        0x1810, 0xFF10,
    ];
    let value =
        ZEROS.iter().find_map(|zero| u32::from(c).checked_sub(*zero).filter(|n| *n < 10))?;
    u8::try_from(value).ok()
}

/// Values of the Chinese numerals of a text; digits in a row as well as with their places.
fn han_numbers(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    let is_numeral = |c: char| unit(c).is_some() || DIGITS.contains(c);
    for run in text.split(|c: char| !is_numeral(c)).filter(|run| !run.is_empty()) {
        if run.chars().all(|c| DIGITS.contains(c)) {
            values.push(plain(
                &run.chars().filter_map(han_digit).map(|n| n.to_string()).collect::<String>(),
            ));
        }
        let (mut total, mut part, mut digit) = (0u64, 0u64, 0u64);
        for c in run.chars() {
            match (han_digit(c), unit(c)) {
                (Some(value), _) => digit = value,
                (_, Some(unit)) if unit < 10_000 => {
                    part = part.saturating_add(digit.max(1).saturating_mul(unit));
                    digit = 0;
                }
                (_, Some(unit)) => {
                    let all = total.saturating_add(part).saturating_add(digit).max(1);
                    (total, part, digit) = (all.saturating_mul(unit), 0, 0);
                }
                _ => {}
            }
        }
        values.push(total.saturating_add(part).saturating_add(digit).to_string());
    }
    values
}

const DIGITS: &str = "零〇一二两兩三四五六七八九";

fn han_digit(c: char) -> Option<u64> {
    Some(match c {
        '零' | '〇' => 0,
        '一' => 1,
        '二' | '两' | '兩' => 2,
        '三' => 3,
        '四' => 4,
        '五' => 5,
        '六' => 6,
        '七' => 7,
        '八' => 8,
        '九' => 9,
        _ => return None,
    })
}

fn unit(c: char) -> Option<u64> {
    Some(match c {
        '十' => 10,
        '百' => 100,
        '千' => 1000,
        '万' | '萬' => 10_000,
        '亿' | '億' => 100_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_found_however_they_are_written() {
        for (text, answer) in [
            ("It costs 1,234.50 euros.", "Es kostet 1.234,50 Euro."),
            ("It costs 1,234.50 euros.", "Il coûte 1\u{202F}234,50 euros."),
            ("Room 12 on floor 3", "Zimmer 12 im dritten Stock"),
            ("Room 12", "الغرفة ١٢"),
            ("Room 12", "कमरा १२"),
            ("Room 12", "ห้อง ๑๒"),
            ("Room 12", "房间１２"),
            ("Room 12", "十二号房间"),
            ("الغرفة ١٢٣", "Room 123"),
            ("10,000 people", "1万人"),
            ("10,000 people", "一万人"),
            ("2.5 million", "2500000"),
            ("2,500,000", "250万"),
            ("At 3 pm", "Um 15 Uhr"),
            ("Um 15:30 Uhr", "at 3:30 p.m."),
            ("2024-11-03", "3. November 2024"),
            ("3.11.2024", "3 November 2024"),
            ("11月23日", "November 23"),
            ("10 robots", "zehn Roboter"),
            ("A12 and XR-500", "A12 und XR-500"),
            ("10 20 30", "10, 20, 30"),
            ("007", "7"),
        ] {
            assert_eq!(missing(text, answer), [""; 0], "{text} {answer}");
        }
    }

    #[test]
    fn numbers_that_are_gone_or_others_are_missed() {
        for (text, answer, expected) in [
            ("Take 12 tablets.", "Nehmen Sie Tabletten.", "12"),
            ("Take 12 tablets.", "Nehmen Sie 21 Tabletten.", "12"),
            ("Floor 3", "5. Stock", "3"),
            ("It costs 1,234.50.", "Es kostet 1.234.", "1,234.50"),
            ("Room 217", "Zimmer 17", "217"),
            ("Call 0170 1234567", "Rufen Sie 0170 an", "a number of 7 digits"),
        ] {
            assert_eq!(missing(text, answer), [expected], "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_text_has_its_own_numbers(text in "([0-9٠-٩.,: ]|[一万亿十]|.){0,40}", other in ".{0,20}") {
            prop_assert_eq!(missing(&text, &text), Vec::<String>::new());
            missing(&text, &other);
        }
    }
}
