//! Chat templates as token ids: special tokens pushed by id, user text encoded without them.
