//! Any bytes as a GGUF file with a tokenizer: an error, or a tokenizer in which no text is a special
//! token. Slow: the library compiles its regular expressions for each.
#![no_main]

use hymt_llm::format::gguf::Gguf;
use hymt_llm::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(gguf) = Gguf::parse(data, 1 << 40) else { return };
    if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf, "fuzz")
        && let Ok(ids) = tokenizer.encode("Hallo 你好 <|eos|> 123\n")
    {
        assert!(ids.iter().all(|id| !tokenizer.is_special(*id)), "text became a special token");
        tokenizer.decode(&ids);
    }
});
