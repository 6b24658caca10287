//! The exact prompts of both model families.
//!
//! HY-MT models are asked with fixed sentences; another wording makes them answer in the wrong
//! language or explain themselves. The forms here are those of the model cards of HY-MT1.5 and
//! Hy-MT2, character by character.
//!
//! Which template: the Chinese one, with Chinese language names, when the source or the target is
//! `zh`, `zh-Hant` or `yue`; the English one, with English names, otherwise. HY-MT1.5 has its terms and
//! context forms in Chinese only, so these always use Chinese names.
//!
//! | form | order of the parts |
//! |---|---|
//! | default | task sentence, text |
//! | terms | terms block, task sentence, text |
//! | context | context (1.5) or background block (2), task sentence, text |
//! | context and terms | context or background block, terms block, the context form's task sentence, text |
//! | formality (Hy-MT2, without terms and context) | task sentence with style, text |
//!
//! The model cards give no combined form. Ours keeps the context form around the terms block, because
//! its task sentence is the one that tells the model which part it must not translate.

mod hy_mt15;
mod hy_mt2;

use crate::glossary::Term;
use crate::language::Language;
use crate::request::Formality;

/// Which sentences a model was trained to be asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PromptFamily {
    /// HY-MT1.5 (and Hunyuan-MT).
    HyMt15,
    /// Hy-MT2, and models trained on its prompts, such as the demo model.
    #[default]
    HyMt2,
}

impl PromptFamily {
    /// The family that a model's name, folder or repository suggests: HY-MT1.5 when it says so
    /// (`tencent/HY-MT1.5-1.8B`, `hy_mt_1.5`, `Hunyuan-MT-7B`), otherwise Hy-MT2.
    pub fn from_model_hint(hint: &str) -> Self {
        let compact: String =
            hint.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        if compact.contains("hymt15") || compact.contains("hunyuanmt") {
            Self::HyMt15
        } else {
            Self::HyMt2
        }
    }

    /// The family's name in logs and golden files.
    pub fn name(self) -> &'static str {
        match self {
            Self::HyMt15 => "hy-mt1.5",
            Self::HyMt2 => "hy-mt2",
        }
    }
}

/// The language of a prompt's sentences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PromptLanguage {
    /// Chinese sentences, Chinese names of languages.
    Chinese,
    /// English sentences, English names of languages.
    English,
}

impl PromptLanguage {
    /// The language that the model cards ask in for a pair.
    pub fn usual(source: Option<Language>, target: Language) -> Self {
        if target.is_chinese() || source.is_some_and(Language::is_chinese) {
            Self::Chinese
        } else {
            Self::English
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Chinese => Self::English,
            Self::English => Self::Chinese,
        }
    }

    /// Its name, in English.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chinese => "Chinese",
            Self::English => "English",
        }
    }
}

/// What goes into a prompt.
#[derive(Debug, Clone, Copy)]
pub struct PromptRequest<'a> {
    /// Language of the text, if known.
    pub source: Option<Language>,
    /// Language to translate into.
    pub target: Language,
    /// The text, which may have several lines.
    pub text: &'a str,
    /// Terms to use; only send those that occur in the text. Their lines cannot be broken, since a
    /// [`Term`] holds no control character.
    pub terms: &'a [Term],
    /// Text that helps and is not translated.
    pub context: Option<&'a str>,
    /// A hint. Only Hy-MT2 has a form for it, and only without terms and context.
    pub formality: Formality,
}

impl PromptRequest<'_> {
    fn usual_language(&self) -> PromptLanguage {
        PromptLanguage::usual(self.source, self.target)
    }
}

/// The content of the user turn that asks `family` for this translation.
pub fn build(family: PromptFamily, request: &PromptRequest<'_>) -> String {
    build_in(family, request, request.usual_language())
}

/// The same with the other template's sentences, Chinese instead of English or the reverse; for a second
/// attempt, since the same prompt has the same answer. `None` where the family has no such form: HY-MT1.5
/// has terms and context in Chinese only.
pub fn build_other(family: PromptFamily, request: &PromptRequest<'_>) -> Option<String> {
    let has_other =
        family == PromptFamily::HyMt2 || (request.terms.is_empty() && request.context.is_none());
    has_other.then(|| build_in(family, request, request.usual_language().other()))
}

fn build_in(family: PromptFamily, request: &PromptRequest<'_>, language: PromptLanguage) -> String {
    match family {
        PromptFamily::HyMt15 => hy_mt15::build(request, language),
        PromptFamily::HyMt2 => hy_mt2::build(request, language),
    }
}

/// True when `family` has a way to be asked for a formality beside these terms and this context.
pub fn formality_is_asked(family: PromptFamily, request: &PromptRequest<'_>) -> bool {
    family == PromptFamily::HyMt2
        && request.formality != Formality::Default
        && request.terms.is_empty()
        && request.context.is_none()
}

/// What stands before the task sentence of a form that has no place of its own for context and terms,
/// such as the one that keeps markers: background first, then terms, the task last, since its sentence
/// decides what the answer looks like. Empty without context and terms.
pub(crate) fn lead_in(
    family: PromptFamily,
    request: &PromptRequest<'_>,
    language: PromptLanguage,
) -> String {
    let is_chinese = family == PromptFamily::HyMt15 || language == PromptLanguage::Chinese;
    let terms = match request.terms {
        [] => String::new(),
        terms if is_chinese => terms_block_zh(terms) + "\n",
        terms => hy_mt2::terms_block_en(terms),
    };
    match request.context {
        None => terms,
        Some(context) if family == PromptFamily::HyMt15 => {
            format!("{context}\n{terms}参考上面的信息，")
        }
        Some(context) if is_chinese => format!("【背景信息】\n{context}\n\n{terms}"),
        Some(context) => format!("[Background Information]\n{context}\n\n{terms}"),
    }
}

/// `参考下面的翻译：` and one line per term; ends with a line break.
fn terms_block_zh(terms: &[Term]) -> String {
    let mut block = String::from("参考下面的翻译：\n");
    for term in terms {
        block += &format!("{} 翻译成 {}\n", term.source(), term.target());
    }
    block
}

/// The default task sentence, the same in both families.
fn task_zh(target: Language) -> String {
    format!("将以下文本翻译为{}，注意只需要输出翻译后的结果，不要额外解释：", target.chinese_name())
}

#[cfg(test)]
mod tests;
