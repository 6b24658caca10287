//! The languages HY-MT knows, with their codes, names and aliases.
//!
//! The table holds the 38 rows of the model cards of HY-MT1.5 and Hy-MT2 (33 languages and five
//! minority languages and variants; Chinese counts three times: `zh`, `zh-Hant`, `yue`). Names are the
//! ones the models were trained with, because they go into prompts verbatim.
//!
//! [`Language::parse`] takes what people and other ROS nodes write: BCP-47 with `-` or `_`, any case,
//! with script, region or POSIX suffix (`pt-BR`, `zh_Hans_CN`, `de_AT.UTF-8`), ISO 639-2/3 codes
//! (`deu`), and the English or Chinese name. It refuses country codes that are not language codes
//! (`cn`, `jp`, `kr`, `vn`, `cz`, `ua`...) although they are common mistakes: some country codes *are* other
//! languages (`uk` is Ukrainian, `ar` is Arabic), so accepting a few of them would teach a habit that
//! ends in a wrong language. The refusal names the right code.

use std::fmt;
use std::str::FromStr;

/// Longest language tag read, in bytes; BCP-47 asks for at least 35.
pub const LANGUAGE_TAG_BYTES_MAX: usize = 64;

macro_rules! languages {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $english:literal, $chinese:literal, [$($alias:literal),*];)*) => {
        /// A language that HY-MT translates from and to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the variants are their own documentation")]
        pub enum Language { $($(#[$doc])* $variant),* }

        static TABLE: &[Row] = &[
            $(Row {
                language: Language::$variant,
                code: $code,
                english: $english,
                chinese: $chinese,
                aliases: &[$($alias),*],
            }),*
        ];
    };
}

struct Row {
    language: Language,
    code: &'static str,
    english: &'static str,
    chinese: &'static str,
    /// Lower case, `-` between subtags.
    aliases: &'static [&'static str],
}

languages! {
    Chinese = "zh", "Chinese", "中文", ["cmn", "chi", "zho", "zh-hans", "zh-cn", "mandarin"];
    English = "en", "English", "英语", ["eng"];
    French = "fr", "French", "法语", ["fra", "fre"];
    Portuguese = "pt", "Portuguese", "葡萄牙语", ["por"];
    Spanish = "es", "Spanish", "西班牙语", ["spa"];
    Japanese = "ja", "Japanese", "日语", ["jpn"];
    Turkish = "tr", "Turkish", "土耳其语", ["tur"];
    Russian = "ru", "Russian", "俄语", ["rus"];
    Arabic = "ar", "Arabic", "阿拉伯语", ["ara", "arb"];
    Korean = "ko", "Korean", "韩语", ["kor"];
    Thai = "th", "Thai", "泰语", ["tha"];
    Italian = "it", "Italian", "意大利语", ["ita"];
    German = "de", "German", "德语", ["deu", "ger"];
    Vietnamese = "vi", "Vietnamese", "越南语", ["vie"];
    Malay = "ms", "Malay", "马来语", ["zsm", "msa", "may"];
    Indonesian = "id", "Indonesian", "印尼语", ["in", "ind"];
    Filipino = "tl", "Filipino", "菲律宾语", ["fil", "tgl", "tagalog"];
    Hindi = "hi", "Hindi", "印地语", ["hin"];
    TraditionalChinese = "zh-Hant", "Traditional Chinese", "繁体中文", ["zht", "zh-tw", "zh-hk", "zh-mo"];
    Polish = "pl", "Polish", "波兰语", ["pol"];
    Czech = "cs", "Czech", "捷克语", ["ces", "cze"];
    Dutch = "nl", "Dutch", "荷兰语", ["nld", "dut"];
    Khmer = "km", "Khmer", "高棉语", ["khm"];
    Burmese = "my", "Burmese", "缅甸语", ["mya", "bur"];
    Persian = "fa", "Persian", "波斯语", ["fas", "per", "pes", "prs", "farsi"];
    Gujarati = "gu", "Gujarati", "古吉拉特语", ["guj"];
    Urdu = "ur", "Urdu", "乌尔都语", ["urd"];
    Telugu = "te", "Telugu", "泰卢固语", ["tel"];
    Marathi = "mr", "Marathi", "马拉地语", ["mar"];
    Hebrew = "he", "Hebrew", "希伯来语", ["iw", "heb"];
    Bengali = "bn", "Bengali", "孟加拉语", ["ben"];
    Tamil = "ta", "Tamil", "泰米尔语", ["tam"];
    Ukrainian = "uk", "Ukrainian", "乌克兰语", ["ukr"];
    Tibetan = "bo", "Tibetan", "藏语", ["bod", "tib"];
    Kazakh = "kk", "Kazakh", "哈萨克语", ["kaz"];
    Mongolian = "mn", "Mongolian", "蒙古语", ["mon", "khk"];
    Uyghur = "ug", "Uyghur", "维吾尔语", ["uig"];
    Cantonese = "yue", "Cantonese", "粤语", ["zh-yue"];
}

/// Country codes that people type for a language, and the language they mean.
static COUNTRIES: &[(&str, Language)] = &[
    ("cn", Language::Chinese),
    ("tw", Language::TraditionalChinese),
    ("hk", Language::TraditionalChinese),
    ("jp", Language::Japanese),
    ("kr", Language::Korean),
    ("vn", Language::Vietnamese),
    ("cz", Language::Czech),
    ("ua", Language::Ukrainian),
    ("us", Language::English),
    ("gb", Language::English),
    ("br", Language::Portuguese),
    ("mx", Language::Spanish),
    ("ir", Language::Persian),
    ("il", Language::Hebrew),
    ("sa", Language::Arabic),
    ("ph", Language::Filipino),
    ("kh", Language::Khmer),
    ("mm", Language::Burmese),
    ("kz", Language::Kazakh),
];

/// Real languages that the models do not know. The nearest code by spelling would be a language the
/// person does not want (`fi` is not a typo of `fr`), so none is suggested for these.
static UNSUPPORTED: &[&str] = &[
    "af", "am", "az", "be", "bg", "bs", "ca", "cy", "da", "el", "eo", "et", "eu", "fi", "ga", "gl",
    "ha", "hr", "hu", "hy", "is", "jv", "ka", "kn", "ku", "ky", "la", "lo", "lt", "lv", "mk", "ml",
    "mo", "mt", "nb", "ne", "nn", "no", "pa", "ps", "ro", "si", "sk", "sl", "so", "sq", "sr", "sv",
    "sw", "tg", "tk", "tt", "uz", "xh", "yi", "zu",
];

impl Language {
    /// All languages, in the order of the model cards.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + Clone {
        TABLE.iter().map(|row| row.language)
    }

    /// Reads a language tag, alias or name; see the [module](self) for what is accepted.
    ///
    /// # Errors
    /// [`UnknownLanguage`] when no language, or a country instead of a language, is named.
    pub fn parse(tag: &str) -> Result<Self, UnknownLanguage> {
        let given = tag.trim();
        if given.len() > LANGUAGE_TAG_BYTES_MAX {
            return Err(UnknownLanguage::new(given, None));
        }
        let key = normalise_tag(given);
        if let Some(language) = by_key(&key).or_else(|| by_subtags(&key)) {
            return Ok(language);
        }
        let primary = key.split('-').next().unwrap_or_default();
        if let Some(&(_, meant)) = COUNTRIES.iter().find(|(country, _)| *country == primary) {
            return Err(UnknownLanguage {
                given: given.to_owned(),
                nearest: Some(meant),
                is_country: true,
            });
        }
        Err(UnknownLanguage::new(given, nearest(&key).or_else(|| nearest(primary))))
    }

    /// BCP-47 code, for example `zh-Hant`.
    pub fn code(self) -> &'static str {
        self.row().code
    }

    /// English name, as the models' English prompts use it.
    pub fn english_name(self) -> &'static str {
        self.row().english
    }

    /// Chinese name, as the models' Chinese prompts use it.
    pub fn chinese_name(self) -> &'static str {
        self.row().chinese
    }

    /// Other spellings that [`Self::parse`] accepts, lower case.
    pub fn aliases(self) -> &'static [&'static str] {
        self.row().aliases
    }

    /// The code as a ROS 2 topic name token, which may not hold `-`: `zh_Hant`.
    pub fn topic_name(self) -> String {
        self.code().replace('-', "_")
    }

    /// True for `zh`, `zh-Hant` and `yue`: the models are asked in Chinese when either side is one
    /// of these.
    pub fn is_chinese(self) -> bool {
        matches!(self, Self::Chinese | Self::TraditionalChinese | Self::Cantonese)
    }

    /// True when the usual script is written from right to left.
    pub fn is_right_to_left(self) -> bool {
        matches!(self, Self::Arabic | Self::Persian | Self::Urdu | Self::Hebrew | Self::Uyghur)
    }

    /// False for languages written without spaces between words.
    pub fn has_word_spaces(self) -> bool {
        !self.is_chinese()
            && !matches!(
                self,
                Self::Japanese | Self::Thai | Self::Khmer | Self::Burmese | Self::Tibetan
            )
    }

    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(tag: &str) -> Result<Self, Self::Err> {
        Self::parse(tag)
    }
}

/// A language tag that names none of the supported languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownLanguage {
    /// What was given, trimmed and shortened for display.
    pub given: String,
    /// The language that was probably meant.
    pub nearest: Option<Language>,
    /// True when `given` is a country code.
    pub is_country: bool,
}

impl UnknownLanguage {
    const GIVEN_CHARS_MAX: usize = 32;

    fn new(given: &str, nearest: Option<Language>) -> Self {
        let mut shown: String = given.chars().take(Self::GIVEN_CHARS_MAX).collect();
        if shown.len() < given.len() {
            shown.push('…');
        }
        Self { given: shown, nearest, is_country: false }
    }
}

impl std::error::Error for UnknownLanguage {}

impl fmt::Display for UnknownLanguage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.nearest, self.is_country) {
            (Some(meant), true) => write!(
                f,
                "'{}' is a country code, not a language; for {} write '{meant}'",
                self.given,
                meant.english_name()
            ),
            (Some(meant), false) => {
                write!(f, "'{}' is not supported; did you mean '{meant}'?", self.given)?;
                write_allowed(f)
            }
            (None, _) => {
                write!(f, "'{}' is not supported;", self.given)?;
                write_allowed(f)
            }
        }
    }
}

fn write_allowed(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(" allowed: ")?;
    for (i, row) in TABLE.iter().enumerate() {
        write!(f, "{}{}", if i == 0 { "" } else { ", " }, row.code)?;
    }
    Ok(())
}

/// Lower case, `-` between subtags, without a POSIX encoding or modifier (`.UTF-8`, `@euro`).
fn normalise_tag(tag: &str) -> String {
    let tag = tag.split(['.', '@']).next().unwrap_or_default();
    tag.to_lowercase().replace('_', "-")
}

fn by_key(key: &str) -> Option<Language> {
    let matches = |row: &&Row| {
        row.code.eq_ignore_ascii_case(key)
            || row.aliases.contains(&key)
            || row.english.eq_ignore_ascii_case(key)
            || row.chinese == key
    };
    TABLE.iter().find(matches).map(|row| row.language)
}

/// Reads `language[-extlang][-Script][-REGION]...`. Regions only matter for Chinese.
fn by_subtags(key: &str) -> Option<Language> {
    let mut subtags = key.split('-');
    let primary = subtags.next()?;
    let rest: Vec<&str> = subtags.collect();
    let well_formed = |subtag: &&str| {
        (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if rest.is_empty() || !(2..=3).contains(&primary.len()) || !rest.iter().all(well_formed) {
        return None;
    }
    // An extended language (`zh-yue`, `zh-min-nan`) replaces the primary one: BCP-47 section 4.5.
    if rest[0].len() == 3 && rest[0].bytes().all(|b| b.is_ascii_alphabetic()) {
        return by_key(rest[0]);
    }
    let language = by_key(primary)?;
    if language != Language::Chinese || rest.contains(&"hans") {
        return Some(language);
    }
    // `zh-Hnat` is a typo for one of the two scripts, and only the person knows which.
    if rest
        .iter()
        .any(|s| s.len() == 4 && *s != "hant" && s.bytes().all(|b| b.is_ascii_alphabetic()))
    {
        return None;
    }
    let traditional = rest.iter().any(|subtag| matches!(*subtag, "hant" | "tw" | "hk" | "mo"));
    Some(if traditional { Language::TraditionalChinese } else { language })
}

/// The language whose code, alias or name is the fewest edits away, if that is few enough for a typo.
fn nearest(given: &str) -> Option<Language> {
    if UNSUPPORTED.contains(&given) {
        return None;
    }
    let edits_max = if given.chars().count() <= 3 { 1 } else { 2 };
    let mut best: Option<(usize, Language)> = None;
    for row in TABLE {
        let english = row.english.to_lowercase();
        let code = row.code.to_lowercase();
        for known in [code.as_str(), english.as_str()].iter().chain(row.aliases) {
            let edits = strsim::damerau_levenshtein(given, known);
            let is_typo = edits <= edits_max && !(edits == 1 && is_other_code(given, known));
            if is_typo && best.is_none_or(|(fewest, _)| edits < fewest) {
                best = Some((edits, row.language));
            }
        }
    }
    best.map(|(_, language)| language)
}

/// True for two codes of two letters that do not share both: one wrong letter of two is no typo to
/// recognise, or `xh` would be "corrected" to `zh`. `ed` for `de` is.
fn is_other_code(given: &str, known: &str) -> bool {
    let swapped = || given.chars().rev().eq(known.chars());
    given.len() == 2 && known.len() == 2 && !swapped()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_38_rows_in_enum_order_without_a_name_twice() {
        assert_eq!(TABLE.len(), 38);
        let mut keys = std::collections::BTreeSet::new();
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.language as usize, index);
            assert!(keys.insert(row.code.to_lowercase()), "{} twice", row.code);
            assert!(keys.insert(row.english.to_lowercase()), "{} twice", row.english);
            assert!(keys.insert(row.chinese.to_owned()), "{} twice", row.chinese);
            for alias in row.aliases {
                assert!(keys.insert((*alias).to_owned()), "{alias} twice");
                assert_eq!(*alias, normalise_tag(alias), "aliases are stored normalised");
            }
        }
        for (country, _) in COUNTRIES {
            assert!(!keys.contains(*country), "{country} is a language too");
        }
        for code in UNSUPPORTED {
            assert!(!keys.contains(*code), "{code} is supported");
        }
    }

    #[test]
    fn every_code_alias_and_name_parses_to_its_own_row() {
        for language in Language::all() {
            for text in [language.code(), language.english_name(), language.chinese_name()] {
                assert_eq!(Language::parse(text), Ok(language), "{text}");
                assert_eq!(Language::parse(&text.to_uppercase()), Ok(language), "{text}");
            }
            for alias in language.aliases() {
                assert_eq!(Language::parse(alias), Ok(language), "{alias}");
            }
            assert_eq!(Language::parse(&language.topic_name()), Ok(language));
        }
    }

    #[test]
    fn tags_in_the_forms_people_write() {
        let cases = [
            ("zh_CN", Language::Chinese),
            ("zh-Hans", Language::Chinese),
            ("zh_Hans_HK", Language::Chinese),
            ("zh-SG", Language::Chinese),
            ("zh-TW", Language::TraditionalChinese),
            ("ZH_hk", Language::TraditionalChinese),
            ("zh-Hant-MO", Language::TraditionalChinese),
            ("zh-cmn-Hant", Language::Chinese),
            ("zh-yue-HK", Language::Cantonese),
            ("yue_HK", Language::Cantonese),
            ("DE", Language::German),
            (" de_AT ", Language::German),
            ("de_DE.UTF-8", Language::German),
            ("de_DE@euro", Language::German),
            ("pt-BR", Language::Portuguese),
            ("es-419", Language::Spanish),
            ("en-GB-oxendict", Language::English),
            ("fil-PH", Language::Filipino),
            ("iw", Language::Hebrew),
            ("kk-Arab-CN", Language::Kazakh),
            ("farsi", Language::Persian),
            ("德语", Language::German),
        ];
        for (tag, expected) in cases {
            assert_eq!(Language::parse(tag), Ok(expected), "{tag}");
        }
    }

    #[test]
    fn country_codes_are_refused_with_the_language_code() {
        for (country, meant) in
            [("cn", "zh"), ("JP", "ja"), ("kr", "ko"), ("vn", "vi"), ("cz", "cs"), ("ua", "uk")]
        {
            let error = Language::parse(country).unwrap_err();
            assert!(error.is_country);
            assert_eq!(error.nearest.map(Language::code), Some(meant));
            assert!(error.to_string().contains(&format!("write '{meant}'")), "{error}");
        }
        // The two-letter code that is a country to some and a language by the standard.
        assert_eq!(Language::parse("uk"), Ok(Language::Ukrainian));
    }

    #[test]
    fn a_typo_gets_the_nearest_match_and_an_unsupported_language_none() {
        for (typo, meant) in [
            ("frr", "fr"),
            ("ed", "de"),
            ("englisch", "en"),
            ("germn", "de"),
            ("zh-Hnat", "zh-Hant"),
            ("zh-min-nan", "zh"),
        ] {
            let error = Language::parse(typo).expect_err(typo);
            assert_eq!(error.nearest.map(Language::code), Some(meant), "{typo}");
        }
        for unknown in ["fi", "sv", "no", "el", "xx-YY", "klingon", "", "-", "日"] {
            let error = Language::parse(unknown).expect_err(unknown);
            assert_eq!(error.nearest, None, "{unknown}");
            assert!(error.to_string().contains("zh-Hant, pl"), "{error}");
        }
    }

    #[test]
    fn an_absurd_tag_is_refused_and_shortened() {
        let error = Language::parse(&"x".repeat(1_000_000)).unwrap_err();
        assert!(error.to_string().len() < 400, "{}", error.to_string().len());
    }

    #[test]
    fn scripts_without_spaces_and_right_to_left() {
        let unspaced: Vec<_> =
            Language::all().filter(|l| !l.has_word_spaces()).map(Language::code).collect();
        assert_eq!(unspaced, ["zh", "ja", "th", "zh-Hant", "km", "my", "bo", "yue"]);
        let rtl: Vec<_> =
            Language::all().filter(|l| l.is_right_to_left()).map(Language::code).collect();
        assert_eq!(rtl, ["ar", "fa", "ur", "he", "ug"]);
    }
}
