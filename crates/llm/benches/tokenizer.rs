//! Encoding and streamed decoding of one robot sentence with the demo tokenizer.
#![allow(missing_docs, reason = "criterion's macros generate undocumented functions")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use hymt_llm::tokenizer::{DecodeStream, Tokenizer};

fn tokenizer(criterion: &mut Criterion) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/demo/int8/tokenizer.json");
    let tokenizer = Arc::new(Tokenizer::from_file(&file).expect("the demo model is in the tree"));
    let text = "Bitte bringen Sie den roten Koffer um 14:35 Uhr zur Ladestation. 请带我去充电站。";
    criterion.bench_function("encode a sentence", |bencher| {
        bencher.iter(|| tokenizer.encode(black_box(text)));
    });
    let ids = tokenizer.encode(text).expect("valid text");
    criterion.bench_function("decode a sentence token by token", |bencher| {
        bencher.iter(|| {
            let mut stream = DecodeStream::new(Arc::clone(&tokenizer));
            ids.iter().filter_map(|id| stream.push(*id)).map(|piece| piece.len()).sum::<usize>()
        });
    });
}

criterion_group!(benches, tokenizer);
criterion_main!(benches);
