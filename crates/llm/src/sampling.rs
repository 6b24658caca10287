//! From logits to the next token, in the order Hugging Face uses.
