//! Static scales of the activations: one number for each input of linear layers.
//!
//! The engines of this crate quantise activations token by token and need no such scales. Engines
//! whose graph is fixed beforehand do: explicit Q/DQ holds the scale as a constant. It comes from
//! the checkpoint where that holds `input_scale` (compressed-tensors with static activations), from
//! the file that `hymt quantize` writes beside its model, or from [`observe_activations`].
//!
//! A layer has four such inputs, one for each [`Fold`]: q, k and v share theirs, and so do gate and
//! up. In files a scale has the name of each linear layer that reads it. An input without a scale
//! stays a float, and so do the weights that read it: checkpoints leave layers out of quantisation
//! in this way, and [`ActivationScales::keep_float`] does.

use std::ops::ControlFlow;
use std::path::Path;

use super::checkpoint::{LayerProgress, calibration};
use super::error::QuantizeError;
use super::folder::write_vectors;
use super::int8::LEVEL_MAX;
use super::layer::scale_of;
use super::smoothing::Fold;
use crate::TokenId;
use crate::config::{ModelConfig, Scheme};
use crate::engine::cpu::layer_run::LayerRun;
use crate::error::LoadError;
use crate::weights::{EMBEDDING, Embedding, Tensors};

/// Largest number of FP8 E4M3.
const E4M3_MAX: f32 = 448.0;

/// Largest magnitudes of one layer's inputs, in the order of [`Fold::ALL`].
pub type LayerAbsmax = [f32; Fold::ALL.len()];
/// Scales of one layer, in the order of [`Fold::ALL`]; none for what stays a float.
pub type LayerScales = [Option<f32>; Fold::ALL.len()];

/// The static scales of a network: `int8 = round(x / scale)`, saturated to -128..=127.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationScales {
    layers: Vec<LayerScales>,
}

impl ActivationScales {
    /// Scales from the largest magnitudes that entered, layer by layer.
    ///
    /// # Errors
    /// [`QuantizeError::NoScale`] names the first input that is never anything but zero, or not
    /// finite.
    pub fn from_absmax(absmax: &[LayerAbsmax]) -> Result<Self, QuantizeError> {
        for (layer, inputs) in absmax.iter().enumerate() {
            let bad =
                Fold::ALL.into_iter().find(|fold| !is_scale(scale_of(inputs[*fold as usize])));
            if let Some(fold) = bad {
                let input = name(layer, fold.readers()[0]);
                return Err(QuantizeError::NoScale { input, absmax: inputs[fold as usize] });
            }
        }
        Ok(Self { layers: absmax.iter().map(|inputs| inputs.map(scale_of).map(Some)).collect() })
    }

    /// The scales stored in a checkpoint; `None` where it has none, as with dynamic activations.
    /// Linear layers that share an input may have scales of their own: the largest covers them all.
    /// Those of an FP8 checkpoint count in steps of E4M3 and become steps of INT8 over the same
    /// range.
    ///
    /// # Errors
    /// [`LoadError`] when some are missing, of another shape, not positive, or not symmetric.
    pub fn stored(tensors: &Tensors, config: &ModelConfig) -> Result<Option<Self>, LoadError> {
        let levels = match config.quantization.as_ref().map(|quantization| quantization.scheme) {
            Some(Scheme::Int8) => LEVEL_MAX,
            Some(Scheme::Fp8) => E4M3_MAX,
            _ => return Ok(None),
        };
        let mut scales = Self::from_tensors(tensors, config)?;
        if scales.has_none() {
            return Ok(None);
        }
        scales.layers.iter_mut().flatten().flatten().for_each(|scale| *scale *= levels / LEVEL_MAX);
        Ok(Some(scales))
    }

    /// Reads a file that [`Self::write`] or the quantiser made.
    ///
    /// # Errors
    /// As [`Self::stored`], and when there is no such file, or no scale in it.
    pub fn read(path: &Path, config: &ModelConfig) -> Result<Self, LoadError> {
        let tensors = Tensors::from_safetensors(path)?;
        let scales = Self::from_tensors(&tensors, config)?;
        if scales.has_none() {
            // Some other file, whose lack of scales must not become a network of floats.
            tensors.tensor(&name(0, Fold::QkvInput.readers()[0]))?;
        }
        Ok(scales)
    }

    fn from_tensors(tensors: &Tensors, config: &ModelConfig) -> Result<Self, LoadError> {
        let mut layers = Vec::with_capacity(config.n_layers);
        for layer in 0..config.n_layers {
            let mut scales = LayerScales::default();
            for fold in Fold::ALL {
                let names: Vec<_> =
                    fold.readers().iter().map(|reader| name(layer, reader)).collect();
                if !names.iter().any(|name| tensors.contains(name)) {
                    continue;
                }
                let mut largest = 0.0_f32;
                for name in &names {
                    largest = largest.max(tensors.activation_scale(name)?);
                }
                scales[fold as usize] = Some(largest);
            }
            layers.push(scales);
        }
        Ok(Self { layers })
    }

    /// Writes a safetensors file with `<linear layer>.input_scale`, `[1]`, for each linear layer.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let of_layer = |(layer, scales): (usize, &LayerScales)| {
            let scales = *scales;
            Fold::ALL.into_iter().flat_map(move |fold| {
                let of_reader =
                    move |reader: &&str| Some((name(layer, reader), vec![scales[fold as usize]?]));
                fold.readers().iter().filter_map(of_reader)
            })
        };
        let vectors: Vec<_> = self.layers.iter().enumerate().flat_map(of_layer).collect();
        write_vectors(path, &vectors)
    }

    /// The same, but the inputs at `folds` stay floats in every layer.
    #[must_use]
    pub fn keep_float(mut self, folds: &[Fold]) -> Self {
        for scales in &mut self.layers {
            folds.iter().for_each(|fold| scales[*fold as usize] = None);
        }
        self
    }

    /// How many inputs stay floats.
    pub fn n_float(&self) -> usize {
        self.layers.iter().flatten().filter(|scale| scale.is_none()).count()
    }

    fn has_none(&self) -> bool {
        self.n_float() == self.n_layers() * Fold::ALL.len()
    }

    /// Number of layers.
    pub fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// The scales of one layer.
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn layer(&self, layer: usize) -> &LayerScales {
        &self.layers[layer]
    }
}

/// Passes calibration prompts through the network, layer by layer in f32, and records the largest
/// magnitude that enters each linear layer. Of `prompts`, as many as `tokens_max` allows are used.
///
/// # Errors
/// [`QuantizeError`] when the model cannot be read, no prompt fits, or `progress` breaks.
pub fn observe_activations(
    tensors: &Tensors,
    config: &ModelConfig,
    prompts: &[Vec<TokenId>],
    tokens_max: usize,
    threads: Option<usize>,
    progress: &mut dyn FnMut(LayerProgress) -> ControlFlow<()>,
) -> Result<ActivationScales, QuantizeError> {
    let prompts = calibration(prompts, tokens_max, config.vocab_size)?;
    let mut run = LayerRun::new(config, prompts, threads)?;
    let mut hidden = run.embed(&Embedding::load(tensors, config)?);
    if let Ok(table) = tensors.tensor(EMBEDDING) {
        // Each row that was looked up has brought its neighbours into memory.
        table.forget_bytes(0..table.bytes().len());
    }
    let mut absmax = Vec::with_capacity(config.n_layers);
    for index in 0..config.n_layers {
        if progress(LayerProgress { done: index, total: config.n_layers }).is_break() {
            return Err(QuantizeError::Interrupted);
        }
        let layer = run.load(tensors, index)?;
        let mut largest = LayerAbsmax::default();
        run.run(&layer, &mut hidden, &mut |site, rows| {
            if let Some(fold) = Fold::at(site) {
                let seen = &mut largest[fold as usize];
                *seen = rows.iter().fold(*seen, |all, x| all.max(x.abs()));
            }
        });
        absmax.push(largest);
    }
    ActivationScales::from_absmax(&absmax)
}

fn name(layer: usize, reader: &str) -> String {
    format!("model.layers.{layer}.{reader}.input_scale")
}

/// Whether a number can be a scale: positive, and not so small that a quotient overflows.
pub(crate) fn is_scale(scale: f32) -> bool {
    scale.is_finite() && scale >= f32::MIN_POSITIVE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::ModelSource;

    fn demo() -> (ModelConfig, Tensors) {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/demo/bf16");
        let source = ModelSource::Dir(dir.into());
        (source.config().unwrap(), source.tensors().unwrap())
    }

    #[test]
    fn observed_scales_cover_the_calibration_and_survive_the_file() {
        let (config, tensors) = demo();
        let prompts = [(5..40).collect::<Vec<TokenId>>(), (900..930).collect()];
        let observe = |tokens_max| {
            let go_on = &mut |_| ControlFlow::Continue(());
            observe_activations(&tensors, &config, &prompts, tokens_max, Some(2), go_on)
        };
        let (both, first) = (observe(100).unwrap(), observe(40).unwrap());
        let pairs = || (0..config.n_layers).flat_map(|n| both.layer(n).iter().zip(first.layer(n)));
        assert!(pairs().all(|(both, first)| both >= first), "more text, larger maxima");
        assert!(pairs().any(|(both, first)| both > first), "the second prompt was read");
        assert!(observe(10).unwrap_err().to_string().contains("calibration"));

        let file = tempfile::NamedTempFile::new().unwrap();
        both.write(file.path()).unwrap();
        assert_eq!(ActivationScales::read(file.path(), &config).unwrap(), both);
        assert_eq!(ActivationScales::stored(&tensors, &config).unwrap(), None);

        let kept = both.keep_float(&[Fold::DownInput]);
        kept.write(file.path()).unwrap();
        assert_eq!(ActivationScales::read(file.path(), &config).unwrap(), kept);
        assert_eq!(kept.n_float(), config.n_layers);
    }

    #[test]
    fn readers_of_one_input_share_the_largest_scale_and_bad_scales_are_refused() {
        let (config, _) = demo();
        let config = ModelConfig { n_layers: 1, ..config };
        type Vectors = Vec<(String, Vec<f32>)>;
        let read = |change: &dyn Fn(&mut Vectors)| {
            let readers = Fold::ALL.iter().flat_map(|fold| fold.readers());
            let mut vectors = readers.map(|reader| (name(0, reader), vec![0.5])).collect();
            change(&mut vectors);
            let file = tempfile::NamedTempFile::new().unwrap();
            write_vectors(file.path(), &vectors).unwrap();
            ActivationScales::read(file.path(), &config)
        };
        let scales = read(&|vectors| vectors[1].1[0] = 0.75).unwrap();
        assert_eq!(scales.layer(0), &[0.75, 0.5, 0.5, 0.5].map(Some));
        for bad in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-42] {
            let message = read(&|vectors| vectors[3].1[0] = bad).unwrap_err().to_string();
            assert!(message.contains("o_proj.input_scale"), "{bad}: {message}");
        }
        // Alone it stays a float; beside another reader of the same input it is missing.
        let scales = read(&|vectors| drop(vectors.pop())).unwrap();
        assert_eq!(scales.layer(0)[Fold::DownInput as usize], None);
        let message = read(&|vectors| drop(vectors.remove(4))).unwrap_err().to_string();
        assert!(message.contains("gate_proj.input_scale"), "{message}");
        let other = |vectors: &mut Vectors| *vectors = vec![("other".to_owned(), vec![1.0])];
        let message = read(&other).unwrap_err().to_string();
        assert!(message.contains("q_proj.input_scale"), "{message}");
        let message = read(&|vectors| vectors[0].1.push(1.0)).unwrap_err().to_string();
        assert!(message.contains("q_proj.input_scale"), "{message}");
        let zero_point = name(0, "mlp.up_proj").replace("input_scale", "input_zero_point");
        let message = read(&|vectors| vectors.push((zero_point.clone(), vec![3.0]))).unwrap_err();
        assert!(message.to_string().contains("input_zero_point"), "{message}");
    }

    #[test]
    fn stored_scales_of_fp8_cover_the_same_range_in_int8() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/formats/fp8");
        let source = ModelSource::Dir(dir.into());
        let (config, tensors) = (source.config().unwrap(), source.tensors().unwrap());
        let scales = ActivationScales::stored(&tensors, &config).unwrap().unwrap();
        let stored = tensors.activation_scale(&name(0, "mlp.down_proj")).unwrap();
        let range = scales.layer(0)[Fold::DownInput as usize].unwrap() * 127.0;
        assert!((range - stored * 448.0).abs() < 1e-4 * range, "{range} {stored}");
    }

    #[test]
    fn an_input_that_is_never_used_has_no_scale() {
        let error = ActivationScales::from_absmax(&[[1.0; 4], [1.0, 0.0, 1.0, 1.0]]).unwrap_err();
        assert!(error.to_string().contains("layers.1.self_attn.o_proj"), "{error}");
    }
}
