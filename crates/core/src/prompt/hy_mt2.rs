//! Prompts of Hy-MT2: README of the model repository, table of prompt templates.

use super::{PromptLanguage, PromptRequest, formality_is_asked, task_zh, terms_block_zh};
use crate::glossary::Term;
use crate::prompt::PromptFamily;
use crate::request::Formality;

pub(super) fn build(request: &PromptRequest<'_>, language: PromptLanguage) -> String {
    let has_style = formality_is_asked(PromptFamily::HyMt2, request);
    match language {
        PromptLanguage::Chinese if has_style => style_zh(request),
        PromptLanguage::Chinese => build_zh(request),
        PromptLanguage::English if has_style => style_en(request),
        PromptLanguage::English => build_en(request),
    }
}

fn build_zh(request: &PromptRequest<'_>) -> String {
    let text = request.text;
    let terms = match request.terms {
        [] => String::new(),
        terms => terms_block_zh(terms),
    };
    match request.context {
        Some(context) => {
            // Between the blocks of the background form stands one blank line.
            let terms = if terms.is_empty() { terms } else { terms + "\n" };
            format!(
                "【背景信息】\n{context}\n\n{terms}请结合背景信息将以下文本翻译为{}。\n\n【待翻译文本】\n{text}",
                request.target.chinese_name()
            )
        }
        None => format!("{terms}{}\n\n{text}", task_zh(request.target)),
    }
}

fn build_en(request: &PromptRequest<'_>) -> String {
    let text = request.text;
    let target = request.target.english_name();
    let terms = match request.terms {
        [] => String::new(),
        terms => terms_block_en(terms),
    };
    match request.context {
        Some(context) => format!(
            "[Background Information]\n{context}\n\n{terms}Please translate the following text into {target}, \
             taking the provided background information into consideration.\n\n[Source Text]\n{text}"
        ),
        None if terms.is_empty() => format!(
            "Translate the following text into {target}. Note that you should only output the translated result \
             without any additional explanation:\n\n{text}"
        ),
        None => format!(
            "{terms}Translate the following text into {target}. Note that you must ONLY output the translated result \
             without any additional explanation:\n\n{text}"
        ),
    }
}

/// Header, one line per term, blank line.
pub(super) fn terms_block_en(terms: &[Term]) -> String {
    let mut block = String::from("Reference the following translations:\n");
    for term in terms {
        block += &format!("{} translates to {}\n", term.source(), term.target());
    }
    block + "\n"
}

fn style_zh(request: &PromptRequest<'_>) -> String {
    let style = if request.formality == Formality::More { "正式" } else { "非正式" };
    format!(
        "请将以下文本翻译为{}。\n注意翻译的风格要严格符合【{style}】\n\n{}",
        request.target.chinese_name(),
        request.text
    )
}

fn style_en(request: &PromptRequest<'_>) -> String {
    let style = if request.formality == Formality::More { "formal" } else { "informal" };
    format!(
        "Please translate the following text into {}. Note that the translation style must strictly conform to \
         [{style}]:\n\n{}",
        request.target.english_name(),
        request.text
    )
}
