//! Answers that repeat the same words without end.
//!
//! A loop is a stretch of the answer with a period: the same unit of 1 to [`UNIT_CHARS_MAX`] characters
//! again and again, whatever its letter case. How often it must come depends on how long it is, since
//! laughter, zeros and reduplicated characters repeat short units and nothing repeats a sentence; and on
//! the text, since a text that repeats itself has a translation that does.

use std::ops::Range;

/// Longest unit that is looked for. Characters.
pub const UNIT_CHARS_MAX: usize = 120;
/// How much of an answer's end is looked at while it grows. Characters.
pub const TAIL_CHARS_MAX: usize = 1024;
/// Most characters of a text or an answer that are looked through; what stands behind is not.
pub const LOOKED_AT_CHARS_MAX: usize = 16_384;

/// A unit, and how often it comes in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// All repetitions. Bytes of the answer.
    pub range: Range<usize>,
    /// Where the first repetition ends, moved to the end of a word. Bytes of the answer.
    pub first_end: usize,
    /// The same place of the last one.
    pub last_end: usize,
    /// Whole repetitions.
    pub count: usize,
}

impl Loop {
    /// The answer with the unit once.
    pub fn cut(&self, answer: &str) -> String {
        let kept = &answer[..self.first_end];
        if answer[self.range.end..].chars().any(char::is_alphanumeric) {
            return format!("{kept}{}", &answer[self.last_end..]).trim().to_owned();
        }
        kept.trim().to_owned()
    }
}

/// What a text repeats by itself, to be reckoned once for an answer that is looked at as it grows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Repeats(usize);

impl Repeats {
    /// The most that anything is repeated in a row in `text`.
    pub fn of(text: &str) -> Self {
        let chars = folded(text, LOOKED_AT_CHARS_MAX);
        let counts = (1..=UNIT_CHARS_MAX).map(|period| {
            let run = longest_run(&chars, period);
            if run.is_empty() { 0 } else { run.len() / period }
        });
        Self(counts.max().unwrap_or_default())
    }

    /// How often a unit must come in a row to be a loop.
    fn limit(self, period: usize) -> usize {
        let usual = match period {
            1 => 32,
            2..=3 => 16,
            4..=10 => 8,
            11..=29 => 5,
            _ => 4,
        };
        // Another language repeats in other portions: half again as often is no loop yet.
        if self.0 < 3 { usual } else { usual.max(self.0 + self.0 / 2 + 2) }
    }
}

/// The loop that a growing answer ends in.
pub fn at_end(answer: &str, repeats: Repeats) -> Option<Loop> {
    // As it would be looked at were this its end.
    let answer = answer.trim_end();
    let tail = tail(answer, TAIL_CHARS_MAX);
    let offset = answer.len() - tail.len();
    let chars = folded(tail, TAIL_CHARS_MAX);
    let found = (1..=UNIT_CHARS_MAX.min(chars.len())).find_map(|period| {
        let equal = (period..chars.len()).rev().take_while(|i| chars[*i].1 == chars[*i - period].1);
        let run = chars.len() - period - equal.count()..chars.len();
        is_loop(&chars, &run, period, repeats).then_some((run, period))
    });
    found.map(|(run, period)| as_loop(tail, &chars, run, period, offset))
}

/// The first loop anywhere in an answer.
pub fn anywhere(answer: &str, repeats: Repeats) -> Option<Loop> {
    let chars = folded(answer, LOOKED_AT_CHARS_MAX);
    let found = (1..=UNIT_CHARS_MAX.min(chars.len())).find_map(|period| {
        let run = longest_run(&chars, period);
        is_loop(&chars, &run, period, repeats).then_some((run, period))
    });
    found.map(|(run, period)| as_loop(answer, &chars, run, period, 0))
}

/// The answer without its loops. Taking one away may bring another to light; each makes it shorter.
pub fn cut(answer: &str, repeats: Repeats) -> String {
    let mut text = answer.to_owned();
    while let Some(found) = anywhere(&text, repeats) {
        let shorter = found.cut(&text);
        if shorter.len() >= text.len() {
            break;
        }
        text = shorter;
    }
    text
}

fn tail(text: &str, chars: usize) -> &str {
    let start = text.char_indices().rev().take(chars).last().map_or(0, |(at, _)| at);
    &text[start..]
}

/// Characters in lower case with their places.
fn folded(text: &str, chars_max: usize) -> Vec<(usize, char)> {
    let fold = |c: char| c.to_lowercase().next().unwrap_or(c);
    text.char_indices().take(chars_max).map(|(at, c)| (at, fold(c))).collect()
}

/// The longest stretch with that period, one unit long at least; empty when there is none.
fn longest_run(chars: &[(usize, char)], period: usize) -> Range<usize> {
    let (mut best, mut start) = (0..0, 0);
    for i in period..chars.len() {
        if chars[i].1 != chars[i - period].1 {
            start = i + 1 - period;
        } else if i + 1 - start > best.len() {
            best = start..i + 1;
        }
    }
    best
}

fn is_loop(chars: &[(usize, char)], run: &Range<usize>, period: usize, repeats: Repeats) -> bool {
    if run.len() / period < repeats.limit(period) {
        return false;
    }
    // Blank space of any length is layout.
    chars[run.start..run.start + period].iter().any(|(_, c)| !c.is_whitespace())
}

fn as_loop(
    text: &str,
    chars: &[(usize, char)],
    run: Range<usize>,
    period: usize,
    offset: usize,
) -> Loop {
    let place = |index: usize| offset + chars.get(index).map_or(text.len(), |(at, _)| *at);
    // The run may begin with letters that are alike by accident: "Links, rechts, rechts, " has the unit
    // "s, recht".
    let end = run.start + period;
    let is_inside = |at: &usize| {
        let is_letter = |at: usize| chars.get(at).is_some_and(|(_, c)| c.is_alphanumeric());
        is_letter(at - 1) && is_letter(*at)
    };
    let end = (end..(end + period).min(run.end)).find(|at| !is_inside(at)).unwrap_or(end);
    Loop {
        range: place(run.start)..place(run.end),
        first_end: place(end),
        last_end: place(end + (run.end - end) / period * period),
        count: run.len() / period,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts, and translations that repeat as they do or as their language does.
    const NO_LOOPS: &[(&str, &str)] = &[
        ("ha ha ha ha", "哈哈哈哈哈哈"),
        ("哈哈哈哈哈哈哈哈哈哈哈哈", "hahahahahahahahahahahaha"),
        ("jajajajajaja", "хахахахахаха"),
        ("No, no, no, no, no!", "Нет, нет, нет, нет, нет!"),
        (
            "Der Zähler steht auf 1000000.",
            "The counter shows 000000 and then 1,000,000,000,000,000.",
        ),
        ("慢慢来，好好休息，高高兴兴。", "Take it slowly, slowly, and rest well."),
        ("Slowly, slowly!", "ช้าๆ ช้าๆ หน่อยนะ ค่อยๆ เดิน"),
        ("very very very very good", "बहुत बहुत बहुत बहुत अच्छा"),
        ("very, very far", "بعيد جدا جدا جدا جدا"),
        ("Wait, wait, wait", "ちょっと待って、待って、待って、待って"),
        ("Hahaha", "ㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋ"),
        ("555", "ฮ่าฮ่าฮ่าฮ่าฮ่าฮ่าฮ่า"),
        ("Left, left, left, left", "שמאלה, שמאלה, שמאלה, שמאלה"),
        ("rabbit rabbit", "வேகம் வேகம் வேகம் வேகம்"),
        ("Stop! Stop! Stop!", "থামো! থামো! থামো! থামো!"),
        (
            "Name: ....................................",
            "Name: .........................................",
        ),
        ("| --- | --- | --- | --- | --- | --- |", "| --- | --- | --- | --- | --- | --- |"),
        (
            "one two three",
            "The robot goes to the kitchen, then to the hall, then to the lab, then back.",
        ),
    ];

    #[test]
    fn what_people_repeat_is_no_loop() {
        for (source, answer) in NO_LOOPS {
            let repeats = Repeats::of(source);
            assert_eq!(anywhere(answer, repeats), None, "{answer}");
            let prefixes = answer.char_indices().map(|(end, _)| &answer[..end]);
            for prefix in prefixes {
                assert_eq!(at_end(prefix, repeats), None, "{prefix}");
            }
        }
        let song = "We will, we will rock you! ".repeat(12);
        let german = "Wir werden, wir werden dich rocken! ".repeat(13);
        assert_eq!(anywhere(&german, Repeats::of(&song)), None);
        let zeros = "0".repeat(60);
        assert_eq!(anywhere(&zeros, Repeats::of(&zeros)), None);
    }

    #[test]
    fn a_loop_is_found_as_it_grows_and_cut_to_its_first_turn() {
        for (head, unit, kept) in [
            ("Die Tür ", "ist offen und ", "Die Tür ist offen und"),
            ("", "我不知道", "我不知道"),
            (
                "",
                "Der Roboter bringt das Tablett in die Küche. ",
                "Der Roboter bringt das Tablett in die Küche.",
            ),
            ("ドアが", "開いています。", "ドアが開いています。"),
            ("문이 ", "열려 있습니다. ", "문이 열려 있습니다."),
            ("Дверь ", "открыта, ", "Дверь открыта,"),
            ("الباب ", "مفتوح ", "الباب مفتوح"),
            ("दरवाज़ा ", "खुला है ", "दरवाज़ा खुला है"),
            ("ประตู", "เปิดอยู่", "ประตูเปิดอยู่"),
            ("הדלת ", "פתוחה ", "הדלת פתוחה"),
            ("", "!", "!"),
            ("A", "a", "A"),
            ("கதவு ", "திறந்துள்ளது ", "கதவு திறந்துள்ளது"),
        ] {
            let looping = head.to_owned() + &unit.repeat(40);
            let repeats = Repeats::of("The door is open.");
            let found = anywhere(&looping, repeats).unwrap_or_else(|| panic!("{looping}"));
            assert_eq!(found.cut(&looping), kept);
            assert_eq!(cut(&looping, repeats), kept);
            // Long before the end.
            let early = (looping.char_indices().map(|(end, _)| &looping[..end]))
                .find(|prefix| at_end(prefix, repeats).is_some());
            let early = early.unwrap_or_else(|| panic!("{looping}"));
            assert!(early.len() <= looping.len() * 9 / 10, "{early}");
            let cut_early = at_end(early, repeats).unwrap().cut(early);
            assert!(kept.starts_with(&cut_early) || cut_early == kept, "{cut_early}");
        }
    }

    #[test]
    fn what_follows_a_loop_is_kept() {
        let answer = format!("Links, {}dann geradeaus.", "rechts, ".repeat(20));
        assert_eq!(cut(&answer, Repeats::default()), "Links, rechts, dann geradeaus.");
    }

    proptest! {
        #[test]
        fn cutting_never_panics_and_is_idempotent(text in "(?s)([ab ]{0,3}|.{0,4}){0,60}") {
            let repeats = Repeats::default();
            let once = cut(&text, repeats);
            prop_assert_eq!(cut(&once, repeats), once.clone());
            prop_assert!(once.len() <= text.len());
            at_end(&text, repeats);
        }
    }
}
