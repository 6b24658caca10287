//! From raw input to a valid translation request.
