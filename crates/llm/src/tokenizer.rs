//! Tokenizer and streaming detokenizer.
