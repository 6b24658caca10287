//! Which elements are inline, which are not translated.

/// Elements inside of a sentence. All others, unknown ones included, begin and end a unit; so do `br` and
/// `button`, which hold a text of their own to a reader.
const INLINE: &[&str] = &[
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em",
    "font", "i", "img", "ins", "kbd", "mark", "math", "nobr", "q", "rp", "rt", "ruby", "s", "samp",
    "script", "small", "span", "strike", "strong", "style", "sub", "sup", "svg", "template",
    "time", "tt", "u", "var", "wbr",
];

/// Elements of which nothing is translated.
const KEPT: &[&str] = &[
    "code",
    "iframe",
    "kbd",
    "math",
    "noembed",
    "noframes",
    "noscript",
    "plaintext",
    "pre",
    "rp",
    "rt",
    "samp",
    "script",
    "style",
    "svg",
    "template",
    "textarea",
    "tt",
    "var",
    "xmp",
];

/// Elements without content.
const VOID: &[&str] = &[
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source",
    "track", "wbr",
];

pub(super) fn is_inline(name: &str) -> bool {
    INLINE.contains(&name)
}

pub(in crate::document) fn is_kept(name: &str) -> bool {
    KEPT.contains(&name)
}

pub(super) fn is_void(name: &str) -> bool {
    VOID.contains(&name)
}

/// Inline, and no word of the sentence.
pub(super) fn is_unseen(name: &str) -> bool {
    matches!(name, "script" | "style" | "template" | "rt" | "rp")
}
