//! A context with memory for everything, which decodes with the cache fed back by hand.

use hymt_tensorrt::error::TensorRtError;
use hymt_tensorrt::graph;
use hymt_tensorrt::safe::{Context, Engine, Shape, Stream, TensorInfo};

use crate::host::Buffer;
use crate::support::{MODEL, PROMPT_MAX, ranges};

/// A context with memory for everything, and a cache that is fed back by hand.
pub(crate) struct Decoder {
    pub(crate) context: Context,
    /// In the engine's order.
    pub(crate) buffers: Vec<Buffer>,
    pub(crate) past: usize,
}

impl Decoder {
    pub(crate) fn new(engine: &Engine) -> Self {
        let mut context = engine.context().unwrap();
        let length = |shape: &Shape| {
            let size = |it: &i64| if *it < 0 { PROMPT_MAX as usize } else { *it as usize };
            shape.0.iter().map(size).product::<usize>()
        };
        let buffer =
            |it: &TensorInfo| Buffer::new(length(&it.shape) * it.dtype.bits().unwrap() / 8);
        let buffers: Vec<_> = engine.tensors().iter().map(buffer).collect();
        for (tensor, buffer) in engine.tensors().iter().zip(&buffers) {
            context.set_address(&tensor.name, buffer.address()).unwrap();
        }
        Self { context, buffers, past: 0 }
    }

    pub(crate) fn buffer(&mut self, name: &str) -> &mut Buffer {
        let tensors = self.context.engine().tensors();
        let at = tensors.iter().position(|it| it.name == name).unwrap();
        &mut self.buffers[at]
    }

    pub(crate) fn set_shapes(&mut self, tokens: usize) {
        for (name, range) in ranges(tokens as i64) {
            self.context.set_input_shape(&name, &range.max).unwrap();
        }
    }

    pub(crate) fn write_inputs(&mut self, tokens: &[u32]) {
        let ids: Vec<i32> = tokens.iter().map(|it| *it as i32).collect();
        let positions: Vec<i32> = (0..tokens.len()).map(|it| (self.past + it) as i32).collect();
        let past = self.past as i32;
        self.buffer(graph::TOKEN_IDS).write(&ids);
        self.buffer(graph::POSITIONS).write(&positions);
        self.buffer(graph::PAST_LENGTHS).write(&[past]);
        self.buffer(graph::LOGITS_AT).write(&[tokens.len() as i32 - 1]);
    }

    pub(crate) fn enqueue(&mut self) -> Result<(), TensorRtError> {
        // SAFETY: the buffers live as long as the context, and the fake has run when this returns.
        unsafe { self.context.enqueue(&Stream::DEFAULT) }
    }

    pub(crate) fn step(&mut self, tokens: &[u32]) -> Vec<f32> {
        self.set_shapes(tokens.len());
        self.context.infer_shapes().unwrap();
        self.write_inputs(tokens);
        self.enqueue().unwrap();
        self.keep(tokens.len());
        self.logits()
    }

    pub(crate) fn logits(&mut self) -> Vec<f32> {
        self.buffer(graph::LOGITS).read_f32(MODEL.vocab)
    }

    /// Copies the new keys and values to their place in the cache.
    pub(crate) fn keep(&mut self, tokens: usize) {
        let past = self.past;
        let row_bytes = MODEL.head_dim * 2;
        for layer in 0..MODEL.layers {
            let pairs = [
                (graph::new_key(layer), graph::past_key(layer)),
                (graph::new_value(layer), graph::past_value(layer)),
            ];
            for (new, kept) in pairs {
                let new = self.buffer(&new).bytes().to_vec();
                let kept = self.buffer(&kept).bytes_mut();
                for head in 0..MODEL.kv_heads {
                    let from = head * tokens * row_bytes;
                    let to = (head * MODEL.context + past) * row_bytes;
                    let length = tokens * row_bytes;
                    kept[to..to + length].copy_from_slice(&new[from..from + length]);
                }
            }
        }
        self.past += tokens;
    }
}
