//! Prompts of HY-MT1.5: README of the model repository, "Prompt Template".

use super::{PromptLanguage, PromptRequest, task_zh, terms_block_zh};

pub(super) fn build(request: &PromptRequest<'_>, language: PromptLanguage) -> String {
    let text = request.text;
    let has_terms = !request.terms.is_empty();
    match request.context {
        Some(context) => {
            let task = context_task(request);
            if has_terms {
                let terms = terms_block_zh(request.terms);
                format!("{context}\n{terms}\n{task}\n{text}")
            } else {
                format!("{context}\n{task}\n{text}")
            }
        }
        None if has_terms => {
            let terms = terms_block_zh(request.terms);
            format!("{terms}\n{}\n{text}", task_zh(request.target))
        }
        None if language == PromptLanguage::Chinese => {
            format!("{}\n\n{text}", task_zh(request.target))
        }
        None => format!(
            "Translate the following segment into {}, without additional explanation.\n\n{text}",
            request.target.english_name()
        ),
    }
}

fn context_task(request: &PromptRequest<'_>) -> String {
    format!(
        "参考上面的信息，把下面的文本翻译成{}，注意不需要翻译上文，也不要额外解释：",
        request.target.chinese_name()
    )
}
