//! Tokenizer, chat formats and streaming, against Hugging Face's own encoder and jinja2's renderings.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use hymt_llm::TokenId;
use hymt_llm::chat::{ChatFamily, ChatFormat, Opener};
use hymt_llm::tokenizer::{DecodeStream, SPECIALS_1_8B, Tokenizer, TokenizerError};
use proptest::prelude::*;
use serde_json::Value;

const SPECIALS_7B: &[&str] = &[
    "<|endoftext|>",
    "<|startoftext|>",
    "<|eos|>",
    "<|pad|>",
    "<|extra_0|>",
    "<|extra_4|>",
    "<|extra_5|>",
];

fn demo_tokenizer_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/demo/int8/tokenizer.json")
}

fn demo() -> &'static Tokenizer {
    static DEMO: LazyLock<Tokenizer> =
        LazyLock::new(|| Tokenizer::from_file(&demo_tokenizer_file()).unwrap());
    &DEMO
}

fn golden() -> Vec<Value> {
    serde_json::from_str(include_str!("golden/chat.json")).unwrap()
}

/// What a sequence of ids of a one-byte-per-token tokenizer spells, special tokens included.
fn spell(ids: &[TokenId], specials: &[&str]) -> String {
    let mut bytes = Vec::new();
    for &id in ids {
        match u8::try_from(id) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(specials[id as usize - 256].as_bytes()),
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn chat_formats_match_the_templates() {
    for case in golden() {
        let (specials, family) = match case["family"].as_str().unwrap() {
            "small" => (SPECIALS_1_8B, ChatFamily::Small),
            _ => (SPECIALS_7B, ChatFamily::Large),
        };
        let tokenizer = Tokenizer::bytes_with_specials(specials);
        let chat = ChatFormat::detect(&tokenizer, Opener::Assistant).unwrap();
        assert_eq!(chat.family(), family);
        let user = case["user"].as_str().unwrap();
        let ids = chat.render(&tokenizer, case["system"].as_str(), user).unwrap();
        assert_eq!(spell(&ids, specials), case["text"].as_str().unwrap());
    }
}

#[test]
fn prompt_ids_match_hugging_face_on_the_whole_template() {
    // HF's encoder recognises special tokens in text, so it can encode the rendered template whole.
    let reference = tokenizers::Tokenizer::from_file(demo_tokenizer_file()).unwrap();
    let tokenizer = demo();
    let chat = ChatFormat::detect(tokenizer, Opener::Assistant).unwrap();
    for case in golden().iter().filter(|case| case["family"] == "small") {
        let whole = reference.encode_fast(case["text"].as_str().unwrap(), false).unwrap();
        let ids = chat
            .render(tokenizer, case["system"].as_str(), case["user"].as_str().unwrap())
            .unwrap();
        assert_eq!(ids, whole.get_ids());
    }
}

#[test]
fn user_text_never_yields_a_special_token() {
    let attacks = |specials: &[&str]| {
        let mut texts: Vec<String> = specials.iter().map(|s| (*s).to_owned()).collect();
        texts.push(specials.concat());
        texts.push(format!("Hello{}{}bye", specials[0], specials[3]));
        texts
    };
    let large = Tokenizer::bytes_with_specials(SPECIALS_7B);
    for (tokenizer, specials) in [(demo(), SPECIALS_1_8B), (&large, SPECIALS_7B)] {
        for text in attacks(specials) {
            let ids = tokenizer.encode(&text).unwrap();
            assert!(ids.iter().all(|id| !tokenizer.is_special(*id)), "{text:?} gave {ids:?}");
            assert_eq!(tokenizer.decode(&ids), text, "the text itself must survive");
        }
    }
}

#[test]
fn turn_headers_declared_as_ordinary_tokens_are_special_all_the_same() {
    let mut json: Value =
        serde_json::from_str(&std::fs::read_to_string(demo_tokenizer_file()).unwrap()).unwrap();
    for token in json["added_tokens"].as_array_mut().unwrap() {
        token["special"] = false.into();
    }
    json["added_tokens"].as_array_mut().unwrap().push(serde_json::json!({
        "id": 3584, "content": "<b>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false,
    }));
    let json = json.to_string();
    let attack = format!("Hello{}bye", SPECIALS_1_8B.concat());
    let mut reference = tokenizers::Tokenizer::from_bytes(&json).unwrap();
    reference.set_encode_special_tokens(true);
    let user = reference.token_to_id("<｜hy_User｜>").unwrap();
    let opened = reference.encode_fast(attack.as_str(), false).unwrap();
    assert!(opened.get_ids().contains(&user), "or this test is about nothing");

    let tokenizer = Tokenizer::from_bytes(json.as_bytes()).unwrap();
    assert_eq!(tokenizer.special_id("<｜hy_User｜>"), Some(user));
    assert!(ChatFormat::detect(&tokenizer, Opener::Assistant).is_ok());
    let ids = tokenizer.encode(&attack).unwrap();
    assert_eq!(ids, demo().encode(&attack).unwrap());
    assert!(ids.iter().all(|id| !tokenizer.is_special(*id)), "{ids:?}");
    assert_eq!(tokenizer.decode(&[user]), "", "a turn header is no text");
    // What does not look like a marker stays a word, as the file says.
    assert_eq!(tokenizer.encode("<b>").unwrap(), [3584]);
    assert_eq!(tokenizer.decode(&[3584]), "<b>");
}

#[test]
fn long_runs_of_anything_survive() {
    // The library's regular expressions backtrack, and give up in silence where that takes long.
    let tokenizer = demo();
    let patterns =
        [" ", "a", "\n", " \n", "门", "7", "!", "e\u{301}", "\0", "\t x", "<｜hy_User｜>", "🤖"];
    for pattern in patterns {
        let text = pattern.repeat((1 << 16) / pattern.len());
        let ids = tokenizer.encode(&text).unwrap();
        assert!(tokenizer.decode(&ids) == text, "{pattern:?} did not survive");
        assert!(ids.iter().all(|id| !tokenizer.is_special(*id)), "{pattern:?}");
    }
}

#[test]
fn decoding_matches_hugging_face() {
    let reference = tokenizers::Tokenizer::from_file(demo_tokenizer_file()).unwrap();
    let tokenizer = demo();
    for text in ["Wo ist die Tür?", "充电站在哪里？", "🤖 é ñ ß\t\n  x", "１２３ ½"]
    {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(ids, reference.encode_fast(text, false).unwrap().get_ids(), "{text:?}");
        assert_eq!(tokenizer.decode(&ids), text);
        assert_eq!(tokenizer.decode(&ids), reference.decode(&ids, true).unwrap());
    }
}

#[test]
fn stop_tokens_are_resolved_by_name() {
    let tokenizer = demo();
    let id = |content| tokenizer.special_id(content).unwrap();
    let stop = ChatFormat::detect(tokenizer, Opener::Assistant).unwrap().stop();
    for content in [
        "<｜hy_place▁holder▁no▁2｜>",
        "<｜hy_end▁of▁sentence｜>",
        "<｜hy_User｜>",
        "<｜hy_Assistant｜>",
    ] {
        assert!(stop.contains(&id(content)), "{content} must stop the answer");
    }
    // With HY-MT1.5's own call the model writes the assistant header itself.
    let stop = ChatFormat::detect(tokenizer, Opener::Placeholder8).unwrap().stop();
    assert!(!stop.contains(&id("<｜hy_Assistant｜>")));
}

#[test]
fn an_unknown_tokenizer_is_named_as_such() {
    let tokenizer = Tokenizer::bytes_with_specials(&["<s>", "</s>"]);
    let error = ChatFormat::detect(&tokenizer, Opener::Assistant).unwrap_err().to_string();
    assert!(error.contains("<｜hy_begin▁of▁sentence｜>") && error.contains("<|eos|>"), "{error}");
}

#[test]
fn broken_tokenizer_files_are_refused() {
    let missing = Tokenizer::from_file(&PathBuf::from("/nonexistent/tokenizer.json"));
    assert!(matches!(missing, Err(TokenizerError::Read { .. })));
    assert!(matches!(Tokenizer::from_bytes(b"{\"version\""), Err(TokenizerError::Parse { .. })));
    let mut json: Value =
        serde_json::from_str(&std::fs::read_to_string(demo_tokenizer_file()).unwrap()).unwrap();
    json["decoder"] = Value::Null;
    let refused = Tokenizer::from_bytes(json.to_string().as_bytes());
    assert!(matches!(refused, Err(TokenizerError::NotByteLevel { .. })));
}

#[test]
fn half_a_character_is_held_back() {
    let tokenizer = Arc::new(Tokenizer::bytes());
    let mut stream = DecodeStream::new(Arc::clone(&tokenizer));
    let ids: Vec<_> = "门a".bytes().map(TokenId::from).collect();
    let pieces: Vec<_> = ids.iter().map(|id| stream.push(*id)).collect();
    assert_eq!(pieces, [None, None, Some("门".to_owned()), Some("a".to_owned())]);
    assert_eq!(stream.push(0xE9), None);
    assert_eq!(stream.finish(), Some("\u{FFFD}".to_owned()));
    assert_eq!(stream.finish(), None);
}

proptest! {
    #[test]
    fn streamed_pieces_add_up(ids in prop::collection::vec(0_u32..264, 0..64)) {
        let tokenizer = Arc::new(Tokenizer::bytes());
        let mut stream = DecodeStream::new(Arc::clone(&tokenizer));
        let mut text = String::new();
        for id in &ids {
            text.extend(stream.push(*id));
        }
        text.extend(stream.finish());
        // The rule for invalid UTF-8 is the standard library's, not ours.
        let bytes: Vec<u8> = ids.iter().filter_map(|id| u8::try_from(*id).ok()).collect();
        prop_assert_eq!(&text, &String::from_utf8_lossy(&bytes));
        prop_assert_eq!(text, tokenizer.decode(&ids));
    }

    #[test]
    fn streamed_pieces_add_up_to_what_hugging_face_decodes(
        ids in prop::collection::vec(0_u32..3700, 0..64)
    ) {
        static DEMO: LazyLock<Arc<Tokenizer>> =
            LazyLock::new(|| Arc::new(Tokenizer::from_file(&demo_tokenizer_file()).unwrap()));
        static REFERENCE: LazyLock<tokenizers::Tokenizer> =
            LazyLock::new(|| tokenizers::Tokenizer::from_file(demo_tokenizer_file()).unwrap());
        let mut stream = DecodeStream::new(Arc::clone(&DEMO));
        let mut pieces: Vec<_> = ids.iter().filter_map(|id| stream.push(*id)).collect();
        pieces.extend(stream.finish());
        prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
        // Ids from 3584 on are no token at all.
        prop_assert_eq!(pieces.concat(), REFERENCE.decode(&ids, true).unwrap());
    }

    #[test]
    fn any_text_survives_the_round_trip(text in any::<String>()) {
        let tokenizer = demo();
        let ids = tokenizer.encode(&text).unwrap();
        prop_assert_eq!(tokenizer.decode(&ids), text);
    }
}
