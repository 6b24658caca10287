//! Model hyper-parameters: `config.json` of HunYuanDenseV1, in both spellings.
