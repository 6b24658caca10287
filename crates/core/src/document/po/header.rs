//! The header of a catalogue: lines of `Name: value\n` in the `msgstr` of the empty `msgid`.

use std::ops::Range;

use super::plural::Forms;
use crate::document::unit::line_end;
use crate::language::Language;

/// Where the value of a field stands in the source of a header.
pub(super) fn value(header: &str, name: &str) -> Option<Range<usize>> {
    let key = format!("\"{name}:");
    let start = header.find(&key)? + key.len();
    let len = header[start..].find(['"', '\n'])?;
    let line = header[start..start + len].strip_suffix("\\n")?;
    let lead = line.len() - line.trim_start().len();
    Some(start + lead..start + lead + line.trim().len())
}

/// Sets the language, and the plural forms where there are plurals.
pub(super) fn edits(
    source: &str,
    msgstr: &Range<usize>,
    target: Language,
    forms: &Forms,
    has_plurals: bool,
) -> Vec<(Range<usize>, String)> {
    let header = &source[msgstr.clone()];
    let mut edits = Vec::new();
    let mut added = String::new();
    let mut set =
        |name: &str, text: &str, is_right: &dyn Fn(&str) -> bool| match value(header, name) {
            Some(range) if is_right(&header[range.clone()]) => {}
            Some(range) => {
                let space = if header[..range.start].ends_with(':') { " " } else { "" };
                let range = msgstr.start + range.start..msgstr.start + range.end;
                edits.push((range, format!("{space}{text}")));
            }
            None => added.push_str(&format!("{}\"{name}: {text}\\n\"", line_end(source))),
        };
    set("Language", name(target), &|named| Language::parse(named) == Ok(target));
    // What was ASCII may have said anything, or nothing yet; it is written in UTF-8.
    if value(header, "Content-Type").is_some() {
        let is_utf8 =
            |named: &str| named.to_ascii_lowercase().replace("utf8", "utf-8").ends_with("=utf-8");
        set("Content-Type", "text/plain; charset=UTF-8", &is_utf8);
    }
    let has_forms = value(header, "Plural-Forms").is_some();
    if let Some(formula) = forms.formula.filter(|_| has_plurals || has_forms) {
        let text = format!("nplurals={}; plural={formula};", forms.count);
        set("Plural-Forms", &text, &|_| false);
    }
    if !added.is_empty() {
        edits.push((msgstr.end..msgstr.end, added));
    }
    edits
}

/// As gettext names locales.
fn name(language: Language) -> &'static str {
    match language {
        Language::Chinese => "zh_CN",
        Language::TraditionalChinese => "zh_TW",
        other => other.code(),
    }
}
