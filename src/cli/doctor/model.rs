//! Does the model load, and does it translate?

use crate::board::Finding;
use crate::cli::ModelArgs;
use crate::cli::translate::Session;

/// Loads the model and lets it translate one sentence.
pub(super) fn findings(args: &ModelArgs) -> Vec<Finding> {
    let what = "model";
    let session = match Session::start(args) {
        Ok(session) => session,
        Err(error) => return vec![Finding::failed(what, format!("{error:#}"))],
    };
    let about = &session.about;
    let (name, engine, ms) = (&about.model, &about.engine, about.load_ms);
    let detail = format!("{name}, {engine}, loaded in {ms:.0} ms");
    let loaded =
        if about.is_demo { Finding::note(what, detail) } else { Finding::ok(what, detail) };
    let sample = "Where is the charging station?";
    let what = "translates";
    let translates = match session.translate_plain(sample, "de") {
        Ok(result) if result.status.is_success() => {
            let (text, ms) = (&result.text, result.total_ms);
            Finding::ok(what, format!("\"{sample}\" -> \"{text}\" in {ms:.0} ms"))
        }
        Ok(result) => Finding::failed(what, result.detail),
        Err(error) => Finding::failed(what, format!("{error:#}")),
    };
    vec![loaded, translates]
}
