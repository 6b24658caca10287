//! Texts that are translated in parts.

use super::*;

/// Parts that a rule can find by their letter, told apart from the words of the prompt.
const THREE: &str = "Part ALPHA is here.\n\n  - Part BRAVO is here.\nPart CHARLIE is here.";

fn english(text: &str) -> RawRequest<'_> {
    RawRequest { text, source: "en", ..DOOR }
}

#[test]
fn paragraphs_and_indentation_are_kept() {
    let generator = Arc::new(Scripted::answering(&[
        ("ALPHA", "Teil A."),
        ("BRAVO", "- Teil B."),
        ("CHARLIE", "Teil C."),
    ]));
    let translator = Translator::new(generator.clone(), config(&["de", "zh"]));
    let results = run(&translator, &english(THREE));
    assert_eq!(results[0].text, "Teil A.\n\n  - Teil B.\nTeil C.");
    assert_eq!(results[1].text, results[0].text);
    assert_eq!((results[0].tokens_in, results[0].tokens_out), (90, 21));
    assert_eq!((results[0].queue_ms, results[0].inference_ms), (1.0, 2.0), "they ran together");
    let prompts = &generator.batches()[0];
    assert_eq!(prompts.len(), 6);
    assert!(prompts[0].user.ends_with("\n\nPart ALPHA is here."), "{:?}", prompts[0]);
    assert!(prompts[1].user.starts_with("将以下文本翻译为中文"), "part by part");
    // Without a blank line a short text is one, as it always was.
    run(&translator, &english("Part ALPHA is here.\nPart BRAVO is here."));
    assert_eq!(generator.batches()[1].len(), 2);
}

#[test]
fn a_long_text_is_asked_in_batches_of_bounded_size() {
    let generator = Arc::new(Scripted::answering(&[("door", "Tür."), ("robot", "Roboter.")]));
    let mut config = config(&["de"]);
    config.cache.entries_max = 0;
    let translator = Translator::new(generator.clone(), config);
    let text = "The door is open. The robot is here. 12! ".repeat(20);
    let result = &run(&translator, &english(&text))[0];
    assert_eq!(result.text, "Tür. Roboter. 12! ".repeat(20).trim());
    let sizes: Vec<_> = generator.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [16, 16, 8], "a number needs no model");
    assert_eq!((result.queue_ms, result.inference_ms), (3.0, 6.0), "batch after batch");
    assert_eq!(result.tokens_out, 40 * 7);
}

#[test]
fn a_repeat_in_a_later_batch_is_known() {
    let generator = Arc::new(Scripted::answering(&[("door", "Tür.")]));
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let result = &run(&translator, &english(&"The door is open. ".repeat(40)))[0];
    assert_eq!(result.text, "Tür. ".repeat(40).trim());
    assert_eq!(generator.batches().len(), 1);
    assert!(!result.from_cache);
}

#[test]
fn a_failed_part_fails_its_target_and_is_named() {
    struct Engine;
    impl Generator for Engine {
        fn generate(
            &self,
            prompts: &[GeneratePrompt],
            _: &GenerateOptions,
            _: &mut dyn FnMut(usize, &str) -> Flow,
        ) -> Vec<Result<Generated, GenerateError>> {
            let answer = |prompt: &GeneratePrompt| {
                let is_broken = prompt.user.contains("BRAVO") && prompt.user.contains("German");
                let too_long = prompt.user.contains("CHARLIE") && prompt.user.contains("French");
                match (is_broken, too_long) {
                    (true, _) => Err(GenerateError::Engine { detail: "no memory".to_owned() }),
                    (_, true) => Err(GenerateError::PromptTooLong { tokens: 900, limit: 512 }),
                    _ => Ok(generated("Teil.")),
                }
            };
            prompts.iter().map(answer).collect()
        }

        fn count_tokens(&self, _: &str) -> usize {
            0
        }
    }
    let translator = Translator::new(Arc::new(Engine), config(&["de", "nl", "fr"]));
    let results = run(&translator, &english(THREE));
    assert_eq!((results[0].status, results[0].error), (Status::Failed, Some(ErrorCode::Failed)));
    assert_eq!(results[0].detail, "part 2 of 3: the engine failed: no memory");
    assert_eq!(results[0].text, "");
    assert_eq!(results[1].text, "Teil.\n\n  Teil.\nTeil.");
    assert_eq!(results[2].status, Status::Rejected);
    assert!(results[2].detail.starts_with("part 3 of 3: the prompt has 900 tokens"));
}

#[test]
fn after_a_failure_the_rest_of_the_target_is_not_asked() {
    let engine = GenerateError::Engine { detail: "no memory".to_owned() };
    let rules = vec![("German", Err(engine))];
    let generator = Arc::new(Scripted { rules, ..Scripted::default() });
    let translator = Translator::new(generator.clone(), config(&["de", "fr"]));
    let text: String = (0..40).map(|n| format!("The door {n} is open. ")).collect();
    let results = run(&translator, &english(&text));
    assert!(results[0].detail.starts_with("part 1 of 40: "), "{}", results[0].detail);
    assert_eq!(results[1].status, Status::Ok);
    let german = generator.batches().concat();
    let german = german.iter().filter(|prompt| prompt.user.contains("German")).count();
    assert_eq!(german, 8, "those of the first batch");
}

#[test]
fn cancelling_ends_a_long_text_at_the_next_batch() {
    let generator = Arc::new(Scripted::default());
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let text: String = (0..60).map(|n| format!("The door {n} is open. ")).collect();
    let request = translator.request(&english(&text)).unwrap();
    let options = GenerateOptions::default();
    let result = &translator.translate(&request, &options, &mut |_, _| options.cancel.cancel())[0];
    assert_eq!(result.status, Status::Failed);
    assert_eq!(result.detail, "part 2 of 60: cancelled");
    assert_eq!(generator.batches().len(), 1);
}

#[test]
fn a_part_that_is_cut_off_or_empty_is_named() {
    let cut = Generated { truncated: true, tokens_out: 64, ..generated("Teil B") };
    let rules = vec![("BRAVO", Ok(cut)), ("CHARLIE", Ok(generated("C.")))];
    let generator = Scripted { rules, ..Scripted::default() };
    let result = &run(&Translator::new(Arc::new(generator), config(&["de"])), &english(THREE))[0];
    assert_eq!(result.status, Status::Truncated);
    assert_eq!(result.text, "?\n\n  Teil B\nC.");
    assert_eq!(result.detail, "part 2 of 3: ended after 64 tokens, the limit");

    let generator = Scripted { rules: vec![("BRAVO", Ok(generated(" ")))], ..Scripted::default() };
    let result = &run(&Translator::new(Arc::new(generator), config(&["de"])), &english(THREE))[0];
    assert_eq!(result.status, Status::Failed);
    assert_eq!(result.detail, "part 2 of 3: the model gave an empty answer");
}

#[test]
fn partials_grow_in_the_order_of_the_text() {
    let answers = [("ALPHA", "Teil eins."), ("BRAVO", "Teil zwei."), ("CHARLIE", "Teil drei.")];
    let generator = Arc::new(Scripted::answering(&answers));
    let translator = Translator::new(generator, config(&["de"]));
    let request = translator.request(&english(THREE)).unwrap();
    let mut partials = Vec::new();
    let result = translator.translate(&request, &GenerateOptions::default(), &mut |_, text| {
        partials.push(text.to_owned());
    });
    let expected = [
        "Teil",
        "Teil eins.",
        "Teil eins.\n\n  Teil zwei.",
        "Teil eins.\n\n  Teil zwei.\nTeil drei.",
    ];
    assert_eq!(partials, expected);
    assert_eq!(result[0].text, expected[3]);
}

#[test]
fn terms_are_chosen_for_each_part_and_reported_over_all() {
    let generator = Arc::new(Scripted::answering(&[("ALPHA", "Das Tor A."), ("BRAVO", "Teil B.")]));
    let mut config = config(&["de"]);
    let lines = ["ALPHA=Tor", "BRAVO=Bravo", "CHARLIE=?", "Part=Teil", "Delta=Delta"];
    config.glossaries.base = Glossary::from_lines(lines).unwrap();
    let translator = Translator::new(generator.clone(), config);
    let result = &run(&translator, &english(THREE))[0];
    let shown = |terms: &[Term]| terms.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&result.glossary_applied), ["ALPHA=Tor", "CHARLIE=?"]);
    assert_eq!(shown(&result.glossary_missed), ["Part=Teil", "BRAVO=Bravo"]);
    let prompts = &generator.batches()[0];
    let with_term = |term: &str| prompts.iter().filter(|p| p.user.contains(term)).count();
    assert_eq!(with_term("ALPHA translates to Tor"), 1);
    assert_eq!(with_term("Part translates to Teil"), 3);
    assert_eq!(with_term("Delta"), 0);
}

#[test]
fn a_part_of_format_is_never_cut() {
    let generator = Arc::new(Scripted::default());
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let code = "`Stop. Go. 再见。 Run.`";
    let text = format!("Press the key {code} now. The door is open.\n\nIt ends here.");
    run(&translator, &english(&text));
    let prompts = generator.batches().concat();
    assert!(prompts[0].user.ends_with("\n\nPress the key ⟦1⟧ now."), "{:?}", prompts[0]);
    assert!(prompts.iter().all(|prompt| !prompt.user.contains("⟦2⟧")));
}
