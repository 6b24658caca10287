//! Services about languages and glossaries, and those that make the node forget.

use std::sync::Arc;

use hymt_core::language::Language;

use super::NodeError;
use super::shared::Shared;
use super::talk::Talk;
use crate::config::LiveConfig;
use crate::ros::wire::Trigger;
use crate::ros::wire::common::TriggerResponse;
use crate::ros::wire::hymt::{
    ListGlossaries, ListGlossariesResponse, ListLanguages, ListLanguagesResponse, SetGlossary,
    SetGlossaryRequest, SetGlossaryResponse,
};
use crate::ros::{Node, Server};

/// The services, alive as long as this is.
pub(super) struct GlossaryServices {
    _list_languages: Server<ListLanguages>,
    _set_glossary: Server<SetGlossary>,
    _list_glossaries: Server<ListGlossaries>,
    _reload_glossaries: Server<Trigger>,
    _clear_cache: Server<Trigger>,
    _reset_context: Server<Trigger>,
}

impl GlossaryServices {
    pub(super) fn start(node: &Node, shared: &Arc<Shared>) -> Result<Self, NodeError> {
        let service = |name: &str| shared.names.service(&format!("~/{name}"));
        let (languages, set, list) = (Arc::clone(shared), Arc::clone(shared), Arc::clone(shared));
        let (reload, clear, reset) = (Arc::clone(shared), Arc::clone(shared), Arc::clone(shared));
        Ok(Self {
            _list_languages: node.service(&service("list_languages")?, move |_, responder| {
                responder.respond_or_log(&list_languages(&languages));
            })?,
            _set_glossary: node.service(
                &service("set_glossary")?,
                move |request: SetGlossaryRequest, responder| {
                    responder.respond_or_log(&set_glossary(&set, &request));
                },
            )?,
            _list_glossaries: node.service(&service("list_glossaries")?, move |_, responder| {
                responder.respond_or_log(&list_glossaries(&list));
            })?,
            _reload_glossaries: node.service(
                &service("reload_glossaries")?,
                move |_, responder| {
                    responder.respond_or_log(&reload_glossaries(&reload));
                },
            )?,
            _clear_cache: node.service(&service("clear_cache")?, move |_, responder| {
                responder.respond_or_log(&clear_cache(&clear));
            })?,
            _reset_context: node.service(&service("reset_context")?, move |_, responder| {
                reset.with_talk(Talk::reset);
                let message = match reset.with_speech(|speech| speech.reset_context()) {
                    Some(()) => "what speakers said before is forgotten",
                    None => "nothing to forget: the node is not active",
                };
                responder.respond_or_log(&done(message));
            })?,
        })
    }
}

fn list_languages(shared: &Shared) -> ListLanguagesResponse {
    let Some(session) = shared.session() else { return ListLanguagesResponse::default() };
    let known = &session.model.languages;
    let languages: Vec<Language> =
        Language::all().filter(|language| known.is_empty() || known.contains(language)).collect();
    ListLanguagesResponse {
        locales: languages.iter().map(|language| language.code().to_owned()).collect(),
        names: languages.iter().map(|language| language.english_name().to_owned()).collect(),
        glossary_ok: vec![true; languages.len()],
        model: session.model.about.model.clone(),
    }
}

fn set_glossary(shared: &Shared, request: &SetGlossaryRequest) -> SetGlossaryResponse {
    match shared.apply(false, |glossaries| glossaries.set(request)) {
        Ok((entries, problems)) => SetGlossaryResponse { success: true, entries, problems },
        Err(problems) => SetGlossaryResponse { success: false, entries: 0, problems },
    }
}

fn list_glossaries(shared: &Shared) -> ListGlossariesResponse {
    match LiveConfig::from_parameters(&shared.store.snapshot()) {
        Ok(live) => shared.glossaries().list(&live),
        // The store checks a group as a whole, so this cannot happen.
        Err(reason) => {
            tracing::error!(reason, "the parameters do not fit together");
            ListGlossariesResponse::default()
        }
    }
}

fn reload_glossaries(shared: &Shared) -> TriggerResponse {
    match shared.apply(true, |glossaries| Ok(glossaries.count())) {
        Ok((n_glossaries, n_entries)) => {
            done(&format!("{n_glossaries} glossaries with {n_entries} entries"))
        }
        Err(problems) => {
            let message = format!("{}; what was there stays", problems.join("; "));
            TriggerResponse { success: false, message }
        }
    }
}

fn clear_cache(shared: &Shared) -> TriggerResponse {
    let Some(session) = shared.session() else {
        return done("nothing to forget: no model is loaded");
    };
    let entries = session.translator.cache_stats().entries;
    session.translator.clear_cache();
    done(&format!("{entries} answers are forgotten"))
}

fn done(message: &str) -> TriggerResponse {
    TriggerResponse { success: true, message: message.to_owned() }
}
