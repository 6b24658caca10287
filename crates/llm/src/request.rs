//! What a caller asks of the inference thread, and what it answers.
