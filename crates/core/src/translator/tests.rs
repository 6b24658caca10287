mod format;
mod guards;
mod languages;
mod long;
mod repeats;

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::error::ErrorCode;
use crate::generate::{Flow, GenerateError, GeneratePrompt, Generated};
use crate::glossary::{Glossary, GlossaryEntry, Term};
use crate::guard::Guards;
use crate::request::SourceChoice;

/// Answers by rule and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    batches: Mutex<Vec<Vec<GeneratePrompt>>>,
    rules: Vec<(&'static str, Result<Generated, GenerateError>)>,
}

fn generated(text: &str) -> Generated {
    Generated {
        text: text.to_owned(),
        tokens_in: 30,
        tokens_out: 7,
        truncated: false,
        queue_ms: 1.0,
        inference_ms: 2.0,
    }
}

impl Scripted {
    /// The first rule whose words the prompt holds gives the answer.
    fn answering(rules: &[(&'static str, &str)]) -> Self {
        let rules = rules.iter().map(|(words, text)| (*words, Ok(generated(text)))).collect();
        Self { rules, ..Self::default() }
    }

    fn batches(&self) -> Vec<Vec<GeneratePrompt>> {
        self.batches.lock().unwrap().clone()
    }
}

impl Generator for Scripted {
    fn generate(
        &self,
        prompts: &[GeneratePrompt],
        options: &GenerateOptions,
        on_partial: &mut dyn FnMut(usize, &str) -> Flow,
    ) -> Vec<Result<Generated, GenerateError>> {
        self.batches.lock().unwrap().push(prompts.to_vec());
        let answer = |(index, prompt): (usize, &GeneratePrompt)| {
            if options.cancel.is_cancelled() {
                return Err(GenerateError::Cancelled);
            }
            let rule = self.rules.iter().find(|(words, _)| prompt.user.contains(words));
            let answer = rule.map_or_else(|| Ok(generated("?")), |(_, answer)| answer.clone())?;
            for partial in [answer.text.split(' ').next().unwrap_or_default(), &answer.text] {
                if on_partial(index, partial) == Flow::Stop {
                    let text = partial.to_owned();
                    return Ok(Generated { text, truncated: true, ..answer });
                }
            }
            Ok(answer)
        };
        prompts.iter().enumerate().map(answer).collect()
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }
}

fn language(code: &str) -> Language {
    Language::parse(code).unwrap()
}

fn config(targets: &[&str]) -> TranslatorConfig {
    TranslatorConfig {
        defaults: RequestDefaults {
            source: SourceChoice::Auto,
            targets: targets.iter().map(|code| language(code)).collect(),
            ..RequestDefaults::default()
        },
        ..TranslatorConfig::default()
    }
}

fn run(translator: &Translator, raw: &RawRequest<'_>) -> Vec<Translation> {
    let request = translator.request(raw).unwrap();
    translator.translate(&request, &GenerateOptions::default(), &mut |_, _| {})
}

const DOOR: RawRequest<'static> = RawRequest {
    text: "The door is open.",
    source: "",
    targets: &[],
    glossary: "",
    inline_terms: &[],
    context: "",
    formality: 0,
    priority: 128,
    timeout_s: 0.0,
};

#[test]
fn all_targets_are_one_batch_and_come_back_in_order() {
    let generator =
        Arc::new(Scripted::answering(&[("German", "Die Tür ist offen."), ("中文", " 门开着。\n")]));
    let translator = Translator::new(generator.clone(), config(&["zh", "de"]));
    let results = run(&translator, &DOOR);
    assert_eq!(generator.batches().len(), 1);
    assert_eq!(generator.batches()[0].len(), 2);
    let texts: Vec<_> = results.iter().map(|r| (r.target.code(), r.text.as_str())).collect();
    assert_eq!(texts, [("zh", "门开着。"), ("de", "Die Tür ist offen.")]);
    for result in &results {
        assert_eq!(result.status, Status::Ok);
        assert_eq!(result.source, Some(Language::English));
        assert!(result.source_confidence > 0.9, "{}", result.source_confidence);
        assert_eq!((result.tokens_in, result.tokens_out), (30, 7));
        assert_eq!(result.detail, "");
        assert!(result.total_ms >= 0.0);
    }
}

#[test]
fn a_text_in_the_target_language_passes_without_inference() {
    let generator = Arc::new(Scripted::answering(&[("German", "Die Tür ist offen.")]));
    let translator = Translator::new(generator.clone(), config(&["en", "de"]));
    let results = run(&translator, &DOOR);
    assert_eq!(results[0].status, Status::Passthrough);
    assert_eq!(results[0].text, DOOR.text);
    assert_eq!(results[0].detail, "the text is in the target language already");
    assert_eq!(results[1].text, "Die Tür ist offen.");
    assert_eq!(generator.batches()[0].len(), 1, "only German was asked for");

    let numbers = run(&translator, &RawRequest { text: "12:30", ..DOOR });
    assert!(numbers.iter().all(|r| r.status == Status::Passthrough && r.text == "12:30"));
    assert_eq!(generator.batches().len(), 1, "nothing was asked for");
}

#[test]
fn several_texts_share_batches_of_bounded_size() {
    let generator =
        Arc::new(Scripted::answering(&[("Two", "Zwei"), ("One", "Eins"), ("Three", "Drei")]));
    let cache = CacheLimits { entries_max: 0, ..CacheLimits::default() };
    let config = TranslatorConfig { cache, ..config(&["de", "en"]) };
    let translator = Translator::new(generator.clone(), config);
    let texts = ["Two doors are open.", "12", "One door is open.", "Three doors are open."];
    let requests: Vec<_> = texts
        .iter()
        .map(|text| translator.request(&RawRequest { text, source: "en", ..DOOR }).unwrap())
        .collect();
    let mut partials = Vec::new();
    let results = translator.translate_all(
        &requests,
        &GenerateOptions::default(),
        &mut |request, target, text| partials.push((request, target, text.to_owned())),
    );
    let german: Vec<&str> = results.iter().map(|targets| targets[0].text.as_str()).collect();
    assert_eq!(german, ["Zwei", "12", "Eins", "Drei"]);
    assert!(results.iter().all(|targets| targets[1].status == Status::Passthrough));
    assert_eq!(generator.batches().len(), 1);
    assert_eq!(partials.last(), Some(&(3, 0, "Drei".to_owned())));

    let many = vec![requests[0].clone(); 20];
    let results = translator.translate_all(&many, &GenerateOptions::default(), &mut |_, _, _| {});
    assert_eq!(results.len(), 20);
    // Two targets each, one of which needs no inference: 8 texts a batch.
    let sizes: Vec<usize> = generator.batches()[1..].iter().map(Vec::len).collect();
    assert_eq!(sizes, [8, 8, 4]);
    assert!(
        translator.translate_all(&[], &GenerateOptions::default(), &mut |_, _, _| {}).is_empty()
    );
}

#[test]
fn partials_carry_the_index_of_their_target() {
    let generator =
        Arc::new(Scripted::answering(&[("German", "Die Tür<|eos|>"), ("French", "La porte")]));
    let translator = Translator::new(generator, config(&["de", "en", "fr"]));
    let request = translator.request(&DOOR).unwrap();
    let mut partials = Vec::new();
    translator.translate(&request, &GenerateOptions::default(), &mut |target, text| {
        partials.push((target, text.to_owned()));
    });
    let expected = [(0, "Die"), (0, "Die Tür"), (2, "La"), (2, "La porte")];
    assert_eq!(partials, expected.map(|(target, text)| (target, text.to_owned())));
}

#[test]
fn a_failure_answers_only_its_own_target() {
    let engine = GenerateError::Engine { detail: "out of memory".to_owned() };
    let too_long = GenerateError::PromptTooLong { tokens: 900, limit: 512 };
    let full = GenerateError::Overloaded { waiting: 64, limit: 64 };
    let generator = Scripted {
        rules: vec![
            ("German", Err(engine)),
            ("French", Ok(generated("La porte est ouverte."))),
            ("Spanish", Err(too_long)),
            ("Dutch", Err(full)),
            ("Italian", Err(GenerateError::DeadlineExceeded)),
            ("Polish", Ok(generated("  <｜hy_place▁holder▁no▁2｜> "))),
        ],
        ..Scripted::default()
    };
    let translator =
        Translator::new(Arc::new(generator), config(&["de", "fr", "es", "nl", "it", "pl"]));
    let results = run(&translator, &DOOR);
    let outcome: Vec<_> = results.iter().map(|r| (r.status, r.error)).collect();
    assert_eq!(
        outcome,
        [
            (Status::Failed, Some(ErrorCode::Failed)),
            (Status::Ok, None),
            (Status::Rejected, Some(ErrorCode::InvalidRequest)),
            (Status::Failed, Some(ErrorCode::Overloaded)),
            (Status::Failed, Some(ErrorCode::Timeout)),
            (Status::Failed, Some(ErrorCode::Failed)),
        ]
    );
    assert_eq!(results[0].detail, "the engine failed: out of memory");
    assert_eq!(results[0].text, "");
    assert_eq!(results[5].detail, "the model gave an empty answer");
}

#[test]
fn too_few_answers_are_a_failure_not_a_panic() {
    struct Silent;
    impl Generator for Silent {
        fn generate(
            &self,
            _: &[GeneratePrompt],
            _: &GenerateOptions,
            on_partial: &mut dyn FnMut(usize, &str) -> Flow,
        ) -> Vec<Result<Generated, GenerateError>> {
            on_partial(99, "nobody asked");
            Vec::new()
        }

        fn count_tokens(&self, _: &str) -> usize {
            0
        }
    }
    let results = run(&Translator::new(Arc::new(Silent), config(&["de"])), &DOOR);
    assert_eq!(results[0].status, Status::Failed);
}

#[test]
fn terms_are_sent_when_they_occur_and_reported() {
    let generator = Arc::new(Scripted::answering(&[
        ("German", "Das Ladetor ist bei Nova."),
        ("French", "La porte est chez Nova."),
    ]));
    let mut config = config(&["de", "fr"]);
    let lines = ["[de]door=Ladetor", "[fr]door=portail", "robot=Nova", "kitchen=Küche"];
    config.glossaries.base = Glossary::from_lines(lines).unwrap();
    let translator = Translator::new(generator.clone(), config);
    let results = run(&translator, &RawRequest { text: "The door is with the robot.", ..DOOR });
    let shown = |terms: &[Term]| terms.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&results[0].glossary_applied), ["door=Ladetor", "robot=Nova"]);
    assert_eq!(shown(&results[0].glossary_missed), [""; 0]);
    assert_eq!(shown(&results[1].glossary_applied), ["robot=Nova"]);
    assert_eq!(shown(&results[1].glossary_missed), ["door=portail"]);
    let prompts = &generator.batches()[0];
    assert!(prompts[0].user.contains("door translates to Ladetor\nrobot translates to Nova\n\n"));
    assert!(prompts.iter().all(|p| !p.user.contains("kitchen")), "it does not occur");
}

#[test]
fn inline_terms_win_over_the_named_glossary_and_that_over_the_base() {
    let generator = Arc::new(Scripted::default());
    let mut config = config(&["de"]);
    config.glossaries.base = Glossary::from_lines(["door=Basis", "open=Basis"]).unwrap();
    let hotel = Glossary::from_lines(["door=Hotel", "open=Hotel"]).unwrap();
    config.glossaries.insert("hotel", hotel).unwrap();
    let translator = Translator::new(generator.clone(), config);
    let terms = ["door=Inline".to_owned()];
    run(&translator, &RawRequest { glossary: "hotel", inline_terms: &terms, ..DOOR });
    let prompt = &generator.batches()[0][0].user;
    assert!(prompt.contains("door translates to Inline\nopen translates to Hotel\n\n"), "{prompt}");

    let unknown = translator.request(&RawRequest { glossary: "hotle", ..DOOR }).unwrap_err();
    assert!(unknown.to_string().contains("did you mean 'hotel'?"));
}

#[test]
fn a_new_configuration_holds_from_the_next_request_on() {
    let generator = Arc::new(Scripted::default());
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let request = translator.request(&DOOR).unwrap();
    let mut changed = TranslatorConfig::clone(&translator.config());
    changed.defaults.targets = vec![Language::French, Language::Japanese];
    changed.detect.allowed = vec![Language::English, Language::French];
    changed.family = PromptFamily::HyMt15;
    let term = GlossaryEntry::parse("door=porte").unwrap();
    changed.glossaries.base.insert(term).unwrap();
    translator.reconfigure(changed);
    assert_eq!(request.targets(), [Language::German], "a request that exists keeps its targets");
    let results = run(&translator, &DOOR);
    assert_eq!(results.len(), 2);
    assert!(generator.batches()[0][0].user.starts_with("参考下面的翻译：\ndoor 翻译成 porte\n"));
}

#[test]
fn an_unrecognised_source_is_said_and_the_fallback_is_used() {
    let generator = Arc::new(Scripted::default());
    let mut config = config(&["de"]);
    let translator = Translator::new(generator.clone(), config.clone());
    let text = RawRequest { text: "Ελληνικά", ..DOOR };
    let result = &run(&translator, &text)[0];
    assert_eq!((result.source, result.source_confidence), (None, 0.0));
    assert_eq!(result.detail, "source language not recognised, left to the model");

    config.source_fallback = Some(Language::Chinese);
    config.detect.min_confidence = 0.99;
    translator.reconfigure(config);
    let result = &run(&translator, &RawRequest { text: "Stop", ..DOOR })[0];
    assert_eq!(result.source, Some(Language::Chinese));
    assert!(
        result.detail.starts_with("source language not recognised (best guess "),
        "{}",
        result.detail
    );
    assert!(result.detail.ends_with("assumed zh"), "{}", result.detail);
    assert!(generator.batches()[1][0].user.contains("德语"), "asked as from Chinese");
}

#[test]
fn a_given_source_is_believed() {
    let generator = Arc::new(Scripted::default());
    let translator = Translator::new(generator.clone(), config(&["en"]));
    let result = &run(&translator, &RawRequest { source: "zh", ..DOOR })[0];
    assert_eq!((result.source, result.source_confidence), (Some(Language::Chinese), 1.0));
    assert!(generator.batches()[0][0].user.contains("英语"));
}

#[test]
fn cancelling_and_the_output_bound_reach_the_generator() {
    let generator = Arc::new(Scripted::default());
    let mut config = config(&["de"]);
    config.limits.new_tokens_max = 300;
    config.guards = Guards::Off;
    let translator = Translator::new(generator.clone(), config);
    let options = GenerateOptions::default();
    options.cancel.cancel();
    let request = translator.request(&RawRequest { timeout_s: 5.0, ..DOOR }).unwrap();
    let result = &translator.translate(&request, &options, &mut |_, _| {})[0];
    assert_eq!((result.status, result.error), (Status::Failed, Some(ErrorCode::Failed)));
    assert_eq!(result.detail, "cancelled");
    let started = Instant::now();
    let deadline = request.generate_options(started, options.cancel).deadline.unwrap();
    assert_eq!(deadline - started, Duration::from_secs(5));

    let long = "The door is open and ".repeat(18);
    run(&translator, &RawRequest { text: &long, ..DOOR });
    run(&translator, &RawRequest { text: "Hello", source: "en", ..DOOR });
    let bounds: Vec<_> = generator.batches().iter().map(|b| b[0].new_tokens_max).collect();
    assert_eq!(bounds, [68, 300, NEW_TOKENS_MIN]);
}

#[test]
fn a_truncated_answer_says_so() {
    let cut = Generated { truncated: true, tokens_out: 64, ..generated("Die Tür ist") };
    let generator = Scripted { rules: vec![("German", Ok(cut))], ..Scripted::default() };
    let result = &run(&Translator::new(Arc::new(generator), config(&["de"])), &DOOR)[0];
    assert_eq!(result.status, Status::Truncated);
    assert_eq!(result.text, "Die Tür ist");
    assert_eq!(result.detail, "ended after 64 tokens, the limit");
}

#[test]
fn context_and_formality_reach_the_prompt_or_are_said_to_be_ignored() {
    let generator = Arc::new(Scripted::default());
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let result = &run(&translator, &RawRequest { formality: 2, ..DOOR })[0];
    assert_eq!(result.detail, "");
    let result =
        &run(&translator, &RawRequest { formality: 2, context: "Guests come.", ..DOOR })[0];
    assert_eq!(result.detail, "this model cannot be asked for a formality here");
    let prompts = generator.batches();
    assert!(prompts[0][0].user.contains("[formal]"));
    assert!(prompts[1][0].user.starts_with("[Background Information]\nGuests come.\n\n"));
}

#[test]
fn languages_that_the_model_does_not_know_are_refused_and_never_detected() {
    let scripted = Arc::new(Scripted::answering(&[("German", "Guten Tag.")]));
    let languages = ["en", "de", "ja"].map(language).to_vec();
    let config = TranslatorConfig { languages, ..config(&["de", "ko"]) };
    let translator = Translator::new(scripted.clone(), config);
    let results = run(&translator, &RawRequest { text: "Good morning.", ..Default::default() });
    assert_eq!((results[0].status, results[0].text.as_str()), (Status::Ok, "Guten Tag."));
    assert_eq!(results[1].status, Status::Rejected);
    assert_eq!(results[1].error, Some(ErrorCode::UnsupportedLanguage));
    assert!(results[1].detail.contains("'ko' (Korean); it knows en, de, ja"), "{:?}", results[1]);
    assert_eq!(scripted.batches()[0].len(), 1, "nothing is asked for it");
    // Clearly French, but the model does not know it.
    let text = "Où est la station de recharge ?";
    let results = run(&translator, &RawRequest { text, ..Default::default() });
    assert_ne!(results[0].source, Some(language("fr")));
    let given = RawRequest { text, source: "fr", ..Default::default() };
    assert!(run(&translator, &given)[0].detail.contains("'fr' (French)"));
}
