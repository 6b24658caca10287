//! Words with a period that is not the end of a sentence.
//!
//! Only those that stand before something: titles, "for example", units of addresses. What often ends a
//! sentence itself (`etc.`, `usw.`, `Inc.`) is left to Annex 29, which does not cut before a small
//! letter.

use crate::language::Language;

/// True when `word`, without its last period, is an abbreviation of the language.
pub(super) fn ends_with_one(word: &str, language: Option<Language>) -> bool {
    let word = word.to_lowercase();
    let known = |list: &[&str]| list.contains(&word.as_str());
    known(EVERYWHERE) || language.is_some_and(|language| known(of(language)))
}

const EVERYWHERE: &[&str] = &["dr", "prof", "mr", "mrs", "ms", "vs", "e.g", "i.e", "cf", "st"];

fn of(language: Language) -> &'static [&'static str] {
    match language {
        Language::English => &[
            "jr", "sr", "gen", "col", "capt", "lt", "sgt", "rev", "hon", "gov", "sen", "rep",
            "pres", "mt", "ft", "approx", "dept", "est", "viz", "jan", "feb", "aug", "sept", "oct",
            "nov", "dec",
        ],
        Language::German => &[
            "z.b", "d.h", "u.a", "z.t", "i.d.r", "bzw", "ca", "hr", "fr", "frl", "dipl", "ing",
            "str", "vgl", "evtl", "ggf", "inkl", "exkl", "zzgl", "bspw", "sog", "tel", "jan",
            "feb", "aug", "sept", "okt", "nov", "dez", "geb", "gest", "hrsg", "z. b", "d. h",
        ],
        Language::French => {
            &["m", "mm", "mme", "mlle", "me", "mgr", "p.ex", "ex", "env", "av", "bd", "tél", "chap"]
        }
        Language::Spanish => &[
            "sr", "sra", "srta", "sres", "d", "dña", "dra", "ud", "uds", "p.ej", "avda", "pág",
            "tel", "ee.uu", "aprox",
        ],
        Language::Portuguese => {
            &["sr", "sra", "srta", "dra", "d", "exmo", "exma", "av", "pág", "tel", "p.ex", "profa"]
        }
        Language::Italian => &[
            "sig", "sigg", "sig.ra", "dott", "dott.ssa", "ing", "avv", "arch", "on", "p.es", "pag",
            "tel",
        ],
        Language::Dutch => &[
            "dhr", "mevr", "mw", "ir", "ing", "drs", "bijv", "d.w.z", "o.a", "m.b.t", "ca", "evt",
            "tel",
        ],
        Language::Polish => &[
            "p", "np", "tj", "tzn", "tzw", "m.in", "ul", "al", "inż", "mgr", "hab", "ks", "św",
            "godz", "ok",
        ],
        Language::Czech => &[
            "např", "tj", "tzv", "ing", "mgr", "bc", "judr", "mudr", "ul", "nám", "sv", "p",
            "resp", "cca",
        ],
        Language::Russian => &[
            "т.е", "т.к", "т.н", "напр", "г", "гг", "ул", "пр", "д", "кв", "им", "см", "стр",
            "рис", "тов", "акад", "проф", "ок", "тел",
        ],
        Language::Ukrainian => &[
            "т.е",
            "напр",
            "м",
            "вул",
            "просп",
            "буд",
            "кв",
            "ім",
            "див",
            "стор",
            "рис",
            "проф",
            "тел",
        ],
        Language::Turkish => {
            &["sn", "av", "doç", "yrd", "örn", "bkz", "cad", "sok", "mah", "apt", "tel"]
        }
        Language::Indonesian | Language::Malay => {
            &["bpk", "sdr", "jl", "drs", "ir", "kh", "tn", "ny"]
        }
        Language::Vietnamese => &["ts", "ths", "pgs", "gs", "bs", "tp", "q", "p"],
        Language::Filipino => &["gng", "bb", "g", "blg"],
        _ => &[],
    }
}
