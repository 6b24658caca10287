//! The answers given before, shared by all requests of a translator.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cache::{Cache, CacheKey, CacheLimits, CacheStats, CachedAnswer};
use crate::generate::{GeneratePrompt, Generated};

pub(super) struct Answers(Mutex<Kept>);

struct Kept {
    cache: Cache,
    is_on: bool,
    epoch: Epoch,
}

/// What lies between two times of clearing. A request that began in an earlier one adds nothing: its
/// answer may be of what the caller wanted forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(u64);

impl Answers {
    pub(super) fn new(limits: CacheLimits) -> Self {
        let is_on = limits.entries_max > 0;
        Self(Mutex::new(Kept { cache: Cache::new(limits), is_on, epoch: Epoch(0) }))
    }

    pub(super) fn reconfigure(&self, limits: CacheLimits, is_other_model: bool) {
        let mut kept = self.kept();
        kept.is_on = limits.entries_max > 0;
        kept.cache.resize(limits);
        if is_other_model {
            kept.clear();
        }
    }

    pub(super) fn clear(&self) {
        self.kept().clear();
    }

    pub(super) fn stats(&self) -> CacheStats {
        self.kept().cache.stats()
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.kept().epoch
    }

    /// The answer to exactly this prompt. Terms, context and languages are words of the prompt, so they
    /// need no fields of their own.
    pub(super) fn get(&self, model: &str, prompt: &GeneratePrompt) -> Option<Generated> {
        let mut kept = self.kept();
        if !kept.is_on {
            return None;
        }
        let CachedAnswer { text, tokens_in, tokens_out } = kept.cache.get(&key(model, prompt))?;
        let (truncated, queue_ms, inference_ms) = (false, 0.0, 0.0);
        Some(Generated { text, tokens_in, tokens_out, truncated, queue_ms, inference_ms })
    }

    /// Keeps an answer that is complete.
    pub(super) fn insert(
        &self,
        epoch: Epoch,
        model: &str,
        prompt: &GeneratePrompt,
        answer: &Generated,
    ) {
        let mut kept = self.kept();
        if !kept.is_on || kept.epoch != epoch || answer.truncated || answer.text.trim().is_empty() {
            return;
        }
        let Generated { text, tokens_in, tokens_out, .. } = answer.clone();
        kept.cache.insert(&key(model, prompt), CachedAnswer { text, tokens_in, tokens_out });
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn clear(&mut self) {
        self.cache.clear();
        self.epoch.0 += 1;
    }
}

fn key<'a>(model: &'a str, prompt: &'a GeneratePrompt) -> CacheKey<'a> {
    CacheKey { model, prompt: &prompt.user, glossary: "", context: "" }
}
