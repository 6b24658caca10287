//! Answers given before.

use super::*;
use crate::request::DRAFT_CHARS_MAX;

fn translator(generator: &Arc<Scripted>, targets: &[&str]) -> Translator {
    Translator::new(generator.clone(), config(targets))
}

#[test]
fn the_same_question_is_answered_without_the_generator() {
    let generator = Arc::new(Scripted::answering(&[("German", " Die Tür ist offen.<|eos|>")]));
    let translator = translator(&generator, &["de"]);
    let first = &run(&translator, &DOOR)[0];
    assert!(!first.from_cache);
    let again = &run(&translator, &DOOR)[0];
    assert_eq!(generator.batches().len(), 1);
    assert!(again.from_cache);
    assert_eq!((again.text.as_str(), again.status), ("Die Tür ist offen.", Status::Ok));
    assert_eq!((again.tokens_in, again.tokens_out), (30, 7));
    // Written as they are, so -0.0 would be seen.
    assert_eq!(format!("{} {}", again.queue_ms, again.inference_ms), "0 0");
    assert_eq!((first.queue_ms, first.inference_ms), (1.0, 2.0));
    let stats = translator.cache_stats();
    assert_eq!((stats.hits, stats.misses, stats.entries), (1, 1, 1));
    // A text that needs no model is not from the cache.
    assert!(!run(&translator, &RawRequest { text: "12:30", ..DOOR })[0].from_cache);
}

#[test]
fn whatever_changes_the_prompt_is_asked_anew() {
    let generator = Arc::new(Scripted::default());
    let translator = translator(&generator, &["de"]);
    let (french, terms) = (["fr".to_owned()], ["door=Tor".to_owned()]);
    let variants = [
        DOOR,
        RawRequest { text: "The door is open!", ..DOOR },
        RawRequest { targets: &french, ..DOOR },
        RawRequest { context: "In the hotel.", ..DOOR },
        RawRequest { inline_terms: &terms, ..DOOR },
        RawRequest { formality: 2, ..DOOR },
    ];
    for round in 0..2 {
        for (index, raw) in variants.iter().enumerate() {
            assert_eq!(run(&translator, raw)[0].from_cache, round == 1, "{index}");
        }
    }
    // A term reaches the prompt, and with it the key; nothing needs to be cleared.
    let mut changed = TranslatorConfig::clone(&translator.config());
    changed.glossaries.base = Glossary::from_lines(["open=geöffnet"]).unwrap();
    translator.reconfigure(changed);
    assert!(!run(&translator, &DOOR)[0].from_cache);
    assert_eq!(translator.cache_stats().entries, variants.len() + 1);
}

#[test]
fn another_model_or_family_and_the_caller_clear_it() {
    let generator = Arc::new(Scripted::default());
    let translator = translator(&generator, &["de"]);
    let is_known = || run(&translator, &DOOR)[0].from_cache;
    assert_eq!([is_known(), is_known()], [false, true]);
    translator.clear_cache();
    assert_eq!([is_known(), is_known()], [false, true]);
    let base = TranslatorConfig::clone(&translator.config());
    translator.reconfigure(TranslatorConfig { model: "other int8".to_owned(), ..base.clone() });
    assert_eq!([is_known(), is_known()], [false, true]);
    let family = PromptFamily::HyMt15;
    translator.reconfigure(TranslatorConfig { family, ..base.clone() });
    assert_eq!([is_known(), is_known()], [false, true]);
    // What does not touch the model keeps it.
    let source_fallback = Some(Language::French);
    translator.reconfigure(TranslatorConfig { family, source_fallback, ..base.clone() });
    assert!(is_known());
    let cache = CacheLimits { entries_max: 0, ..CacheLimits::default() };
    translator.reconfigure(TranslatorConfig { cache, ..base });
    assert_eq!([is_known(), is_known()], [false, false]);
    assert_eq!(translator.cache_stats().entries, 0);
}

#[test]
fn what_is_cut_off_empty_or_failed_is_not_kept() {
    let cut = Generated { truncated: true, ..generated("Die Tür ist") };
    let engine = GenerateError::Engine { detail: "out of memory".to_owned() };
    let rules = vec![("German", Ok(cut)), ("French", Err(engine)), ("Dutch", Ok(generated(" ")))];
    let generator = Arc::new(Scripted { rules, ..Scripted::default() });
    let translator = translator(&generator, &["de", "fr", "nl"]);
    for _ in 0..2 {
        assert!(run(&translator, &DOOR).iter().all(|result| !result.from_cache));
    }
    assert_eq!(generator.batches().len(), 2);
    assert_eq!(translator.cache_stats().entries, 0);
}

#[test]
fn an_answer_on_its_way_while_the_cache_is_cleared_is_not_kept() {
    let generator = Arc::new(Scripted::default());
    let translator = translator(&generator, &["de"]);
    let request = translator.request(&DOOR).unwrap();
    translator.translate(&request, &GenerateOptions::default(), &mut |_, _| {
        translator.clear_cache();
    });
    assert_eq!(translator.cache_stats().entries, 0);
    assert!(!run(&translator, &DOOR)[0].from_cache);
}

#[test]
fn a_text_is_from_the_cache_only_when_all_its_parts_are() {
    let generator = Arc::new(Scripted::default());
    let translator = translator(&generator, &["de"]);
    let both = "The door is open.\n\nThe robot is here.";
    assert!(!run(&translator, &RawRequest { source: "en", ..DOOR })[0].from_cache);
    let mixed = &run(&translator, &RawRequest { text: both, source: "en", ..DOOR })[0];
    assert!(!mixed.from_cache);
    assert_eq!((mixed.tokens_in, mixed.tokens_out), (60, 14));
    assert_eq!(generator.batches()[1].len(), 1, "only the second part is new");
    assert!(run(&translator, &RawRequest { text: both, source: "en", ..DOOR })[0].from_cache);
}

#[test]
fn a_draft_goes_to_its_target_and_into_no_key() {
    let generator =
        Arc::new(Scripted::answering(&[("German", "Die Tür."), ("French", "La porte.")]));
    let cache = CacheLimits { entries_max: 9, ..CacheLimits::default() };
    let config = TranslatorConfig { cache, ..config(&["de", "fr"]) };
    let translator = Translator::new(generator.clone(), config);
    let ask = |raw: &RawRequest<'_>, drafts: &[(Language, String)]| {
        let request = translator.request(raw).unwrap().with_drafts(drafts);
        translator.translate(&request, &GenerateOptions::default(), &mut |_, _| {})
    };
    let drafts = [(Language::French, "La".to_owned()), (Language::Chinese, "门".to_owned())];
    let first = ask(&DOOR, &drafts);
    let given: Vec<_> = generator.batches()[0].iter().map(|prompt| prompt.draft.clone()).collect();
    assert_eq!(given, [None, Some("La".to_owned())]);
    let again = ask(&DOOR, &[]);
    assert_eq!(generator.batches().len(), 1, "with or without a draft, it is the same question");
    assert_eq!(again[1].text, first[1].text);

    // Nobody knows which part of a draft belongs to which part of a text.
    ask(&RawRequest { text: "The door is open.\n\nThe window is shut.", ..DOOR }, &drafts);
    assert!(generator.batches()[1].iter().all(|prompt| prompt.draft.is_none()));
    // Markers or not, the draft is of what comes out.
    ask(&RawRequest { text: "The <b>door</b> is open.", ..DOOR }, &drafts);
    let marked = &generator.batches()[2];
    assert!(marked.iter().any(|prompt| prompt.draft.as_deref() == Some("La")), "{marked:?}");
    let long = [(Language::French, "x".repeat(DRAFT_CHARS_MAX + 1))];
    let request = translator.request(&DOOR).unwrap().with_drafts(&long);
    assert_eq!(request.draft(Language::French).map(str::len), Some(DRAFT_CHARS_MAX));
}
