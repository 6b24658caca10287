use super::*;

fn language(code: &str) -> Language {
    Language::parse(code).unwrap()
}

fn terms(pairs: &[(&str, &str)]) -> Vec<Term> {
    pairs.iter().map(|(a, b)| Term::new(a, b).unwrap()).collect()
}

struct Case<'a> {
    source: &'a str,
    target: &'a str,
    text: &'a str,
    terms: &'a [(&'a str, &'a str)],
    context: Option<&'a str>,
    formality: Formality,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            source: "en",
            target: "de",
            text: "Hello",
            terms: &[],
            context: None,
            formality: Formality::Default,
        }
    }
}

impl Case<'_> {
    fn build(&self, family: PromptFamily) -> String {
        let terms = terms(self.terms);
        build(
            family,
            &PromptRequest {
                source: (!self.source.is_empty()).then(|| language(self.source)),
                target: language(self.target),
                text: self.text,
                terms: &terms,
                context: self.context,
                formality: self.formality,
            },
        )
    }

    fn hy_mt15(&self) -> String {
        self.build(PromptFamily::HyMt15)
    }

    fn hy_mt2(&self) -> String {
        self.build(PromptFamily::HyMt2)
    }
}

const TWO_TERMS: &[(&str, &str)] = &[("robot", "Nova"), ("dock", "Ladesäule")];

#[test]
fn default_chinese_is_the_same_in_both_families() {
    let case = Case { target: "zh", ..Case::default() };
    let expected = "将以下文本翻译为中文，注意只需要输出翻译后的结果，不要额外解释：\n\nHello";
    assert_eq!(case.hy_mt15(), expected);
    assert_eq!(case.hy_mt2(), expected);
}

#[test]
fn default_english() {
    let case = Case::default();
    assert_eq!(
        case.hy_mt15(),
        "Translate the following segment into German, without additional explanation.\n\nHello"
    );
    assert_eq!(
        case.hy_mt2(),
        "Translate the following text into German. Note that you should only output the translated result without any additional explanation:\n\nHello"
    );
}

#[test]
fn terms_of_hy_mt15_are_always_asked_in_chinese() {
    let case = Case { terms: TWO_TERMS, ..Case::default() };
    assert_eq!(
        case.hy_mt15(),
        "参考下面的翻译：\nrobot 翻译成 Nova\ndock 翻译成 Ladesäule\n\n将以下文本翻译为德语，注意只需要输出翻译后的结果，不要额外解释：\nHello"
    );
}

#[test]
fn terms_of_hy_mt2() {
    let english = Case { terms: TWO_TERMS, ..Case::default() };
    assert_eq!(
        english.hy_mt2(),
        "Reference the following translations:\nrobot translates to Nova\ndock translates to Ladesäule\n\nTranslate the following text into German. Note that you must ONLY output the translated result without any additional explanation:\n\nHello"
    );
    let chinese = Case { target: "zh", terms: &[("dock", "充电桩")], ..Case::default() };
    assert_eq!(
        chinese.hy_mt2(),
        "参考下面的翻译：\ndock 翻译成 充电桩\n将以下文本翻译为中文，注意只需要输出翻译后的结果，不要额外解释：\n\nHello"
    );
}

#[test]
fn context() {
    let case = Case { context: Some("Line one.\nLine two."), ..Case::default() };
    assert_eq!(
        case.hy_mt15(),
        "Line one.\nLine two.\n参考上面的信息，把下面的文本翻译成德语，注意不需要翻译上文，也不要额外解释：\nHello"
    );
    assert_eq!(
        case.hy_mt2(),
        "[Background Information]\nLine one.\nLine two.\n\nPlease translate the following text into German, taking the provided background information into consideration.\n\n[Source Text]\nHello"
    );
    let chinese = Case { source: "zh", target: "ja", text: "坏了。", ..case };
    assert_eq!(
        chinese.hy_mt2(),
        "【背景信息】\nLine one.\nLine two.\n\n请结合背景信息将以下文本翻译为日语。\n\n【待翻译文本】\n坏了。"
    );
}

#[test]
fn context_and_terms() {
    let case =
        Case { context: Some("Before."), terms: &[("dock", "Ladesäule")], ..Case::default() };
    assert_eq!(
        case.hy_mt15(),
        "Before.\n参考下面的翻译：\ndock 翻译成 Ladesäule\n\n参考上面的信息，把下面的文本翻译成德语，注意不需要翻译上文，也不要额外解释：\nHello"
    );
    assert_eq!(
        case.hy_mt2(),
        "[Background Information]\nBefore.\n\nReference the following translations:\ndock translates to Ladesäule\n\nPlease translate the following text into German, taking the provided background information into consideration.\n\n[Source Text]\nHello"
    );
    let chinese = Case { target: "yue", ..case };
    assert_eq!(
        chinese.hy_mt2(),
        "【背景信息】\nBefore.\n\n参考下面的翻译：\ndock 翻译成 Ladesäule\n\n请结合背景信息将以下文本翻译为粤语。\n\n【待翻译文本】\nHello"
    );
}

#[test]
fn formality_is_a_style_in_hy_mt2_alone() {
    let case = Case { formality: Formality::More, ..Case::default() };
    assert_eq!(
        case.hy_mt2(),
        "Please translate the following text into German. Note that the translation style must strictly conform to [formal]:\n\nHello"
    );
    assert_eq!(case.hy_mt15(), Case::default().hy_mt15());
    let chinese = Case { target: "zh", formality: Formality::Less, ..Case::default() };
    assert_eq!(
        chinese.hy_mt2(),
        "请将以下文本翻译为中文。\n注意翻译的风格要严格符合【非正式】\n\nHello"
    );
    let with_terms = Case { formality: Formality::More, terms: TWO_TERMS, ..Case::default() };
    assert_eq!(with_terms.hy_mt2(), Case { terms: TWO_TERMS, ..Case::default() }.hy_mt2());
}

#[test]
fn chinese_on_either_side_decides_the_template_and_the_names() {
    for (source, target, name) in [
        ("zh", "en", "英语"),
        ("yue", "fil", "菲律宾语"),
        ("zh-Hant", "id", "印尼语"),
        ("en", "zh-Hant", "繁体中文"),
        ("", "zh", "中文"),
    ] {
        let prompt = Case { source, target, ..Case::default() }.hy_mt2();
        assert!(prompt.starts_with(&format!("将以下文本翻译为{name}，")), "{prompt}");
    }
    // An unknown source is not taken for Chinese.
    assert!(
        Case { source: "", target: "tl", ..Case::default() }.hy_mt2().contains("into Filipino.")
    );
}

#[test]
fn the_family_follows_the_model_name() {
    for (hint, family) in [
        ("tencent/HY-MT1.5-1.8B", PromptFamily::HyMt15),
        ("/models/hy_mt_1.5-7b-int8", PromptFamily::HyMt15),
        ("Hunyuan-MT-7B", PromptFamily::HyMt15),
        ("tencent/Hy-MT2-1.8B", PromptFamily::HyMt2),
        ("HY-MT2-7B-Q8_0.gguf", PromptFamily::HyMt2),
        ("demo", PromptFamily::HyMt2),
        ("", PromptFamily::HyMt2),
    ] {
        assert_eq!(PromptFamily::from_model_hint(hint), family, "{hint}");
    }
}

#[test]
fn every_line_of_the_terms_block_is_one_term() {
    // A term cannot hold what ends a line, whoever wrote it.
    for bad in ["a\nb", "a\rb", "a\u{2028}b", "a\u{85}b", "a\0b"] {
        Term::new(bad, "x").expect_err(bad);
        Term::new("x", bad).expect_err(bad);
    }
}
