//! Plans: what one is good for, where it is kept, and why an old one is not good any more.
//!
//! A plan runs on the TensorRT, the GPU and the shapes it was built for and nowhere else, and
//! TensorRT's own words about a foreign plan do not say what differs. So each plan has a
//! [`PlanKey`] with everything that it depends on; the key is kept beside the plan
//! ([`sidecar`]), and names its file in the [`cache`]. Plans of another key are not deserialised
//! but explained, field by field. A folder keeps so many of them and no more ([`prune`]).

pub mod cache;
pub mod fingerprint;
pub mod prune;
pub mod sidecar;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::cache::{Lookup, PlanCache, StoredPlan};
pub use self::sidecar::{LayerReport, Sidecar};

/// Version of the exported graph's contract ([`crate::graph`]); a change makes every plan stale.
pub const GRAPH_VERSION: u32 = 1;

/// Where the layers of a plan run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// The GPU.
    #[default]
    Gpu,
    /// The first deep learning accelerator.
    Dla0,
    /// The second one.
    Dla1,
}

impl Target {
    /// What users type.
    pub const WORDS: &'static [&'static str] = &["gpu", "dla0", "dla1"];

    /// The DLA core, if it is one.
    pub fn dla_core(self) -> Option<i32> {
        match self {
            Self::Gpu => None,
            Self::Dla0 => Some(0),
            Self::Dla1 => Some(1),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gpu => "gpu",
            Self::Dla0 => "dla0",
            Self::Dla1 => "dla1",
        })
    }
}

/// A word that names no [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device '{given}' is not known; allowed: gpu, dla0, dla1")]
pub struct UnknownTarget {
    /// The word, shortened.
    pub given: String,
}

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        match text {
            "gpu" => Ok(Self::Gpu),
            "dla0" => Ok(Self::Dla0),
            "dla1" => Ok(Self::Dla1),
            given => Err(UnknownTarget { given: given.chars().take(40).collect() }),
        }
    }
}

/// The shapes that a plan is built for: the bounds of its two profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlanShapes {
    /// Rows of the cache: sequences at once.
    pub slots: usize,
    /// Length of the cache, fixed in the graph. Tokens.
    pub context_tokens: usize,
    /// Most rows of one prefill pass (profile 0).
    pub prefill_rows: usize,
    /// Most tokens of a row of a prefill pass.
    pub prefill_tokens: usize,
    /// Most logits of a row of a prefill pass.
    pub prefill_logits: usize,
    /// Most tokens, and logits, of a row of a decode pass (profile 1): one and a draft.
    pub decode_tokens: usize,
}

impl Default for PlanShapes {
    /// On a board with 8 GB, HY-MT 1.8B takes 256 MiB for the cache of 4 slots of 1,024 tokens, and
    /// about 150 MiB of scratch memory for the attention of a prefill pass.
    fn default() -> Self {
        Self {
            slots: 4,
            context_tokens: 1024,
            prefill_rows: 4,
            prefill_tokens: 256,
            prefill_logits: 8,
            decode_tokens: 8,
        }
    }
}

impl PlanShapes {
    /// The default with another cache.
    pub fn new(slots: usize, context_tokens: usize) -> Self {
        let default = Self::default();
        Self {
            slots,
            context_tokens,
            prefill_rows: default.prefill_rows.min(slots),
            prefill_tokens: default.prefill_tokens.min(context_tokens),
            prefill_logits: default.prefill_logits.min(context_tokens),
            decode_tokens: default.decode_tokens.min(context_tokens),
        }
    }
}

/// Everything that a plan depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlanKey {
    /// Full version of the library, for example `10.3.0.30`.
    pub tensorrt: String,
    /// Compute capability of the GPU, for example 87.
    pub sm: u32,
    /// Name of the GPU; boards of the same architecture take other plans.
    pub device: String,
    /// GPU or a core of the DLA.
    pub target: Target,
    /// Whether layers that the DLA cannot run went to the GPU.
    pub gpu_fallback: bool,
    /// Hash of the model's files, scales of activations included; lower-case hexadecimal.
    pub model: String,
    /// Arithmetic, for example `int8-f16`.
    pub precision: String,
    /// Shapes of its profiles.
    pub shapes: PlanShapes,
    /// Optimisation level; TensorRT's own where absent.
    pub level: Option<i32>,
    /// Scratch memory that one layer could take, which decides between tactics. MiB.
    pub workspace_mib: usize,
    /// [`GRAPH_VERSION`] of the program that exported the graph.
    pub graph: u32,
}

impl PlanKey {
    /// Every field with its value, in the order in which people are told.
    pub fn fields(&self) -> Vec<(Field, String)> {
        let shapes = &self.shapes;
        vec![
            (Field::TensorRt, self.tensorrt.clone()),
            (Field::Sm, self.sm.to_string()),
            (Field::Device, self.device.clone()),
            (Field::Target, self.target.to_string()),
            (Field::GpuFallback, self.gpu_fallback.to_string()),
            (Field::Model, self.model.clone()),
            (Field::Precision, self.precision.clone()),
            (Field::Slots, shapes.slots.to_string()),
            (Field::ContextTokens, shapes.context_tokens.to_string()),
            (Field::PrefillRows, shapes.prefill_rows.to_string()),
            (Field::PrefillTokens, shapes.prefill_tokens.to_string()),
            (Field::PrefillLogits, shapes.prefill_logits.to_string()),
            (Field::DecodeTokens, shapes.decode_tokens.to_string()),
            (Field::Level, self.level.map_or("TensorRT's own".to_owned(), |it| it.to_string())),
            (Field::WorkspaceMib, self.workspace_mib.to_string()),
            (Field::Graph, self.graph.to_string()),
        ]
    }

    /// Name of the key: 32 hexadecimal digits of a hash of all fields.
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        for (field, value) in self.fields() {
            // With the length before it, no value can look like the beginning of another field.
            hash.update(format!("{field}={}:{value}\n", value.len()));
        }
        hex(&hash.finalize()[..16])
    }

    /// What differs in a plan of this key for somebody who needs `wanted`.
    pub fn differences(&self, wanted: &Self) -> Vec<Difference> {
        let pairs = self.fields().into_iter().zip(wanted.fields());
        pairs
            .filter(|((_, built), (_, wanted))| built != wanted)
            .map(|((field, built), (_, wanted))| Difference { field, built, wanted })
            .collect()
    }
}

/// A field of a [`PlanKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the fields of PlanKey and PlanShapes say what they are")]
pub enum Field {
    TensorRt,
    Sm,
    Device,
    Target,
    GpuFallback,
    Model,
    Precision,
    Slots,
    ContextTokens,
    PrefillRows,
    PrefillTokens,
    PrefillLogits,
    DecodeTokens,
    Level,
    WorkspaceMib,
    Graph,
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TensorRt => "tensorrt",
            Self::Sm => "compute capability",
            Self::Device => "device name",
            Self::Target => "gpu.device",
            Self::GpuFallback => "GPU fallback",
            Self::Model => "model",
            Self::Precision => "precision",
            Self::Slots => "slots",
            Self::ContextTokens => "context tokens",
            Self::PrefillRows => "prefill rows",
            Self::PrefillTokens => "prefill tokens",
            Self::PrefillLogits => "prefill logits",
            Self::DecodeTokens => "decode tokens",
            Self::Level => "optimisation level",
            Self::WorkspaceMib => "workspace MiB",
            Self::Graph => "graph version",
        })
    }
}

/// One reason why a plan is stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub field: Field,
    /// What the plan was built with.
    pub built: String,
    /// What is needed.
    pub wanted: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, built, wanted } = self;
        match field {
            Field::TensorRt => {
                write!(formatter, "TensorRT {built} built it, {wanted} is installed")
            }
            Field::Device | Field::Sm => {
                write!(formatter, "{field}: built on {built}, this is {wanted}")
            }
            Field::Model => {
                let short = |hash: &str| hash.chars().take(12).collect::<String>();
                write!(
                    formatter,
                    "the model's files changed: {} then, {} now",
                    short(built),
                    short(wanted)
                )
            }
            Field::Graph => {
                write!(formatter, "graph version {built} then, {wanted} in this program")
            }
            _ => write!(formatter, "{field}: {built} in the plan, {wanted} wanted"),
        }
    }
}

/// All reasons in one sentence, with what to do.
pub fn explain(differences: &[Difference]) -> String {
    let reasons: Vec<String> = differences.iter().map(Difference::to_string).collect();
    format!("{}: rebuild with `hymt engine build`", reasons.join("; "))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::build::WORKSPACE_MIB;

    pub(crate) fn key() -> PlanKey {
        PlanKey {
            tensorrt: "10.3.0.30".to_owned(),
            sm: 87,
            device: "Orin".to_owned(),
            target: Target::Gpu,
            gpu_fallback: false,
            model: "ab".repeat(32),
            precision: "int8-f16".to_owned(),
            shapes: PlanShapes::default(),
            level: None,
            workspace_mib: WORKSPACE_MIB,
            graph: GRAPH_VERSION,
        }
    }

    prop_compose! {
        fn any_key()(
            (tensorrt, device, model, precision) in (".{0,6}", ".{0,6}", ".{0,6}", ".{0,6}"),
            (sm, graph) in (0_u32..3, 0_u32..3),
            target in prop_oneof![Just(Target::Gpu), Just(Target::Dla0), Just(Target::Dla1)],
            gpu_fallback: bool,
            sizes in proptest::array::uniform6(0_usize..3),
            (level, workspace_mib) in (proptest::option::of(0..3), 0_usize..3),
        ) -> PlanKey {
            let [slots, context_tokens, prefill_rows, prefill_tokens, prefill_logits, decode_tokens] =
                sizes;
            let shapes = PlanShapes {
                slots, context_tokens, prefill_rows, prefill_tokens, prefill_logits, decode_tokens,
            };
            PlanKey {
                tensorrt, sm, device, target, gpu_fallback, model, precision, shapes, level,
                workspace_mib, graph,
            }
        }
    }

    /// Takes field number `which` of `from`.
    fn with_field_of(to: &PlanKey, from: &PlanKey, which: usize) -> PlanKey {
        let mut key = to.clone();
        match which {
            0 => key.tensorrt.clone_from(&from.tensorrt),
            1 => key.sm = from.sm,
            2 => key.device.clone_from(&from.device),
            3 => key.target = from.target,
            4 => key.gpu_fallback = from.gpu_fallback,
            5 => key.model.clone_from(&from.model),
            6 => key.precision.clone_from(&from.precision),
            7 => key.shapes.slots = from.shapes.slots,
            8 => key.shapes.context_tokens = from.shapes.context_tokens,
            9 => key.shapes.prefill_rows = from.shapes.prefill_rows,
            10 => key.shapes.prefill_tokens = from.shapes.prefill_tokens,
            11 => key.shapes.prefill_logits = from.shapes.prefill_logits,
            12 => key.shapes.decode_tokens = from.shapes.decode_tokens,
            13 => key.level = from.level,
            14 => key.workspace_mib = from.workspace_mib,
            _ => key.graph = from.graph,
        }
        key
    }

    proptest! {
        #[test]
        fn any_single_change_makes_another_key_and_is_named(
            a in any_key(), b in any_key(), which in 0_usize..16,
        ) {
            let changed = with_field_of(&a, &b, which);
            let named: Vec<Field> =
                a.differences(&changed).iter().map(|difference| difference.field).collect();
            if changed == a {
                prop_assert!(named.is_empty());
                prop_assert_eq!(a.id(), changed.id());
            } else {
                prop_assert_eq!(named, vec![a.fields()[which].0]);
                prop_assert_ne!(a.id(), changed.id());
            }
        }

        #[test]
        fn exactly_the_changed_fields_are_named(a in any_key(), b in any_key()) {
            let expected: Vec<Field> = (0..16)
                .filter(|which| with_field_of(&a, &b, *which) != a)
                .map(|which| a.fields()[which].0)
                .collect();
            let differences = a.differences(&b);
            let named: Vec<Field> = differences.iter().map(|d| d.field).collect();
            prop_assert_eq!(&named, &expected);
            prop_assert_eq!(a.id() == b.id(), a == b);
            let said = explain(&differences);
            for difference in &differences {
                prop_assert!(said.contains(&difference.to_string()));
            }
        }
    }

    #[test]
    fn no_field_is_forgotten() {
        // A field that serde knows and the table does not would never make a plan stale.
        let json = serde_json::to_value(key()).unwrap();
        let shapes = json["shapes"].as_object().unwrap().len();
        assert_eq!(key().fields().len(), json.as_object().unwrap().len() - 1 + shapes);
    }

    #[test]
    fn an_upgrade_is_explained() {
        let new = PlanKey { tensorrt: "10.7.0.23".to_owned(), ..key() };
        assert_eq!(
            explain(&key().differences(&new)),
            "TensorRT 10.3.0.30 built it, 10.7.0.23 is installed: rebuild with `hymt engine build`"
        );
    }
}
