//! Conversations, speakers that change their language, and texts of several languages.

use super::*;

fn conversation(a: &str, b: &str) -> TranslatorConfig {
    let mut config = config(&[a, b]);
    config.defaults.is_conversation = true;
    config
}

fn targets(results: &[Translation]) -> Vec<&'static str> {
    results.iter().map(|result| result.target.code()).collect()
}

#[test]
fn a_conversation_goes_to_the_other_party_only() {
    let generator = Arc::new(Scripted::answering(&[("英语", "the door"), ("中文", "门")]));
    let translator = Translator::new(generator.clone(), conversation("zh", "en"));
    let say = |text, targets: &[String]| run(&translator, &RawRequest { text, targets, ..DOOR });
    assert_eq!(targets(&say("The door is open.", &[])), ["zh"]);
    assert_eq!(targets(&say("门现在开着，请进来。", &[])), ["en"]);
    assert_eq!(targets(&say("La porte est ouverte, entrez donc.", &[])), ["zh", "en"]);
    // Who changes the language is understood by both.
    let mixed = say("门现在开着，请进来。Please take the stairs to the second floor.", &[]);
    assert_eq!(targets(&mixed), ["zh", "en"]);
    assert_eq!(mixed[0].text, "门现在开着，请进来。门");
    assert_eq!(mixed[1].text, "the door Please take the stairs to the second floor.");
    // Who names targets gets those.
    let named = say("The door is open.", &["en".to_owned(), "de".to_owned()]);
    assert_eq!(targets(&named), ["en", "de"]);
    assert_eq!(named[0].status, Status::Passthrough);
}

#[test]
fn what_a_speaker_spoke_before_decides_where_detection_cannot() {
    let generator = Arc::new(Scripted::answering(&[("English", "x"), ("中文", "门")]));
    let translator = Translator::new(generator.clone(), conversation("zh", "en"));
    let results = |text: &str, before: Option<&str>| {
        let raw = RawRequest { text, ..DOOR };
        let request = translator.request(&raw).unwrap().with_spoken_before(before.map(language));
        translator.translate(&request, &GenerateOptions::default(), &mut |_, _| ())
    };
    assert_eq!(results("A12?", None).len(), 2, "nobody knows whose it is");
    let kept = results("A12?", Some("en"));
    assert_eq!(targets(&kept), ["zh"]);
    assert!(kept[0].detail.contains("kept en from before"), "{}", kept[0].detail);
    assert_eq!(kept[0].source_confidence, 0.0);
    // A sure detection is believed at once.
    assert_eq!(targets(&results("门现在开着，请进来。", Some("en"))), ["en"]);
}

#[test]
fn no_text_stays_as_it_is_because_of_what_was_spoken_before() {
    let translator = Translator::new(
        Arc::new(Scripted::answering(&[("English", "Mum cooks tonight.")])),
        config(&["en", "fr"]),
    );
    let raw = RawRequest { text: "Mama kocht heute Abend.", ..DOOR };
    let ask = |before: &str| {
        let request = translator.request(&raw).unwrap().with_spoken_before(Some(language(before)));
        translator.translate(&request, &GenerateOptions::default(), &mut |_, _| ())
    };
    let result = ask("en").remove(0);
    assert_eq!((result.status, result.text.as_str()), (Status::Ok, "Mum cooks tonight."));
    assert_eq!(ask("de")[0].source, Some(Language::German), "otherwise it is believed");
}

/// Answers with the source text in capitals and its target language.
struct Echo;

impl Generator for Echo {
    fn generate(
        &self,
        prompts: &[GeneratePrompt],
        _: &GenerateOptions,
        _: &mut dyn FnMut(usize, &str) -> Flow,
    ) -> Vec<Result<Generated, GenerateError>> {
        let answer = |prompt: &GeneratePrompt| {
            let (_, text) = prompt.user.rsplit_once("\n\n").unwrap();
            Ok(generated(&text.to_uppercase()))
        };
        prompts.iter().map(answer).collect()
    }

    fn count_tokens(&self, text: &str) -> usize {
        text.len()
    }
}

/// Without guards: what it answers is no translation.
fn echoing(targets: &[&str]) -> Translator {
    let config = TranslatorConfig { guards: Guards::Off, ..config(targets) };
    Translator::new(Arc::new(Echo), config)
}

#[test]
fn each_sentence_of_a_mixed_text_goes_by_its_own_language() {
    let translator = echoing(&["de", "fr"]);
    let cases = [
        // German stays for the Germans; what is English does not.
        (
            "Der Aufzug ist heute leider außer Betrieb. Please take the stairs to the second floor.",
            "Der Aufzug ist heute leider außer Betrieb. PLEASE TAKE THE STAIRS TO THE SECOND FLOOR.",
            "DER AUFZUG IST HEUTE LEIDER AUSSER BETRIEB. PLEASE TAKE THE STAIRS TO THE SECOND FLOOR.",
        ),
        (
            "电梯今天坏了。Please take the stairs to the second floor.",
            "电梯今天坏了。 PLEASE TAKE THE STAIRS TO THE SECOND FLOOR.",
            "电梯今天坏了。 PLEASE TAKE THE STAIRS TO THE SECOND FLOOR.",
        ),
    ];
    for (text, german, french) in cases {
        let results = run(&translator, &RawRequest { text, ..DOOR });
        assert_eq!(results[0].text, german);
        assert_eq!(results[1].text, french);
        let detail = &results[0].detail;
        assert!(detail.contains("several languages (") && detail.contains("en"), "{detail}");
    }
    // One language, however many sentences, and words too few to tell, are asked for as ever.
    for text in ["The door is open. Come in, Ms. Müller! Danke.", "Ciao! The door is open."] {
        let results = run(&translator, &RawRequest { text, ..DOOR });
        assert_eq!(results[0].text, text.to_uppercase());
        assert!(!results[0].detail.contains("several"), "{text}: {}", results[0].detail);
    }
    // Who says what language it is knows better.
    let given = run(&translator, &RawRequest { text: cases[0].0, source: "en", ..DOOR });
    assert_eq!(given[0].text, cases[0].0.to_uppercase());
}

#[test]
fn links_code_and_headings_in_kanji_are_in_no_other_language() {
    let link = "https://docs.example.com/the/user/guide/for/this/version/of/the/robot";
    let translator = echoing(&["en", "zh-Hant"]);
    for text in [
        format!("Die Anleitung finden Sie auf unserer Seite. {link}"),
        format!("Bitte lesen Sie das: {link}"),
        "Das steht auch hier. `open the door and wait for the robot` So geht es.".to_owned(),
        format!(
            "<p class=\"the-text-of-this-page\">Die Tür ist offen. <a href=\"{link}\">Hier</a></p>"
        ),
        "注意事項。館内では走らないでください。開店時間十時。".to_owned(),
    ] {
        for result in run(&translator, &RawRequest { text: &text, ..DOOR }) {
            assert!(!result.detail.contains("several"), "{text}: {}", result.detail);
            assert_ne!(result.status, Status::Passthrough, "{text}");
        }
    }
    let text = "今日は博物館を見学します。你们什么时候开门？";
    let result = run(&translator, &RawRequest { text, ..DOOR }).remove(0);
    assert!(result.detail.contains("several languages (ja, zh)"), "{}", result.detail);
}
