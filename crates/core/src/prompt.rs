//! The exact prompts of both model families.
