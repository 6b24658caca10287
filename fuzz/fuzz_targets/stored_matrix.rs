//! A model folder whose configuration and weights are any bytes: the first two say how long the
//! configuration is. Errors or rows, never a panic, in every layout.
#![no_main]

use std::cell::RefCell;

use hymt_llm::weights::ModelSource;
use libfuzzer_sys::fuzz_target;

/// Elements beyond which a matrix is not widened: this is about faults, not about speed.
const ELEMENTS_MAX: usize = 1 << 16;

thread_local! {
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

fuzz_target!(|data: &[u8]| {
    let Some((header, rest)) = data.split_at_checked(2) else { return };
    let config_len = usize::from(u16::from_le_bytes([header[0], header[1]])).min(rest.len());
    let (config, weights) = rest.split_at(config_len);
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().expect("a folder"));
        std::fs::write(folder.path().join("config.json"), config).expect("written");
        std::fs::write(folder.path().join("model.safetensors"), weights).expect("written");
        let source = ModelSource::Dir(folder.path().to_owned());
        let (Ok(config), Ok(tensors)) = (source.config(), source.tensors()) else { return };
        let (hidden, ffn) = (config.hidden_size, config.intermediate_size);
        for (part, shape) in [
            ("self_attn.q_proj", [config.q_size(), hidden]),
            ("self_attn.k_proj", [config.kv_size(), hidden]),
            ("self_attn.o_proj", [hidden, config.q_size()]),
            ("mlp.gate_proj", [ffn, hidden]),
            ("mlp.down_proj", [hidden, ffn]),
        ] {
            let name = format!("model.layers.0.{part}.weight");
            let Ok(matrix) = tensors.matrix(&name, shape, &config) else { continue };
            if shape[0] * shape[1] > ELEMENTS_MAX {
                continue;
            }
            let mut row = vec![0.0; shape[1]];
            for index in 0..shape[0] {
                matrix.row(index, &mut row);
            }
            matrix.forget_rows(0..shape[0]);
        }
    });
});
