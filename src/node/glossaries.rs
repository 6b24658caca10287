//! Named glossaries of the node: from files, and from the service `~/set_glossary`.

mod watch;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use hymt_core::glossary::import::{self, Format, IMPORT_BYTES_MAX, Imported};
use hymt_core::glossary::{Glossary, GlossarySet, LanguagePair};
use hymt_core::language::Language;

use crate::config::LiveConfig;
use crate::ros::wire::hymt::{ListGlossariesResponse, SetGlossaryRequest};
use crate::words::shortened;

pub(super) use self::watch::Watch;
use self::watch::{Mark, mark};

/// Longest name of a glossary. Bytes.
const NAME_BYTES_MAX: usize = 64;

/// Name of the terms of the parameter `glossary.terms` in listings.
const TERMS_NAME: &str = "(glossary.terms)";

/// The named glossaries in force.
#[derive(Debug, Clone, Default)]
pub(super) struct Glossaries {
    /// The files of `glossary.files`, as they were when they were read.
    files: Vec<Named>,
    /// The parameter that `files` was read for.
    paths: Vec<String>,
    by_service: BTreeMap<String, Named>,
}

#[derive(Debug, Clone)]
struct Named {
    name: String,
    origin: String,
    pair: LanguagePair,
    glossary: Glossary,
    /// Of its file, before that was read.
    mark: Mark,
}

impl Glossaries {
    /// With the files that the parameters name; `reread` reads them even if they are the same.
    ///
    /// # Errors
    /// The first file that cannot be taken, and why; nothing has changed then.
    pub(super) fn with_files(&self, paths: &[String], reread: bool) -> Result<Self, String> {
        if paths == self.paths && !reread {
            return Ok(self.clone());
        }
        let mut changed = Self { paths: paths.to_vec(), ..self.clone() };
        changed.files = paths.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
        Ok(changed)
    }

    /// Makes, replaces or removes a glossary as the service asks; returns its number of entries
    /// and what was left out.
    ///
    /// # Errors
    /// What is wrong with the request; nothing has changed then.
    pub(super) fn set(
        &mut self,
        request: &SetGlossaryRequest,
    ) -> Result<(u32, Vec<String>), Vec<String>> {
        let one = |problem: String| vec![problem];
        check_name(&request.name).map_err(one)?;
        if request.content.is_empty() {
            if self.by_service.remove(&request.name).is_none() {
                let name = &request.name;
                return Err(one(format!(
                    "there is no glossary '{name}' of this service to remove"
                )));
            }
            return Ok((0, Vec::new()));
        }
        let format = Format::named_or_sniffed(&request.format, &request.content)
            .map_err(|error| one(error.to_string()))?;
        let pair = LanguagePair {
            source: optional_language("source_locale", &request.source_locale).map_err(one)?,
            target: optional_language("target_locale", &request.target_locale).map_err(one)?,
        };
        let words = |told: Vec<import::Problem>| told.iter().map(ToString::to_string).collect();
        let Imported { glossary, notes } =
            import::import(format, &request.content, pair).map_err(words)?;
        let entries = u32::try_from(glossary.len()).unwrap_or(u32::MAX);
        let origin = "service set_glossary".to_owned();
        let named = Named { name: request.name.clone(), origin, pair, glossary, mark: None };
        self.by_service.insert(request.name.clone(), named);
        Ok((entries, words(notes)))
    }

    /// All of them as the translator takes them, on top of the parameter's terms.
    ///
    /// # Errors
    /// When there are too many, two have one name, or the default is none of them.
    pub(super) fn assemble(&self, live: &LiveConfig) -> Result<GlossarySet, String> {
        let mut set = GlossarySet::from_base(live.terms.clone());
        for (index, named) in self.files.iter().enumerate() {
            if let Some(twin) = self.files[..index].iter().find(|other| other.name == named.name) {
                return Err(format!(
                    "glossary.files: {} and {} both make a glossary '{}'; rename one",
                    twin.origin, named.origin, named.name
                ));
            }
        }
        // What the service set wins over a file of that name.
        for named in self.files.iter().chain(self.by_service.values()) {
            set.insert(&named.name, named.glossary.clone()).map_err(|error| error.to_string())?;
        }
        let default = live.glossary_default.as_str();
        set.set_default(Some(default).filter(|name| !name.is_empty()))
            .map_err(|error| format!("glossary.default: {error}"))?;
        Ok(set)
    }

    /// What `~/list_glossaries` answers.
    pub(super) fn list(&self, live: &LiveConfig) -> ListGlossariesResponse {
        let mut response = ListGlossariesResponse {
            default_glossary: live.glossary_default.clone(),
            ..ListGlossariesResponse::default()
        };
        let mut add = |name: &str, origin: &str, pair: LanguagePair, n_entries: usize| {
            let code = |language: Option<Language>| language.map_or("", Language::code).to_owned();
            response.names.push(name.to_owned());
            response.origins.push(origin.to_owned());
            response.source_locales.push(code(pair.source));
            response.target_locales.push(code(pair.target));
            response.entries.push(u32::try_from(n_entries).unwrap_or(u32::MAX));
        };
        if !live.terms.is_empty() {
            let any = LanguagePair::default();
            add(TERMS_NAME, "parameter glossary.terms", any, live.terms.len());
        }
        let hidden = |named: &&Named| !self.by_service.contains_key(&named.name);
        for named in self.files.iter().filter(hidden).chain(self.by_service.values()) {
            add(&named.name, &named.origin, named.pair, named.glossary.len());
        }
        response
    }

    /// The files in force, with their marks from when they were read.
    pub(super) fn files_read(&self) -> Vec<(String, Mark)> {
        self.files.iter().map(|named| (named.origin.clone(), named.mark)).collect()
    }

    /// Number of glossaries and of their entries.
    pub(super) fn count(&self) -> (usize, usize) {
        let all = || self.files.iter().chain(self.by_service.values());
        (all().count(), all().map(|named| named.glossary.len()).sum())
    }
}

/// Reads a file. Its name is that of the glossary, up to the first dot: `hotel.tsv`.
fn read(path: &str) -> Result<Named, String> {
    let shown = shortened(path);
    let refused = |reason: String| format!("glossary.files: '{shown}' {reason}");
    let file_name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (name, _) = file_name.split_once('.').unwrap_or((file_name, ""));
    check_name(name).map_err(&refused)?;
    let extension = Path::new(path).extension().and_then(|e| e.to_str()).unwrap_or_default();
    let mark = mark(path);
    let bytes = read_bounded(path).map_err(&refused)?;
    let told = |problem: &import::Problem| format!("glossary '{shown}' {problem}");
    let content = import::decode(&bytes).map_err(|problem| told(&problem))?;
    let format = Format::named_or_sniffed(extension, &content)
        .map_err(|error| refused(format!("has the {error}")))?;
    let any = LanguagePair::default();
    let Imported { glossary, notes } =
        import::import(format, &content, any).map_err(|problems| {
            problems.first().map_or_else(|| refused("is not valid".into()), told)
        })?;
    for note in &notes {
        tracing::warn!("{}", told(note));
    }
    let pair = common_pair(&glossary);
    Ok(Named { name: name.to_owned(), origin: path.to_owned(), pair, glossary, mark })
}

/// The pair that all entries have; any where they differ.
fn common_pair(glossary: &Glossary) -> LanguagePair {
    let mut pairs = glossary.entries().iter().map(|entry| entry.pair);
    let Some(first) = pairs.next() else { return LanguagePair::default() };
    if pairs.all(|pair| pair == first) { first } else { LanguagePair::default() }
}

/// The file, one byte above the limit at most, so that the importer can tell.
fn read_bounded(path: &str) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut content = Vec::new();
    file.take(IMPORT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut content)
        .map_err(|error| format!("cannot be read: {error}"))?;
    Ok(content)
}

fn check_name(name: &str) -> Result<(), String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_fine) {
        return Err(format!(
            "has no valid name '{}'; allowed: 1 to {NAME_BYTES_MAX} letters, digits, '_', '-', '.'",
            shortened(name)
        ));
    }
    Ok(())
}

fn optional_language(field: &str, tag: &str) -> Result<Option<Language>, String> {
    if tag.trim().is_empty() {
        return Ok(None);
    }
    Language::parse(tag).map(Some).map_err(|error| format!("{field}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(default: &str) -> LiveConfig {
        let values = crate::parameters::declare(&[]).unwrap().0.snapshot();
        let live = LiveConfig::from_parameters(&values).unwrap();
        LiveConfig { glossary_default: default.to_owned(), ..live }
    }

    fn request(name: &str, content: &str) -> SetGlossaryRequest {
        SetGlossaryRequest {
            name: name.to_owned(),
            format: "tsv".to_owned(),
            content: content.to_owned(),
            ..SetGlossaryRequest::default()
        }
    }

    #[test]
    fn a_service_makes_replaces_and_removes() {
        let mut glossaries = Glossaries::default();
        assert_eq!(glossaries.set(&request("hotel", "lift\tAufzug\n")), Ok((1, vec![])));
        assert_eq!(
            glossaries.set(&request("hotel", "lift\tAufzug\ndesk\tTresen\n")),
            Ok((2, vec![]))
        );
        let problems = glossaries.set(&request("hotel", "lift\n")).unwrap_err();
        assert_eq!(problems, ["line 1: 1 columns, expected 2"]);
        assert_eq!(glossaries.list(&live("hotel")).entries, [2], "the old one stays");
        assert!(glossaries.assemble(&live("hotel")).is_ok());
        let error = glossaries.assemble(&live("hotl")).unwrap_err();
        assert!(error.contains("did you mean 'hotel'"), "{error}");
        assert_eq!(glossaries.set(&request("hotel", "")), Ok((0, vec![])));
        assert!(glossaries.set(&request("hotel", "")).is_err());
        assert!(glossaries.set(&request("a b", "x\ty\n")).is_err());
        let sniffed = SetGlossaryRequest {
            format: String::new(),
            target_locale: "de".to_owned(),
            ..request(
                "museum",
                "<tmx><header srclang='en'/><body><tu><tuv lang='en'><seg>hall</seg></tuv>\
                <tuv lang='de'><seg>Saal</seg></tuv><tuv lang='fr'><seg>salle</seg></tuv></tu>\
                <tu><tuv lang='fi'><seg>sali</seg></tuv></tu></body></tmx>",
            )
        };
        let (entries, notes) = glossaries.set(&sniffed).unwrap();
        assert_eq!(entries, 1, "only into German");
        assert_eq!(notes, ["line 1: 1 left out: the language 'fi' is not supported"]);
    }

    #[test]
    fn files_are_named_by_their_stem_and_stay_on_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hotel.csv");
        std::fs::write(&path, "en,de\nlift,Aufzug\n").unwrap();
        let paths = [path.to_str().unwrap().to_owned()];
        let glossaries = Glossaries::default().with_files(&paths, false).unwrap();
        let listed = glossaries.list(&live(""));
        assert_eq!((listed.names[0].as_str(), listed.target_locales[0].as_str()), ("hotel", "de"));
        std::fs::write(&path, "en,de\nlift,Aufzug,what\n").unwrap();
        assert!(glossaries.with_files(&paths, false).is_ok(), "not read again");
        let error = glossaries.with_files(&paths, true).unwrap_err();
        assert!(error.ends_with("line 2: 3 columns, expected 2"), "{error}");
        for bad in ["/nowhere/hotel.tsv", "hotel.xlsx", "/"] {
            assert!(glossaries.with_files(&[bad.to_owned()], false).is_err(), "{bad}");
        }
        let twice = [paths[0].clone(), paths[0].clone()];
        std::fs::write(&path, "lift,Aufzug\n").unwrap();
        let twins = glossaries.with_files(&twice, false).unwrap();
        assert!(twins.assemble(&live("")).unwrap_err().contains("both make a glossary 'hotel'"));
    }
}
