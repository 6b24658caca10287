//! Which language a text is in, among the allowed ones.
