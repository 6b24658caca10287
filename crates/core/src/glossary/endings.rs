//! Endings of nouns and adjectives, by language: those with which a word stays the same word. Not
//! complete on purpose; an ending that also makes other words ("-er" of German persons and
//! comparatives, "-ing" of English) would count a wrong word as a term.

use crate::language::Language;

/// The endings of a language, none among them; `None` where words do not inflect by endings, or not
/// safely.
pub(super) fn of(language: Language) -> Option<&'static [&'static str]> {
    match language {
        Language::English => Some(&["", "s", "es", "y", "ies"]),
        Language::German => {
            Some(&["", "e", "en", "em", "es", "n", "s", "um", "a", "us", "i", "ie", "ien", "innen"])
        }
        Language::Dutch => Some(&["", "e", "en", "s", "n"]),
        Language::French => Some(&["", "e", "s", "es", "x", "al", "aux", "aise", "ais"]),
        Language::Spanish => Some(&["", "o", "a", "e", "os", "as", "es", "s"]),
        Language::Portuguese => {
            Some(&["", "o", "a", "e", "os", "as", "es", "s", "ão", "ões", "m", "ns", "l", "is"])
        }
        Language::Italian => Some(&["", "o", "a", "e", "i", "io", "he", "hi"]),
        Language::Russian => Some(&[
            "", "а", "я", "о", "е", "ё", "ы", "и", "у", "ю", "ь", "й", "ой", "ей", "ою", "ею",
            "ом", "ем", "ём", "ам", "ям", "ах", "ях", "ами", "ями", "ов", "ев", "ий", "ый", "ая",
            "яя", "ое", "ее", "ые", "ие", "ого", "его", "ому", "ему", "ым", "им", "ых", "их",
            "ыми", "ими", "ую", "юю", "ия", "ии", "ию", "ией", "иям", "иями", "иях",
        ]),
        Language::Ukrainian => Some(&[
            "", "а", "я", "о", "е", "и", "і", "ї", "у", "ю", "ь", "й", "ою", "ею", "єю", "ом",
            "ем", "єм", "ам", "ям", "ах", "ях", "ами", "ями", "ів", "їв", "ий", "ій", "ого",
            "ього", "ому", "ьому", "им", "ім", "их", "іх", "ими", "іми", "ові", "еві", "єві", "ія",
            "ії", "ію", "ією",
        ]),
        Language::Polish => Some(&[
            "", "a", "e", "i", "o", "u", "y", "ą", "ę", "om", "ami", "ach", "owi", "em", "iem",
            "ów", "ej", "ego", "emu", "ym", "im", "ych", "ich", "ymi", "imi", "ie", "ia", "ii",
            "ię", "ią", "ów",
        ]),
        Language::Czech => Some(&[
            "", "a", "e", "ě", "i", "í", "o", "u", "ů", "y", "ý", "á", "é", "ou", "em", "ům",
            "ami", "ách", "ech", "ích", "ovi", "ové", "ého", "ému", "ým", "ých", "ými", "ím",
            "ích", "ími",
        ]),
        _ => None,
    }
}
