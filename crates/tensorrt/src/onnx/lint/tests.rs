//! A graph of ours is clean; one change of it breaks one rule.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use hymt_llm::quant::activation_scales::ActivationScales;
use hymt_llm::synth::{SynthDtype, SynthOptions, SynthShape, write_model};
use hymt_llm::weights::ModelSource;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::*;
use crate::onnx::export::{DATA_FILE, ExportOptions, GRAPH_FILE, WeightForm, export_model};
use crate::onnx::proto::{
    AttributeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorTypeProto,
    TypeProto, ValueInfoProto,
};

/// The layer whose nodes are changed.
const LAYER: &str = "model.layers.0.mlp.gate_proj";

fn exported(weights: WeightForm) -> (TempDir, ModelProto) {
    let dir = tempfile::tempdir().unwrap();
    let options = SynthOptions { shape: SynthShape::Tiny, dtype: SynthDtype::Bf16, seed: 1 };
    write_model(&dir.path().join("model"), &options, &mut |_| {}).unwrap();
    let source = ModelSource::Dir(dir.path().join("model"));
    let layers = vec![[1.0; 4]; source.config().unwrap().n_layers];
    let scales = ActivationScales::from_absmax(&layers).unwrap();
    let options = ExportOptions { context: 32, weights, ..ExportOptions::default() };
    let out = dir.path().join("out");
    let go_on = &mut |_| ControlFlow::Continue(());
    let report = export_model(&source, &scales, &out, &options, false, go_on).unwrap();
    let bytes = std::fs::read(report.graph).unwrap();
    (dir, ModelProto::decode(&bytes[..]).unwrap())
}

#[test]
fn exported_graphs_are_clean() {
    for weights in [WeightForm::Int8, WeightForm::Float] {
        let (dir, model) = exported(weights);
        let path = dir.path().join("out").join(GRAPH_FILE);
        for parser in Parser::ALL {
            let findings = lint_file(&path, parser).unwrap();
            let unpromised = |finding: &Finding| finding.rule == Rule::QdqInt8Constant;
            match (weights, parser) {
                // Every linear layer, and nothing else.
                (WeightForm::Int8, Parser::V8_5) => {
                    let linear = model.graph.as_ref().unwrap().node.iter();
                    let linear = linear.filter(|node| node.name.ends_with("_proj.weight_f32"));
                    assert_eq!(findings.len(), linear.count());
                    assert!(!findings.is_empty() && findings.iter().all(unpromised));
                }
                _ => assert_eq!(findings, [], "{weights:?} {parser}"),
            }
        }
    }
}

type Change = fn(&mut GraphProto);

fn node<'a>(graph: &'a mut GraphProto, name: &str) -> &'a mut NodeProto {
    graph.node.iter_mut().find(|node| node.name == name).unwrap()
}

fn constant<'a>(graph: &'a mut GraphProto, name: &str) -> &'a mut TensorProto {
    graph.initializer.iter_mut().find(|tensor| tensor.name == name).unwrap()
}

/// The DQ of a weight, and the Q of an activation.
fn dq(graph: &mut GraphProto) -> &mut NodeProto {
    node(graph, &format!("{LAYER}.weight_f32"))
}

fn q(graph: &mut GraphProto) -> &mut NodeProto {
    node(graph, &format!("{LAYER}.input_int8"))
}

/// An initialiser of a value for each of `dims`, as the name of an input.
fn add_constant(graph: &mut GraphProto, kind: DataType, dims: &[i64], element: &[u8]) -> String {
    let n = dims.iter().product::<i64>() as usize;
    graph.initializer.push(TensorProto {
        dims: dims.to_vec(),
        data_type: kind as i32,
        name: "added".to_owned(),
        raw_data: element.repeat(n),
        ..TensorProto::default()
    });
    "added".to_owned()
}

fn channels(graph: &mut GraphProto) -> i64 {
    constant(graph, &format!("{LAYER}.weight_scale")).dims[0]
}

/// What is found after the change.
fn broken(exported: &(TempDir, ModelProto), change: Change, parser: Parser) -> Vec<Finding> {
    let (dir, mut model) = (&exported.0, exported.1.clone());
    change(model.graph.as_mut().unwrap());
    lint(&model, &dir.path().join("out"), parser)
}

#[test]
fn every_rule_is_found_where_it_is_broken_and_nowhere_else() {
    use Parser::{V8_5, V10_3, V10_13};
    let all = &Parser::ALL[..];
    let cases: Vec<(Rule, &str, &[Parser], Change)> = vec![
        (Rule::Domain, "norm", all, |graph| {
            node(graph, "model.norm").domain = "com.microsoft".to_owned();
        }),
        (Rule::Operator, "norm", all, |graph| {
            node(graph, "model.norm").op_type = "MatMulInteger".to_owned();
        }),
        (Rule::Operator, "norm", &[V8_5], |graph| {
            node(graph, "model.norm").op_type = "LayerNormalization".to_owned();
        }),
        (Rule::Operator, "norm", &[V8_5, V10_3, V10_13], |graph| {
            node(graph, "model.norm").op_type = "RMSNormalization".to_owned();
        }),
        (Rule::ConstantInput, "first_half", all, |graph| {
            node(graph, "model.layers.0.self_attn.query_layernorm.first_half").input[3] =
                "positions".to_owned();
        }),
        (Rule::ConstantInput, "cos", all, |graph| {
            node(graph, "cos").input[1] = "positions".to_owned();
        }),
        (Rule::ConstantInput, "mean", all, |graph| {
            node(graph, "model.norm.mean").input.push("positions".to_owned());
        }),
        (Rule::ConstantInput, "softmax", &[V8_5], |graph| {
            let node = node(graph, "model.layers.0.self_attn.softmax");
            node.op_type = "TopK".to_owned();
            node.input.push("positions".to_owned());
        }),
        (Rule::ConstantInput, "softmax", all, |graph| {
            let node = node(graph, "model.layers.0.self_attn.softmax");
            node.op_type = "CumSum".to_owned();
            node.input.push("positions".to_owned());
        }),
        (Rule::QdqInputs, "weight_f32", all, |graph| {
            dq(graph).input.pop();
        }),
        (Rule::QdqInputs, "input_int8", all, |graph| q(graph).input[2].clear()),
        (Rule::QdqConstant, "input_int8", all, |graph| q(graph).input[1] = "positions".to_owned()),
        (Rule::QdqConstant, "input_int8", all, |graph| q(graph).input[2] = "positions".to_owned()),
        (Rule::QdqZeroPoint, "input_int8", all, |graph| {
            q(graph).input[2] = add_constant(graph, DataType::Int8, &[], &[3]);
        }),
        (Rule::QdqZeroPoint, "weight_f32", all, |graph| {
            let n = channels(graph);
            let zero_points = add_constant(graph, DataType::Int8, &[n], &[0]);
            graph.initializer.last_mut().unwrap().raw_data[5] = 255;
            dq(graph).input[2] = zero_points;
        }),
        (Rule::QdqScale, "input_int8", all, |graph| {
            q(graph).input[1] = add_constant(graph, DataType::Float, &[], &[0; 4]);
        }),
        (Rule::QdqScale, "input_int8", all, |graph| {
            let nan = f32::NAN.to_le_bytes();
            q(graph).input[1] = add_constant(graph, DataType::Float, &[], &nan);
        }),
        (Rule::QdqScale, "weight_f32", all, |graph| {
            let n = channels(graph);
            let scales = add_constant(graph, DataType::Float, &[n], &1.0_f32.to_le_bytes());
            let tensor = graph.initializer.last_mut().unwrap();
            tensor.raw_data[8..12].copy_from_slice(&(-1.0_f32).to_le_bytes());
            dq(graph).input[1] = scales;
        }),
        (Rule::QdqScale, "input_int8", all, |graph| {
            q(graph).input[1] = add_constant(graph, DataType::Float16, &[], &[0, 60]);
        }),
        (Rule::QdqSize, "input_int8", all, |graph| {
            q(graph).input[2] = add_constant(graph, DataType::Int8, &[2], &[0]);
        }),
        (Rule::QdqSize, "weight_f32", all, |graph| dq(graph).input[2] = "zero_point".to_owned()),
        (Rule::QdqPerAxis, "weight_f32", all, |graph| dq(graph).attribute.clear()),
        (Rule::QdqPerAxis, "weight_f32", all, |graph| dq(graph).attribute[0].i = 0),
        (Rule::QdqPerAxis, "weight_f32", all, |graph| dq(graph).attribute[0].i = -7),
        (Rule::QdqPerAxis, "input_int8", all, |graph| {
            let (scales, zeros) = (format!("{LAYER}.weight_scale"), dq(graph).input[2].clone());
            q(graph).input[1..].clone_from_slice(&[scales, zeros]);
        }),
        (Rule::QdqInt8Constant, "input", &[V8_5], |graph| {
            let data = add_constant(graph, DataType::Int8, &[4], &[1]);
            node(graph, &format!("{LAYER}.input")).input[0] = data;
        }),
        (Rule::ElementType, "added", all, |graph| {
            add_constant(graph, DataType::Double, &[1], &[0; 8]);
        }),
        (Rule::ElementType, "added", &[V8_5], |graph| {
            add_constant(graph, DataType::Bfloat16, &[1], &[0; 2]);
        }),
        (Rule::ElementType, "fed", all, |graph| graph.input.push(fed(DataType::String))),
        (Rule::Int64, "fed", &[V8_5], |graph| graph.input.push(fed(DataType::Int64))),
        (Rule::Int64, "added", &[V8_5], |graph| {
            add_constant(graph, DataType::Int64, &[1], &(1_i64 << 40).to_le_bytes());
        }),
        (Rule::ExternalData, "weight", all, |graph| {
            entry(graph, "location", "../model.onnx.data");
        }),
        (Rule::ExternalData, "weight", all, |graph| entry(graph, "location", "/model.onnx.data")),
        (Rule::ExternalData, "weight", all, |graph| entry(graph, "location", "nowhere")),
        (Rule::ExternalData, "weight", all, |graph| entry(graph, "length", "7")),
        (Rule::ExternalData, "weight", all, |graph| {
            entry(graph, "offset", "18446744073709551615");
        }),
    ];
    let exported = exported(WeightForm::Float);
    for (index, (rule, named, parsers, change)) in cases.iter().enumerate() {
        for parser in Parser::ALL {
            let findings = broken(&exported, *change, parser);
            let of_rule: Vec<_> = findings.iter().filter(|finding| finding.rule == *rule).collect();
            let case = format!("case {index}, {rule:?}, {parser}: {findings:?}");
            assert_eq!(!of_rule.is_empty(), parsers.contains(&parser), "{case}");
            assert!(of_rule.iter().all(|finding| finding.node.contains(named)), "{case}");
            assert!(of_rule.iter().all(|finding| finding.parser == parser), "{case}");
        }
    }
    let covered: BTreeSet<Rule> = cases.iter().map(|(rule, ..)| *rule).collect();
    // The rest have tests of their own below.
    for rule in RULES {
        let apart = [Rule::Opset, Rule::QdqType].contains(&rule);
        assert!(apart || covered.contains(&rule), "{rule:?} has no case");
    }
}

const RULES: [Rule; 15] = [
    Rule::Opset,
    Rule::Domain,
    Rule::Operator,
    Rule::ConstantInput,
    Rule::QdqInputs,
    Rule::QdqConstant,
    Rule::QdqZeroPoint,
    Rule::QdqScale,
    Rule::QdqSize,
    Rule::QdqType,
    Rule::QdqPerAxis,
    Rule::QdqInt8Constant,
    Rule::ElementType,
    Rule::Int64,
    Rule::ExternalData,
];

fn fed(kind: DataType) -> ValueInfoProto {
    let tensor_type = TensorTypeProto { elem_type: kind as i32, shape: None };
    let r#type = Some(TypeProto { tensor_type: Some(tensor_type) });
    ValueInfoProto { name: "fed".to_owned(), r#type }
}

/// Changes where the weight of the layer lies.
fn entry(graph: &mut GraphProto, key: &str, value: &str) {
    let weight = constant(graph, &format!("{LAYER}.weight"));
    weight.external_data.retain(|entry| entry.key != key);
    let (key, value) = (key.to_owned(), value.to_owned());
    weight.external_data.push(StringStringEntryProto { key, value });
}

#[test]
fn uint8_is_found_in_data_and_zero_point() {
    let exported = exported(WeightForm::Float);
    let findings = broken(
        &exported,
        |graph| {
            let zero = add_constant(graph, DataType::Uint8, &[], &[0]);
            q(graph).input[2] = zero;
        },
        Parser::V10_3,
    );
    let rules: BTreeSet<_> = findings.iter().map(|finding| finding.rule).collect();
    // A constant of that type is one too many by itself.
    assert_eq!(rules, [Rule::QdqType, Rule::ElementType].into(), "{findings:?}");
    let findings = broken(
        &exported,
        |graph| {
            let data = add_constant(graph, DataType::Uint8, &[4], &[0]);
            node(graph, &format!("{LAYER}.input")).input[0] = data;
        },
        Parser::V11,
    );
    assert!(findings.iter().any(|finding| finding.rule == Rule::QdqType), "{findings:?}");
}

#[test]
fn opsets_have_both_bounds() {
    let (dir, mut model) = exported(WeightForm::Float);
    for (version, parsers) in [(8, 4), (9, 0), (17, 0), (18, 1), (20, 1), (21, 2), (23, 3), (26, 4)]
    {
        model.opset_import = vec![OperatorSetIdProto { domain: String::new(), version }];
        let found = Parser::ALL.into_iter().filter(|parser| {
            let findings = lint(&model, &dir.path().join("out"), *parser);
            findings.iter().any(|finding| finding.rule == Rule::Opset)
        });
        assert_eq!(found.count(), parsers, "opset {version}");
    }
}

#[test]
fn constant_nodes_count_as_constants() {
    let (dir, mut model) = exported(WeightForm::Float);
    let graph = model.graph.as_mut().unwrap();
    let axes = graph.initializer.iter().position(|tensor| tensor.name == "integers_2").unwrap();
    let tensor = graph.initializer.remove(axes);
    graph.node.insert(
        0,
        NodeProto {
            output: vec!["integers_2".to_owned()],
            op_type: "Constant".to_owned(),
            attribute: vec![AttributeProto {
                name: "value".to_owned(),
                t: Some(tensor),
                ..AttributeProto::default()
            }],
            ..NodeProto::default()
        },
    );
    assert_eq!(lint(&model, &dir.path().join("out"), Parser::V8_5), []);
}

#[test]
fn a_cut_file_of_weights_is_found_and_a_damaged_graph_refused() {
    let (dir, model) = exported(WeightForm::Int8);
    let out = dir.path().join("out");
    let data = out.join(DATA_FILE);
    let file = std::fs::OpenOptions::new().write(true).open(&data).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let findings = lint(&model, &out, Parser::V10_3);
    assert!(findings.iter().any(|finding| finding.rule == Rule::ExternalData), "{findings:?}");
    let text = findings[0].to_string();
    for word in ["TensorRT 10.3", "external-data", "beside the graph"] {
        assert!(text.contains(word), "{text}");
    }
    let path = out.join(GRAPH_FILE);
    std::fs::write(&path, [0x0a, 0xff, 0xff]).unwrap();
    assert!(matches!(lint_file(&path, Parser::V11), Err(LintError::Damaged { .. })));
    assert!(matches!(lint_file(&out.join("none"), Parser::V11), Err(LintError::Io { .. })));
}

/// Files come from outside: whatever is in them, there is an answer.
#[test]
fn damaged_graphs_are_read_or_refused_but_never_a_panic() {
    let (dir, model) = exported(WeightForm::Int8);
    let out = dir.path().join("out");
    let bytes = model.encode_to_vec();
    let mut rng = SmallRng::seed_from_u64(11);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..3000 {
        let mut bytes = bytes.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.random();
        }
        bytes.truncate(rng.random_range(bytes.len() / 2..bytes.len() * 2).min(bytes.len()));
        match ModelProto::decode(&bytes[..]) {
            Ok(model) => {
                lint(&model, &out, Parser::V8_5);
                read += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(read > 100 && refused > 100, "{read} read, {refused} refused");
    let mut model = model;
    let graph = model.graph.as_mut().unwrap();
    for tensor in &mut graph.initializer {
        tensor.dims = vec![i64::MAX, i64::MIN, -1, 3];
    }
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        attribute.i = i64::MIN;
    }
    assert!(!lint(&model, &out, Parser::V10_3).is_empty());
}

#[test]
fn versions_are_parsed_by_their_names() {
    for parser in Parser::ALL {
        assert_eq!(parser.name().parse(), Ok(parser));
    }
    assert!("9.0".parse::<Parser>().unwrap_err().contains("10.13"));
}
