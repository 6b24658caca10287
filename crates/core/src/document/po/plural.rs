//! How many plural forms a language has in gettext.
//!
//! From the plural rules of the Unicode CLDR (version 44) for whole numbers, written as gettext does; a
//! test holds the singular forms against the formulas.

use crate::language::Language;

/// The plural forms of a catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forms {
    pub(super) count: usize,
    /// The form that 1 takes.
    pub(super) singular: usize,
    /// True when nothing but 0 and 1 takes it.
    pub(super) is_singular_one: bool,
    /// The formula; `None` keeps that of the document.
    pub(super) formula: Option<&'static str>,
}

/// Formula for each count, the form of 1, whether it is for 1 alone.
type Rule = (usize, &'static str, usize, bool);

const NONE: Rule = (1, "0", 0, false);
const NOT_ONE: Rule = (2, "(n != 1)", 0, true);
const MORE_THAN_ONE: Rule = (2, "(n > 1)", 0, true);
const RUSSIAN: Rule = (
    3,
    "(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2)",
    0,
    false,
);
const POLISH: Rule =
    (3, "(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2)", 0, true);
const CZECH: Rule = (3, "(n==1) ? 0 : (n>=2 && n<=4) ? 1 : 2", 0, true);
const HEBREW: Rule = (3, "(n==1 ? 0 : n==2 ? 1 : 2)", 0, true);
const ARABIC: Rule = (
    6,
    "(n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5)",
    1,
    true,
);

fn rule(language: Language) -> Rule {
    use Language as L;
    match language {
        L::Chinese | L::TraditionalChinese | L::Cantonese | L::Japanese | L::Korean | L::Thai => {
            NONE
        }
        L::Vietnamese | L::Malay | L::Indonesian | L::Khmer | L::Burmese | L::Tibetan => NONE,
        L::French | L::Portuguese | L::Filipino => MORE_THAN_ONE,
        L::Hindi | L::Persian | L::Gujarati | L::Bengali => MORE_THAN_ONE,
        L::Russian | L::Ukrainian => RUSSIAN,
        L::Polish => POLISH,
        L::Czech => CZECH,
        L::Hebrew => HEBREW,
        L::Arabic => ARABIC,
        L::English | L::German | L::Dutch | L::Spanish | L::Italian | L::Turkish => NOT_ONE,
        L::Urdu | L::Telugu | L::Marathi | L::Tamil | L::Kazakh | L::Mongolian | L::Uyghur => {
            NOT_ONE
        }
    }
}

/// The forms for `target`, given the header of a catalogue: what it says holds when it is for that
/// language.
pub(super) fn forms(header: Option<&str>, target: Option<Language>) -> Forms {
    let header = header.unwrap_or_default();
    let named = super::header::value(header, "Language").map(|range| &header[range]);
    let named = named.and_then(|name| Language::parse(name).ok());
    let (count, formula, singular, is_singular_one) = target.or(named).map_or(NOT_ONE, rule);
    match declared(header).filter(|_| target.is_none() || named == target) {
        Some(own) => {
            let singular = if own == count { singular } else { 0 };
            let is_singular_one = own == count && is_singular_one;
            Forms { count: own, singular, is_singular_one, formula: None }
        }
        None => Forms { count, singular, is_singular_one, formula: Some(formula) },
    }
}

fn declared(header: &str) -> Option<usize> {
    let rest = &header[header.find("nplurals=")? + "nplurals=".len()..];
    let digits = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
    // No language has more than six.
    rest[..digits].parse().ok().filter(|count| (1..=6).contains(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a formula of the table gives, by a reader of its own for the few operators there are.
    fn form(formula: &str, n: usize) -> usize {
        let text: String = formula.chars().filter(|c| !c.is_whitespace()).collect();
        Reader { text: text.as_bytes(), at: 0, n }.choice()
    }

    struct Reader<'a> {
        text: &'a [u8],
        at: usize,
        n: usize,
    }

    impl Reader<'_> {
        fn take(&mut self, sign: &str) -> bool {
            let is_next = self.text[self.at..].starts_with(sign.as_bytes());
            self.at += if is_next { sign.len() } else { 0 };
            is_next
        }

        fn choice(&mut self) -> usize {
            let condition = self.or();
            if !self.take("?") {
                return condition;
            }
            let yes = self.choice();
            assert!(self.take(":"));
            let no = self.choice();
            if condition != 0 { yes } else { no }
        }

        fn or(&mut self) -> usize {
            let mut value = self.and();
            while self.take("||") {
                value |= self.and();
            }
            value
        }

        fn and(&mut self) -> usize {
            let mut value = self.compare();
            while self.take("&&") {
                value &= self.compare();
            }
            value
        }

        fn compare(&mut self) -> usize {
            let left = self.remainder();
            for (sign, test) in [
                ("==", usize::eq as fn(&usize, &usize) -> bool),
                ("!=", usize::ne),
                (">=", usize::ge),
                ("<=", usize::le),
                (">", usize::gt),
                ("<", usize::lt),
            ] {
                if self.take(sign) {
                    let right = self.remainder();
                    return usize::from(test(&left, &right));
                }
            }
            left
        }

        fn remainder(&mut self) -> usize {
            let left = self.atom();
            if self.take("%") { left % self.atom() } else { left }
        }

        fn atom(&mut self) -> usize {
            if self.take("(") {
                let value = self.choice();
                assert!(self.take(")"));
                return value;
            }
            if self.take("n") {
                return self.n;
            }
            let start = self.at;
            while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
                self.at += 1;
            }
            std::str::from_utf8(&self.text[start..self.at]).unwrap().parse().unwrap()
        }
    }

    #[test]
    fn each_rule_fits_its_formula() {
        for language in Language::all() {
            let (count, formula, singular, is_singular_one) = rule(language);
            let mut seen = vec![false; count];
            (0..1000).for_each(|n| seen[form(formula, n)] = true);
            assert!(seen.iter().all(|seen| *seen), "{language}: a form that no number takes");
            assert_eq!(form(formula, 1), singular, "{language}");
            let alone = (2..1000).all(|n| form(formula, n) != singular);
            assert_eq!(alone, is_singular_one, "{language}");
        }
    }

    #[test]
    fn the_forms_are_those_of_cldr() {
        // Samples from the chart of CLDR 44's plural rules.
        for (language, samples) in [
            (Language::Russian, [(1, 0), (21, 0), (2, 1), (24, 1), (5, 2), (11, 2), (111, 2)]),
            (Language::Polish, [(1, 0), (21, 2), (2, 1), (24, 1), (5, 2), (12, 2), (112, 2)]),
            (Language::Arabic, [(0, 0), (1, 1), (2, 2), (103, 3), (11, 4), (100, 5), (202, 5)]),
            (Language::French, [(0, 0), (1, 0), (2, 1), (3, 1), (10, 1), (21, 1), (100, 1)]),
            (Language::German, [(0, 1), (1, 0), (2, 1), (3, 1), (10, 1), (21, 1), (100, 1)]),
        ] {
            for (n, expected) in samples {
                assert_eq!(form(rule(language).1, n), expected, "{language} {n}");
            }
        }
    }
}
