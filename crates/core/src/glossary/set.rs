//! Glossaries by name.

use std::collections::BTreeMap;

use super::{GLOSSARIES_MAX, Glossary, GlossaryError, shorten};

/// The glossaries of a translator: one that always holds, and named ones of which a request picks one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GlossarySet {
    /// Holds for every request; a named glossary and inline terms win over it.
    pub base: Glossary,
    named: BTreeMap<String, Glossary>,
    default: Option<String>,
}

impl GlossarySet {
    /// Only terms that always hold.
    pub fn from_base(base: Glossary) -> Self {
        Self { base, ..Self::default() }
    }

    /// Adds or replaces a named glossary.
    ///
    /// # Errors
    /// When there are [`GLOSSARIES_MAX`] others.
    pub fn insert(&mut self, name: &str, glossary: Glossary) -> Result<(), GlossaryError> {
        if self.named.len() >= GLOSSARIES_MAX && !self.named.contains_key(name) {
            return Err(GlossaryError::TooManyGlossaries { name: shorten(name) });
        }
        self.named.insert(name.to_owned(), glossary);
        Ok(())
    }

    /// Names the glossary of requests that ask for none; `None` for none.
    ///
    /// # Errors
    /// When the name is not known.
    pub fn set_default(&mut self, name: Option<&str>) -> Result<(), GlossaryError> {
        if let Some(name) = name {
            self.named(name)?;
        }
        self.default = name.map(str::to_owned);
        Ok(())
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// The glossaries that hold for a request that asks for `name`, the strongest first.
    ///
    /// # Errors
    /// When the name is not known.
    pub fn layers(&self, name: Option<&str>) -> Result<Vec<&Glossary>, GlossaryError> {
        let mut layers = Vec::with_capacity(2);
        if let Some(name) = name.or(self.default.as_deref()) {
            layers.push(self.named(name)?);
        }
        layers.push(&self.base);
        Ok(layers)
    }

    /// The glossary of that name.
    ///
    /// # Errors
    /// When the name is not known; tells the closest.
    pub fn named(&self, name: &str) -> Result<&Glossary, GlossaryError> {
        self.named.get(name).ok_or_else(|| {
            let closest = self.names().min_by_key(|known| strsim::damerau_levenshtein(name, known));
            let nearest = closest.filter(|known| strsim::damerau_levenshtein(name, known) <= 2);
            let known: Vec<&str> = self.names().collect();
            GlossaryError::UnknownName {
                name: shorten(name),
                nearest: nearest.map(str::to_owned),
                known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
            }
        })
    }
}
