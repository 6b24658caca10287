//! Parameter values of a running node: declaration, validation, atomic sets.
