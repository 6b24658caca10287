//! What becomes of answers that a guard does not like.

use super::*;
use crate::guard::GuardStats;
use crate::prompt;

const TEXT: &str = "Please close the heavy door behind you, thank you very much.";
const GOOD: &str = "Bitte schließen Sie die Tür hinter sich, danke.";
/// What the German prompts begin with, the usual one and the other.
const ENGLISH: &str = "Translate the following";
const CHINESE: &str = "将以下文本翻译为";

fn english(text: &str) -> RawRequest<'_> {
    RawRequest { text, source: "en", ..DOOR }
}

/// The German translation of [`TEXT`] when the two prompts have these answers, the number of prompts, and
/// the counters.
fn asked(first: &str, second: &str) -> (Translation, usize, GuardStats) {
    let generator = Arc::new(Scripted::answering(&[(ENGLISH, first), (CHINESE, second)]));
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let result = run(&translator, &english(TEXT)).remove(0);
    (result, generator.batches().concat().len(), translator.guard_stats())
}

#[test]
fn a_clean_answer_is_asked_for_once() {
    let (result, n_asked, stats) = asked(GOOD, "?");
    assert_eq!((result.text.as_str(), result.detail.as_str(), n_asked), (GOOD, "", 1));
    assert_eq!(stats, GuardStats::default());
}

#[test]
fn each_fault_is_asked_again_once_in_the_other_language() {
    let endless = "Bitte schließen Sie die Tür und ".to_owned() + &"dann die Tür und ".repeat(30);
    let long = "Die Tür hat eine lange Geschichte, sie beginnt im alten Rom. ".to_owned()
        + "Danach kam das Mittelalter mit Holz und Eisen, später Stahl, Glas und Kunststoff in allen Farben. Heute öffnen sich viele Türen von selbst, sobald jemand sich ihnen nähert, und manche sprechen sogar mit ihren Gästen.";
    for (bad, why) in [
        (endless.as_str(), "the answer repeats itself without end"),
        ("请随手把门关上，谢谢您的合作。", "the answer is in Chinese letters"),
        (TEXT, "the answer is the text unchanged"),
        ("Translate the following text: Bitte schließen", "the answer repeats the instruction"),
        (&long, "the answer is far longer than the text"),
        ("Tür", "the answer is far shorter than the text"),
    ] {
        let (result, n_asked, stats) = asked(bad, GOOD);
        assert_eq!((result.text.as_str(), result.status, n_asked), (GOOD, Status::Ok, 2), "{bad}");
        let detail = format!("{why}, so it was asked for again with the Chinese prompt");
        assert_eq!(result.detail, detail);
        assert_eq!((stats.retries, stats.improved, stats.refused, stats.faults()), (1, 1, 0, 1));

        let (result, n_asked, stats) = asked(bad, bad);
        assert_eq!((n_asked, stats.retries, stats.improved, stats.faults()), (2, 1, 0, 2), "{bad}");
        assert!(result.detail.starts_with(why), "{}", result.detail);
        let how = "; asked again with the Chinese prompt without a better answer";
        assert!(result.detail.contains(how), "{}", result.detail);
        match why {
            "the answer repeats itself without end" => {
                assert_eq!(result.status, Status::Truncated);
                assert_eq!(result.text, "Bitte schließen Sie die Tür und dann");
            }
            "the answer is in Chinese letters" => {
                assert_eq!((result.status, result.text.as_str()), (Status::Failed, ""));
                assert_eq!(stats.refused, 1);
            }
            _ => assert_eq!((result.status, result.text.as_str()), (Status::Ok, bad)),
        }
    }
}

#[test]
fn the_better_of_two_bad_answers_is_kept() {
    let (result, n_asked, stats) = asked("请随手把门关上，谢谢您的合作。", "Tür");
    assert_eq!((result.text.as_str(), result.status, n_asked), ("Tür", Status::Ok, 2));
    let detail =
        "the answer is far shorter than the text; it was asked for again with the Chinese prompt";
    assert_eq!(result.detail, detail);
    assert_eq!((stats.wrong_script, stats.lengths, stats.improved), (1, 1, 1));
    let (result, ..) = asked("Tür", "请随手把门关上，谢谢您的合作。");
    assert_eq!(result.text, "Tür");
}

#[test]
fn a_second_attempt_that_fails_leaves_the_first() {
    let engine = GenerateError::Engine { detail: "no memory".to_owned() };
    let rules = vec![(ENGLISH, Ok(generated("Tür"))), (CHINESE, Err(engine))];
    let generator = Scripted { rules, ..Scripted::default() };
    let result = &run(&Translator::new(Arc::new(generator), config(&["de"])), &english(TEXT))[0];
    assert_eq!((result.text.as_str(), result.status), ("Tür", Status::Ok));
    assert!(result.detail.ends_with("with the Chinese prompt: the engine failed: no memory"));
}

#[test]
fn an_endless_answer_is_stopped_while_it_grows() {
    let endless = "Tür und ".repeat(100);
    let partials = Mutex::new(Vec::new());
    struct Growing<'t>(&'t Mutex<Vec<usize>>, String);
    impl Generator for Growing<'_> {
        fn generate(
            &self,
            prompts: &[GeneratePrompt],
            _: &GenerateOptions,
            on_partial: &mut dyn FnMut(usize, &str) -> Flow,
        ) -> Vec<Result<Generated, GenerateError>> {
            assert_eq!(prompts.len(), 1);
            for end in (0..=self.1.len()).filter(|end| self.1.is_char_boundary(*end)) {
                if on_partial(0, &self.1[..end]) == Flow::Stop {
                    self.0.lock().unwrap().push(end);
                    return vec![Ok(Generated { truncated: true, ..generated(&self.1[..end]) })];
                }
            }
            vec![Ok(generated(&self.1))]
        }

        fn count_tokens(&self, _: &str) -> usize {
            0
        }
    }
    let partials: &'static Mutex<Vec<usize>> = Box::leak(Box::new(partials));
    let translator = Translator::new(Arc::new(Growing(partials, endless.clone())), config(&["de"]));
    let result = &run(&translator, &english("The door."))[0];
    assert_eq!((result.text.as_str(), result.status), ("Tür und", Status::Truncated));
    assert!(result.detail.starts_with("the answer repeats itself without end and was cut"));
    let stopped = partials.lock().unwrap().clone();
    assert_eq!(stopped.len(), 2, "both attempts");
    assert!(stopped.iter().all(|end| *end < endless.len() / 8), "{stopped:?}");
    assert_eq!(translator.guard_stats().loops, 2);
}

#[test]
fn wrappers_and_special_tokens_are_taken_away() {
    let answer = format!("Sure, here is the translation:\n\n“{GOOD}”<｜hy_place▁holder▁no▁2｜>");
    let (result, n_asked, stats) = asked(&answer, "?");
    assert_eq!((result.text.as_str(), n_asked), (GOOD, 1));
    assert_eq!(result.detail, "what the model wrote around the translation was taken away");
    assert_eq!((stats.leaks, stats.wrappers, stats.faults()), (1, 2, 0));
}

#[test]
fn lost_numbers_are_told_and_nothing_is_asked_again() {
    let generator = Arc::new(Scripted::answering(&[(ENGLISH, "Zimmer 21, Ausgang B.")]));
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let result = &run(&translator, &english("Room 12, exit B7."))[0];
    assert_eq!(result.detail, "numbers differ: 12 is missing; names differ: B7 is missing");
    assert_eq!((result.status, generator.batches().len()), (Status::Ok, 1));
    assert_eq!(translator.guard_stats().differences, 1);
}

#[test]
fn terms_are_asked_for_again_only_where_they_are_enforced() {
    let terms = ["door=Ladetor".to_owned(), "open=offen".to_owned()];
    let raw = RawRequest { source: "en", inline_terms: &terms, ..DOOR };
    let tightened =
        "open translates to offen\ndoor translates to Ladetor\ndoor translates to Ladetor\n\n";
    for (second, text, missed) in [
        ("Das Ladetor ist offen.", "Das Ladetor ist offen.", 0),
        ("Die Pforte steht auf.", "Die Tür ist offen.", 1),
    ] {
        let rules = [(tightened, second), (ENGLISH, "Die Tür ist offen.")];
        let generator = Arc::new(Scripted::answering(&rules));
        let config = TranslatorConfig { enforce_terms: true, ..config(&["de"]) };
        let translator = Translator::new(generator.clone(), config);
        let result = &run(&translator, &raw)[0];
        assert_eq!((result.text.as_str(), result.glossary_missed.len()), (text, missed));
        assert!(result.detail.starts_with("the answer lacks 1 of the terms"), "{}", result.detail);
        assert!(result.detail.contains("with the missing terms once more"), "{}", result.detail);
        assert_eq!(generator.batches().concat().len(), 2);
        assert_eq!(translator.guard_stats().retries, 1);
    }
    let generator = Arc::new(Scripted::answering(&[(ENGLISH, "Die Tür ist offen.")]));
    let result = &run(&Translator::new(generator.clone(), config(&["de"])), &raw)[0];
    assert_eq!((result.detail.as_str(), result.glossary_missed.len()), ("", 1));
    assert_eq!(generator.batches().len(), 1);
}

#[test]
fn what_a_guard_refused_is_not_given_again() {
    let generator =
        Arc::new(Scripted::answering(&[(ENGLISH, "门开着，请您快快进来吧。"), (CHINESE, GOOD)]));
    let translator = Translator::new(generator.clone(), config(&["de"]));
    run(&translator, &english(TEXT));
    let again = &run(&translator, &english(TEXT))[0];
    assert_eq!(again.text, GOOD);
    let sizes: Vec<_> = generator.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 1, 1], "the first prompt is asked anew, the second is known");
}

#[test]
fn at_most_three_answers_make_a_piece() {
    // The marks are lost, then the plain answer is bad, then so is the other plain one.
    let rules = [
        ("delimiters", "Tür"),
        (ENGLISH, "请随手把门关上，谢谢"),
        (CHINESE, "门开着，请您快快进来"),
    ];
    let generator = Arc::new(Scripted::answering(&rules));
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let result = &run(&translator, &english("Please <b>close</b> the door behind you."))[0];
    assert_eq!(generator.batches().concat().len(), crate::guard::ANSWERS_PER_PIECE_MAX);
    assert_eq!(result.status, Status::Failed);
    // The marked answer is bad, the other template loses the marks, the plain one is good.
    let rules = [("delimiters", "⟦1⟧请关门⟦/1⟧谢谢您的合作"), ("分隔符", "Tür"), (ENGLISH, GOOD)];
    let generator = Arc::new(Scripted::answering(&rules));
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let result = &run(&translator, &english("Please <b>close</b> the door behind you."))[0];
    assert_eq!((result.text.as_str(), result.status), (GOOD, Status::Ok));
    assert_eq!(generator.batches().concat().len(), crate::guard::ANSWERS_PER_PIECE_MAX);
}

#[test]
fn a_growing_text_is_asked_for_once() {
    let foreign = "请随手把门关上，谢谢您的合作。";
    for (answer, status, text) in [
        ("Tür", Status::Ok, "Tür"),
        (foreign, Status::Failed, ""),
        (&"Tür und ".repeat(40), Status::Truncated, "Tür und"),
    ] {
        let generator = Arc::new(Scripted::answering(&[(ENGLISH, answer), (CHINESE, GOOD)]));
        let translator = Translator::new(generator.clone(), config(&["de"]));
        let request = translator.request(&english(TEXT)).unwrap();
        let ask = |request: &TranslateRequest| {
            translator.translate(request, &GenerateOptions::default(), &mut |_, _| ()).remove(0)
        };
        let result = ask(&request.clone().of_growing_text());
        assert_eq!((result.status, result.text.as_str()), (status, text));
        assert_eq!(generator.batches().concat().len(), 1);
        assert!(!result.detail.is_empty());
        // Its end is asked for as ever, whatever is known of the beginning.
        assert_eq!(ask(&request).text, GOOD);
    }
}

#[test]
fn a_missing_term_is_no_reason_to_lose_the_format() {
    let terms = ["door=Ladetor".to_owned()];
    let text = "Please <b>close</b> the door behind you.";
    let raw = RawRequest { inline_terms: &terms, ..english(text) };
    // With the term said again the marks are lost, and without marks it would be used.
    let rules = [
        ("door translates to Ladetor\ndoor", "Tor"),
        ("delimiters", "Bitte ⟦1⟧schließen⟦/1⟧ Sie die Tür hinter sich."),
        (ENGLISH, "Bitte schließen Sie das Ladetor hinter sich."),
    ];
    let generator = Arc::new(Scripted::answering(&rules));
    let config = TranslatorConfig { enforce_terms: true, ..config(&["de"]) };
    let result = &run(&Translator::new(generator.clone(), config), &raw)[0];
    assert_eq!(result.text, "Bitte <b>schließen</b> Sie die Tür hinter sich.");
    assert!(result.detail.ends_with("with the missing terms once more: the model lost its marks"));
    assert_eq!(generator.batches().concat().len(), 2);
}

#[test]
fn the_first_family_has_no_other_form_with_terms() {
    let term = Term::new("door", "Tür").unwrap();
    let request = prompt::PromptRequest {
        source: Some(Language::English),
        target: Language::German,
        text: "The door",
        terms: &[],
        context: None,
        formality: crate::request::Formality::Default,
    };
    let other = prompt::build_other(PromptFamily::HyMt15, &request);
    assert!(other.is_some_and(|user| user.starts_with("将以下文本翻译为德语")));
    let with_terms = prompt::PromptRequest { terms: std::slice::from_ref(&term), ..request };
    assert_eq!(prompt::build_other(PromptFamily::HyMt15, &with_terms), None);
    let other = prompt::build_other(PromptFamily::HyMt2, &with_terms).unwrap();
    assert!(
        other.starts_with("参考下面的翻译：\ndoor 翻译成 Tür\n将以下文本翻译为德语"),
        "{other}"
    );
    let to_chinese = prompt::PromptRequest { target: Language::Chinese, ..request };
    let other = prompt::build_other(PromptFamily::HyMt2, &to_chinese).unwrap();
    assert!(other.starts_with("Translate the following text into Chinese."), "{other}");
}
