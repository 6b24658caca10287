//! Words that users type wrong: the nearest known one, and how much of them an error repeats.

/// Longest word that gets a hint or is repeated whole in an error. Characters.
const WORD_CHARS_MAX: usize = 64;

/// The word that differs least from `given`, if it differs little.
pub(crate) fn nearest_word<'a>(
    given: &str,
    words: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    // The distance takes time and memory by the product of both lengths.
    if given.chars().nth(WORD_CHARS_MAX).is_some() {
        return None;
    }
    let given = given.to_lowercase();
    // Three letters of which the first is wrong are another word: `gpu` does not mean `cpu`.
    let is_typo = |word: &str| word.len() > 3 || given.chars().next() == word.chars().next();
    words
        .map(|word| (strsim::damerau_levenshtein(&given, word), word))
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1) && is_typo(word))
        .min()
        .map(|(_, word)| word)
}

/// What a user wrote, cut to what an error message has room for.
pub(crate) fn shortened(given: &str) -> String {
    match given.char_indices().nth(WORD_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &given[..end]),
        None => given.to_owned(),
    }
}
