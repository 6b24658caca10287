//! How markers are written, and read back from what a model made of them.

/// How markers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MarkerStyle {
    /// `<s1>` and `</s1>` around what a pair of tags surrounds, `<s2></s2>` for a single part: what
    /// HY-MT1.5 was taught.
    Numbered,
    /// `⟦1⟧` for each part: delimiters as Hy-MT2's prompt asks to keep them.
    #[default]
    Delimiters,
}

/// What a marker stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    Single,
    Open,
    Close,
}

impl MarkerStyle {
    pub(super) fn write(self, marker: usize, role: Role) -> String {
        match (self, role) {
            (Self::Numbered, Role::Single) => format!("<s{marker}></s{marker}>"),
            (Self::Numbered, Role::Open) => format!("<s{marker}>"),
            (Self::Numbered, Role::Close) => format!("</s{marker}>"),
            (Self::Delimiters, Role::Close) => format!("⟦/{marker}⟧"),
            (Self::Delimiters, _) => format!("⟦{marker}⟧"),
        }
    }
}

/// The marker at the very start of `text` and its length in bytes. Single parts of the numbered style
/// read as an opening and a closing marker.
///
/// Spaces inside are forgiven, and for the numbered style a capital `S` and `<s1/>`.
pub(super) fn marker_at(text: &str, style: MarkerStyle) -> Option<((usize, Role), usize)> {
    let (first, last) = match style {
        MarkerStyle::Numbered => ('<', '>'),
        MarkerStyle::Delimiters => ('⟦', '⟧'),
    };
    let mut rest = text.strip_prefix(first)?.trim_start_matches(' ');
    let mut role = Role::Open;
    if let Some(closing) = rest.strip_prefix('/') {
        role = Role::Close;
        rest = closing.trim_start_matches(' ');
    }
    if style == MarkerStyle::Numbered {
        rest = rest.strip_prefix(['s', 'S'])?;
    }
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let marker = rest.get(..digits).filter(|digits| digits.len() <= 4)?.parse().ok()?;
    rest = rest[digits..].trim_start_matches(' ');
    if let Some(closed) = rest.strip_prefix('/').filter(|_| role == Role::Open) {
        role = Role::Single;
        rest = closed;
    }
    let rest = rest.strip_prefix(last)?;
    Some(((marker, role), text.len() - rest.len()))
}
