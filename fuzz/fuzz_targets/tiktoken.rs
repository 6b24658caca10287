//! Any bytes as a file of tiktoken ranks: an error, or a tokenizer that keeps text and in which no
//! text is a special token.
#![no_main]

use hymt_llm::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(tokenizer) = Tokenizer::from_tiktoken(data, "fuzz") else { return };
    let text = "Hallo 你好 <|eos|> it's 123\n  aaaa";
    let ids = tokenizer.encode(text).expect("byte-level BPE encodes every text");
    assert!(ids.iter().all(|id| !tokenizer.is_special(*id)), "text became a special token");
    assert_eq!(tokenizer.decode(&ids), text);
});
