//! Answers that were given before, for exactly the same question.
//!
//! "Exactly" means byte by byte: model, prompt, glossary and context are kept whole and compared
//! whole, not as a hash, so that nobody is ever told the translation of another text. Only complete
//! answers of greedy decoding belong here; what was cut off or sampled would be repeated for ever.
//!
//! The cache is bounded in entries and in bytes; what was not asked for longest goes first. Wrap it in
//! a lock to share it: each call takes microseconds.
//!
//! ```
//! use hymt_core::cache::{Cache, CacheKey, CacheLimits, CachedAnswer};
//!
//! let mut cache = Cache::new(CacheLimits::default());
//! let key = CacheKey { model: "hy-mt2-1.8b", prompt: "…: Hello", glossary: "", context: "" };
//! assert_eq!(cache.get(&key), None);
//! cache.insert(&key, CachedAnswer { text: "Hallo".to_owned(), tokens_in: 30, tokens_out: 2 });
//! assert_eq!(cache.get(&key).map(|answer| answer.text), Some("Hallo".to_owned()));
//! assert_eq!(cache.get(&CacheKey { context: "a letter", ..key }), None);
//! assert_eq!((cache.stats().hits, cache.stats().misses), (1, 2));
//! ```

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Most entries, by default.
pub const CACHE_ENTRIES_MAX: usize = 1024;
/// Most bytes of all keys and answers, by default.
pub const CACHE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What an answer depends on. Whatever else may change an answer belongs into one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey<'a> {
    /// Which model, in which precision.
    pub model: &'a str,
    /// What it is asked, word for word, target language included.
    pub prompt: &'a str,
    /// The terms in force.
    pub glossary: &'a str,
    /// What was said before.
    pub context: &'a str,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedAnswer {
    /// The text.
    pub text: String,
    /// Tokens of the prompt.
    pub tokens_in: usize,
    /// Tokens of the answer.
    pub tokens_out: usize,
}

/// Bounds of a cache; nothing is kept when one of them is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Most entries.
    pub entries_max: usize,
    /// Most bytes of keys and answers together; what the maps themselves take comes on top.
    pub bytes_max: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { entries_max: CACHE_ENTRIES_MAX, bytes_max: CACHE_BYTES_MAX }
    }
}

/// Counts since the beginning, and the present size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CacheStats {
    /// Questions that were answered.
    pub hits: u64,
    /// Questions that were not.
    pub misses: u64,
    /// Answers that made room for others.
    pub evicted: u64,
    /// Answers that were too large to keep.
    pub refused: u64,
    /// Answers kept now.
    pub entries: usize,
    /// Bytes of keys and answers kept now.
    pub bytes: usize,
}

/// A bounded cache of answers; see the [module](self).
#[derive(Debug, Default)]
pub struct Cache {
    limits: CacheLimits,
    entries: HashMap<Arc<str>, Entry>,
    /// Keys by when they were last asked for.
    by_use: BTreeMap<u64, Arc<str>>,
    clock: u64,
    stats: CacheStats,
}

#[derive(Debug)]
struct Entry {
    answer: CachedAnswer,
    used_at: u64,
}

impl Cache {
    /// An empty cache.
    pub fn new(limits: CacheLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The answer given before.
    pub fn get(&mut self, key: &CacheKey<'_>) -> Option<CachedAnswer> {
        let used_at = self.tick();
        let Some((name, _)) = self.entries.get_key_value(&*flatten(key)) else {
            self.stats.misses += 1;
            return None;
        };
        let name = name.clone();
        let entry = self.entries.get_mut(&name)?;
        self.by_use.remove(&entry.used_at);
        entry.used_at = used_at;
        self.by_use.insert(used_at, name);
        self.stats.hits += 1;
        Some(entry.answer.clone())
    }

    /// Remembers an answer, in place of an older one.
    pub fn insert(&mut self, key: &CacheKey<'_>, answer: CachedAnswer) {
        let name: Arc<str> = flatten(key).into();
        self.remove(&name);
        let bytes = name.len() + answer.text.len();
        if self.limits.entries_max == 0 || bytes > self.limits.bytes_max {
            self.stats.refused += 1;
            return;
        }
        let used_at = self.tick();
        self.stats.entries += 1;
        self.stats.bytes += bytes;
        self.by_use.insert(used_at, name.clone());
        self.entries.insert(name, Entry { answer, used_at });
        self.trim();
    }

    /// Forgets everything; the counts go on.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.by_use.clear();
        (self.stats.entries, self.stats.bytes) = (0, 0);
    }

    /// Changes the bounds.
    pub fn resize(&mut self, limits: CacheLimits) {
        self.limits = limits;
        self.trim();
    }

    /// What happened so far, and the present size.
    pub fn stats(&self) -> CacheStats {
        self.stats
    }

    fn trim(&mut self) {
        while self.stats.entries > self.limits.entries_max
            || self.stats.bytes > self.limits.bytes_max
        {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            self.remove(&oldest);
            self.stats.evicted += 1;
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(entry) = self.entries.remove(name) {
            self.by_use.remove(&entry.used_at);
            self.stats.entries -= 1;
            self.stats.bytes -= name.len() + entry.answer.text.len();
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

/// All fields in one text, each behind its length, so that no two keys become the same.
fn flatten(key: &CacheKey<'_>) -> String {
    let CacheKey { model, prompt, glossary, context } = key;
    let n = |field: &str| field.len();
    format!(
        "{}:{model}{}:{prompt}{}:{glossary}{}:{context}",
        n(model),
        n(prompt),
        n(glossary),
        n(context)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(prompt: &str) -> CacheKey<'_> {
        CacheKey { model: "m", prompt, glossary: "", context: "" }
    }

    fn answer(text: &str) -> CachedAnswer {
        CachedAnswer { text: text.to_owned(), tokens_in: 3, tokens_out: 2 }
    }

    #[test]
    fn what_was_not_asked_for_longest_goes_first() {
        let mut cache = Cache::new(CacheLimits { entries_max: 2, bytes_max: 1000 });
        cache.insert(&key("a"), answer("A"));
        cache.insert(&key("b"), answer("B"));
        assert!(cache.get(&key("a")).is_some());
        cache.insert(&key("c"), answer("C"));
        assert_eq!(cache.get(&key("b")), None);
        assert_eq!(cache.get(&key("a")), Some(answer("A")));
        assert_eq!(cache.stats().evicted, 1);
        cache.insert(&key("a"), answer("A2"));
        assert_eq!(cache.get(&key("a")), Some(answer("A2")));
        assert_eq!(cache.stats().entries, 2);
        cache.clear();
        assert_eq!(cache.get(&key("a")), None);
        assert_eq!((cache.stats().entries, cache.stats().bytes), (0, 0));
    }

    #[test]
    fn it_is_bounded_in_bytes_and_can_be_off() {
        let mut cache = Cache::new(CacheLimits { entries_max: 10, bytes_max: 100 });
        cache.insert(&key("a"), answer(&"x".repeat(100)));
        assert_eq!((cache.stats().refused, cache.stats().entries), (1, 0));
        for prompt in ["a", "b", "c", "d"] {
            cache.insert(&key(prompt), answer(&"x".repeat(30)));
            assert!(cache.stats().bytes <= 100);
        }
        cache.resize(CacheLimits { entries_max: 0, bytes_max: 100 });
        assert_eq!(cache.stats().entries, 0);
        cache.insert(&key("a"), answer("A"));
        assert_eq!(cache.get(&key("a")), None);
    }

    /// Fields that run into each other when they are merely put together.
    fn field() -> impl Strategy<Value = String> {
        prop_oneof![3 => "[a0-2:]{0,4}", 1 => any::<String>()]
    }

    type Fields = (String, String, String, String);

    fn as_key((model, prompt, glossary, context): &Fields) -> CacheKey<'_> {
        CacheKey { model, prompt, glossary, context }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        /// Against a map that forgets nothing: an answer is the right one or none, and after an
        /// insertion that fits it is there.
        #[test]
        fn never_the_answer_of_another_key(
            keys in prop::collection::vec((field(), field(), field(), field()), 1..24),
            steps in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..100),
            entries_max in 0..8usize,
            bytes_max in 0..200usize,
        ) {
            let mut cache = Cache::new(CacheLimits { entries_max, bytes_max });
            let mut model: HashMap<Fields, CachedAnswer> = HashMap::new();
            for (n, (index, is_insert)) in steps.iter().enumerate() {
                let fields = index.get(&keys);
                if *is_insert {
                    let new = answer(&format!("answer {n}"));
                    cache.insert(&as_key(fields), new.clone());
                    model.insert(fields.clone(), new.clone());
                    let refused = entries_max == 0
                        || flatten(&as_key(fields)).len() + new.text.len() > bytes_max;
                    prop_assert_eq!(cache.get(&as_key(fields)), Some(new).filter(|_| !refused));
                } else if let Some(found) = cache.get(&as_key(fields)) {
                    prop_assert_eq!(Some(&found), model.get(fields));
                }
                let stats = cache.stats();
                prop_assert!(stats.entries <= entries_max && stats.bytes <= bytes_max);
                prop_assert_eq!(stats.entries, cache.entries.len());
                prop_assert_eq!(stats.entries, cache.by_use.len());
            }
        }

        #[test]
        fn different_keys_stay_different(
            a in (field(), field(), field(), field()),
            b in (field(), field(), field(), field()),
        ) {
            prop_assert_eq!(flatten(&as_key(&a)) == flatten(&as_key(&b)), a == b);
        }
    }
}
