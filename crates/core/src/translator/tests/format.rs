//! Texts with parts that must survive, and the law that nothing is lost on the way.

use proptest::prelude::*;

use super::*;

const LINK: &str = "Press <b>Start</b> or see https://example.org now.";

#[test]
fn markers_stand_for_the_parts_and_are_replaced_by_them() {
    let answer = "Siehe jetzt ⟦2⟧ oder drücke ⟦1⟧Start⟦/1⟧.";
    let generator = Arc::new(Scripted::answering(&[("German", answer)]));
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let mut partials = Vec::new();
    let request = translator.request(&RawRequest { text: LINK, source: "en", ..DOOR }).unwrap();
    let results = translator.translate(&request, &GenerateOptions::default(), &mut |_, text| {
        partials.push(text.to_owned());
    });
    assert_eq!(results[0].text, "Siehe jetzt https://example.org oder drücke <b>Start</b>.");
    assert_eq!((results[0].status, results[0].detail.as_str()), (Status::Ok, ""));
    assert!(partials.is_empty(), "markers are not shown: {partials:?}");
    let user = &generator.batches()[0][0].user;
    assert!(user.starts_with("Please accurately translate the following text into German.\n"));
    assert!(user.contains("same number of delimiters"), "{user}");
    assert!(!user.contains("https"), "{user}");
}

#[test]
fn the_first_family_is_asked_and_answers_in_its_own_form() {
    let answer = "<target>Drücke <s1>Start</s1> oder siehe <s2></s2>.</target><|eos|>";
    let generator = Arc::new(Scripted::answering(&[("<source>", answer)]));
    let family = PromptFamily::HyMt15;
    let translator =
        Translator::new(generator.clone(), TranslatorConfig { family, ..config(&["de"]) });
    let result = &run(&translator, &RawRequest { text: LINK, source: "en", ..DOOR })[0];
    assert_eq!(result.text, "Drücke <b>Start</b> oder siehe https://example.org.");
    let user = &generator.batches()[0][0].user;
    assert!(
        user.ends_with("<source>Press <s1>Start</s1> or see <s2></s2> now.</source>"),
        "{user}"
    );
}

#[test]
fn texts_without_such_parts_are_asked_as_ever() {
    let generator = Arc::new(Scripted::default());
    let translator = Translator::new(generator.clone(), config(&["de"]));
    for text in ["It weighs 3.5 kg, 20 % more 👍.", "- Water? 2 * 3 < 7 & a_b", "1. Open it"] {
        run(&translator, &RawRequest { text, source: "en", ..DOOR });
        let user = generator.batches().concat().pop().unwrap().user;
        let expected = "Translate the following text into German. Note that you should only output \
                        the translated result without any additional explanation:\n\n";
        assert_eq!(user, format!("{expected}{text}"));
    }
}

#[test]
fn nothing_but_such_parts_passes() {
    let generator = Arc::new(Scripted::default());
    let translator = Translator::new(generator.clone(), config(&["de"]));
    for text in ["https://example.org/help", "<br/> {name} a@b.org"] {
        let result = &run(&translator, &RawRequest { text, source: "en", ..DOOR })[0];
        assert_eq!((result.status, result.text.as_str()), (Status::Passthrough, text));
        assert_eq!(result.detail, "the text has no words to translate");
    }
    assert!(generator.batches().is_empty());
}

/// Asks with `marked` as the answer to the prompt with markers and `plain` as that without.
fn lossy(marked: &'static str, plain: &'static str) -> (Translation, usize) {
    let rules = [("delimiters", marked), ("only output", plain)];
    let generator = Arc::new(Scripted::answering(&rules));
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let mut results = run(&translator, &RawRequest { text: LINK, source: "en", ..DOOR });
    let prompts = generator.batches().concat();
    if let Some(plain) = prompts.get(1) {
        let bare = "\n\nPress Start or see https://example.org now.";
        assert!(plain.user.ends_with(bare), "{plain:?}");
    }
    (results.remove(0), prompts.len())
}

#[test]
fn what_can_be_repaired_is() {
    let (result, n_asked) = lossy("⟦1⟧Start⟦/1⟧ und ⟦2⟧ ⟦2⟧ jetzt ⟦7⟧", "?");
    assert_eq!(result.text.trim(), "<b>Start</b> und https://example.org jetzt");
    assert_eq!((result.detail.as_str(), n_asked), ("", 1));
}

#[test]
fn lost_doubled_crossed_and_empty_are_asked_again_and_flagged() {
    let broken = [
        "Drücke Start oder siehe ⟦2⟧.",
        "⟦1⟧Start⟦/1⟧ ⟦2⟧ oder ⟦2⟧",
        "⟦/1⟧Start⟦1⟧ ⟦2⟧",
        " ",
        "⟦1⟧⟦/1⟧⟦2⟧",
    ];
    for marked in broken {
        let (result, n_asked) = lossy(marked, "Drücke <b>Start oder siehe https://example.org.");
        assert_eq!(n_asked, 2, "{marked}");
        assert_eq!(result.status, Status::Ok);
        assert_eq!(result.text, "Drücke <b>Start oder siehe https://example.org.");
        let expected =
            "formatting could not be kept: the model lost its marks; 1 of 3 parts differ (tag)";
        assert_eq!(result.detail, expected, "{marked}");
        assert_eq!((result.tokens_in, result.queue_ms, result.inference_ms), (60, 2.0, 4.0));
    }
    let (kept, _) = lossy("Start", "Siehe https://example.org, <b>Start</b>.");
    assert_eq!(
        kept.detail,
        "formatting could not be kept: the model lost its marks, so parts may stand elsewhere"
    );
}

#[test]
fn a_second_attempt_that_fails_fails_the_target() {
    let engine = GenerateError::Engine { detail: "no memory".to_owned() };
    let rules = vec![("delimiters", Ok(generated("Start"))), ("only output", Err(engine))];
    let translator =
        Translator::new(Arc::new(Scripted { rules, ..Scripted::default() }), config(&["de"]));
    let result = &run(&translator, &RawRequest { text: LINK, source: "en", ..DOOR })[0];
    assert_eq!((result.status, result.text.as_str()), (Status::Failed, ""));
    assert_eq!(result.detail, "the engine failed: no memory");
}

#[test]
fn a_broken_part_of_several_is_named_and_shown_in_order() {
    let rules = [
        ("ALPHA", "Teil A."),
        ("delimiters", "Teil B."),
        ("BRAVO", "Teil B: {x}."),
        ("CHARLIE", "Teil C."),
    ];
    let generator = Arc::new(Scripted::answering(&rules));
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let text = "Part ALPHA.\n\nPart {x} of BRAVO.\n\nPart CHARLIE.";
    let request = translator.request(&RawRequest { text, source: "en", ..DOOR }).unwrap();
    let mut partials = Vec::new();
    let result =
        translator.translate(&request, &GenerateOptions::default(), &mut |_, text: &str| {
            partials.push(text.to_owned());
        });
    assert_eq!(result[0].text, "Teil A.\n\nTeil B: {x}.\n\nTeil C.");
    assert!(result[0].detail.starts_with("part 2 of 3: formatting could not be kept"));
    assert!(partials.windows(2).all(|pair| pair[1].starts_with(&pair[0])), "{partials:?}");
    assert_eq!(partials.last(), Some(&result[0].text));
    // The second time all of it is known, the failed attempt included.
    let again = &run(&translator, &RawRequest { text, source: "en", ..DOOR })[0];
    assert!(again.from_cache);
    assert_eq!((&again.text, &again.detail), (&result[0].text, &result[0].detail));
    assert_eq!(again.tokens_in, result[0].tokens_in);
}

#[test]
fn too_many_parts_are_translated_as_they_are_and_flagged() {
    let generator = Arc::new(Scripted::default());
    let unwatched = TranslatorConfig { guards: Guards::Off, ..config(&["de"]) };
    let translator = Translator::new(generator.clone(), unwatched);
    let text = "Hello ".to_owned() + &"{x}".repeat(100);
    let result = &run(&translator, &RawRequest { text: &text, source: "en", ..DOOR })[0];
    assert_eq!(result.text, "?");
    assert!(result.detail.starts_with("formatting could not be kept: it has too many parts"));
    assert!(generator.batches()[0][0].user.contains("only output"));
}

#[test]
fn terms_and_context_stand_before_the_task_that_keeps_markers() {
    let generator = Arc::new(Scripted::answering(&[("", "⟦1⟧Anlauf⟦/1⟧ ⟦2⟧")]));
    let terms = ["Start=Anlauf".to_owned(), "example=Beispiel".to_owned()];
    let raw = RawRequest {
        text: LINK,
        source: "en",
        context: "A robot.",
        inline_terms: &terms,
        formality: 2,
        ..DOOR
    };
    let translator = Translator::new(generator.clone(), config(&["de"]));
    let result = &run(&translator, &raw)[0];
    assert_eq!(result.detail, "this model cannot be asked for a formality here");
    assert_eq!(result.glossary_applied.len(), 1, "none inside of the link");
    assert_eq!(result.glossary_missed, []);
    let start = "[Background Information]\nA robot.\n\nReference the following translations:\n\
                 Start translates to Anlauf\n\nPlease accurately translate the following text into German.\n";
    let user = &generator.batches()[0][0].user;
    assert!(user.starts_with(start), "{user}");

    let family = PromptFamily::HyMt15;
    let generator = Arc::new(Scripted::default());
    let translator =
        Translator::new(generator.clone(), TranslatorConfig { family, ..config(&["de"]) });
    run(&translator, &raw);
    let start = "A robot.\n参考下面的翻译：\nStart 翻译成 Anlauf\n\n参考上面的信息，将以下<source></source>";
    let user = &generator.batches()[0][0].user;
    assert!(user.starts_with(start), "{user}");
}

/// Answers with the text it is asked for.
struct Echo;

impl Generator for Echo {
    fn generate(
        &self,
        prompts: &[GeneratePrompt],
        _: &GenerateOptions,
        on_partial: &mut dyn FnMut(usize, &str) -> Flow,
    ) -> Vec<Result<Generated, GenerateError>> {
        let answer = |(index, prompt): (usize, &GeneratePrompt)| {
            let (task, text) =
                prompt.user.split_once("\n\n").expect("a task, a blank line, a text");
            let wrapped = text.strip_prefix("<source>").and_then(|t| t.strip_suffix("</source>"));
            let answer = match wrapped.filter(|_| task.contains("<source>")) {
                Some(text) => format!("<target>{text}</target>"),
                None => text.to_owned(),
            };
            on_partial(index, &answer);
            Ok(generated(&answer))
        };
        prompts.iter().enumerate().map(answer).collect()
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }
}

/// Documents of sentences, paragraphs and all sorts of format.
fn document() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "The door is open. ",
        "Dr. Li said \"Stop!\" ",
        "word ",
        "Wort",
        "12:30 ",
        "你好。",
        "今天天气很好，",
        "😀",
        "3.5 kg",
        "\n",
        "\n\n",
        "\n  \n\t",
        " ",
        "  ",
        "<b>",
        "</b>",
        "<i a='x. Y'>",
        "<br/>",
        "<!-- One. Two. -->",
        "&lt;",
        "<target>",
        "</target>",
        "</source>",
        "<s1>",
        "</s2>",
        "⟦1⟧",
        "⟦/2⟧",
        "`a. B`",
        "`",
        "```\nx. Y\n\nZ\n```",
        "{name}",
        "${x}",
        "%s ",
        " https://a.org/b. ",
        "a@b.org ",
        "[t](u)",
        "**",
        "\n- ",
        "\n# ",
        "\n1. ",
        "<|eos|>",
        "｜hy_User｜",
        "<",
        ">",
        "!",
        "? ",
    ]);
    let from_parts = prop::collection::vec(parts, 1..90).prop_map(|parts| parts.concat());
    let plain = "[^\\p{C}]{1,80}";
    let long = "[a-z]{1,900}";
    prop_oneof![6 => from_parts, 1 => plain.prop_map(String::from), 1 => long.prop_map(String::from)]
}

/// Between sentences a language without spaces has none, and one with spaces has one; the rest stays.
fn without_spaces(text: &str) -> String {
    text.replace(' ', "")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_is_repeated_comes_back_as_it_was(
        text in document(),
        family in prop::sample::select(vec![PromptFamily::HyMt15, PromptFamily::HyMt2]),
    ) {
        let translator =
            Translator::new(Arc::new(Echo), TranslatorConfig { family, guards: Guards::Off, ..config(&["de", "zh"]) });
        let raw = RawRequest { text: &text, source: "en", ..DOOR };
        let Ok(request) = translator.request(&raw) else { return Ok(()) };
        let text = request.text();
        for round in 0..2 {
            let mut shown = [String::new(), String::new()];
            let results =
                translator.translate(&request, &GenerateOptions::default(), &mut |target, partial| {
                    assert!(partial.starts_with(&shown[target]), "{partial:?} after {:?}", shown[target]);
                    shown[target] = partial.to_owned();
                });
            for (result, shown) in results.iter().zip(&shown) {
                prop_assert!(result.status.is_success(), "{:?}", result);
                prop_assert!(result.text.starts_with(shown), "{:?} is not {:?}", shown, result.text);
                prop_assert_eq!(without_spaces(&result.text), without_spaces(text));
                prop_assert!(round == 0 || result.from_cache || result.status == Status::Passthrough);
                if !result.detail.is_empty() && result.status == Status::Ok {
                    prop_assert!(result.detail.contains("too many parts"), "{}", result.detail);
                }
            }
            let is_spaced = text.chars().all(|c| u32::from(c) < 0x0E00 || u32::from(c) > 0xFFFF);
            if is_spaced {
                prop_assert_eq!(&results[0].text, text);
            }
        }
    }
}
