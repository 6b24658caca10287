//! Also the writer that other tests of this crate make small files with.

use super::*;

/// A GGUF file in the making.
#[derive(Clone, Default)]
pub(crate) struct File {
    keys: Vec<u8>,
    n_keys: u64,
    tensors: Vec<u8>,
    n_tensors: u64,
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

impl File {
    pub(crate) fn key(mut self, key: &str, code: u32, value: &[u8]) -> Self {
        self.keys.extend(text(key));
        self.keys.extend(code.to_le_bytes());
        self.keys.extend(value);
        self.n_keys += 1;
        self
    }

    pub(crate) fn tensor(mut self, name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Self {
        self.tensors.extend(text(name));
        self.tensors.extend((dimensions.len() as u32).to_le_bytes());
        self.tensors.extend(dimensions.iter().flat_map(|n| n.to_le_bytes()));
        self.tensors.extend(kind.to_le_bytes());
        self.tensors.extend(offset.to_le_bytes());
        self.n_tensors += 1;
        self
    }

    pub(crate) fn bytes(&self, data_len: usize) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(self.n_tensors.to_le_bytes());
        bytes.extend(self.n_keys.to_le_bytes());
        bytes.extend(&self.keys);
        bytes.extend(&self.tensors);
        bytes.resize(bytes.len().next_multiple_of(32) + data_len, 0);
        bytes
    }
}

fn parse(bytes: &[u8]) -> Result<Gguf<'_>, GgufError> {
    Gguf::parse(bytes, bytes.len() as u64)
}

const F32: u32 = 0;
const Q8_0: u32 = 8;

#[test]
fn a_small_file_is_read() {
    let texts = [&8_u32.to_le_bytes()[..], &2_u64.to_le_bytes(), &text("a"), &text("bc")].concat();
    let file = File::default()
        .key("x.count", 4, &7_u32.to_le_bytes())
        .key("x.signed", 5, &(-7_i32).to_le_bytes())
        .key("x.real", 6, &0.5_f32.to_le_bytes())
        .key("x.list", 9, &texts)
        .tensor("t", &[64, 2], Q8_0, 0)
        .tensor("u", &[3], F32, 160);
    let bytes = file.bytes(160 + 12);
    let gguf = parse(&bytes).unwrap();
    assert_eq!(gguf.get("x.count").unwrap().as_u64(), Some(7));
    assert_eq!(gguf.get("x.signed").unwrap(), &Value::Signed(-7));
    assert_eq!(gguf.get("x.signed").unwrap().as_u64(), None);
    assert_eq!(gguf.get("x.real").unwrap().as_f64(), Some(0.5));
    let list = gguf.get("x.list").unwrap().as_array().unwrap();
    assert_eq!(list.texts().unwrap().collect::<Vec<_>>(), [b"a".as_slice(), b"bc"]);
    assert_eq!(gguf.tensors[0].shape, [2, 64], "outermost first");
    assert_eq!(gguf.tensors[0].bytes.len(), 2 * 2 * 34);
    assert_eq!(gguf.tensors[1].bytes.end, bytes.len());
}

#[test]
fn damage_is_named() {
    let good = || File::default().tensor("t", &[64, 2], Q8_0, 0);
    let huge = u64::MAX.to_le_bytes();
    let array = |code: u32, len: u64| [&code.to_le_bytes()[..], &len.to_le_bytes()].concat();
    let nested = [array(9, 1), array(9, 1), array(4, 0)].concat();
    let mut big_endian = good().bytes(136);
    big_endian[4..8].reverse();
    let mut many_tensors = good().bytes(136);
    many_tensors[8..16].copy_from_slice(&huge);
    let mut many_keys = good().bytes(136);
    many_keys[16..24].copy_from_slice(&huge);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("cut short", Vec::new()),
        ("begins with", b"PK\x03\x04 and more".to_vec()),
        ("big endian", big_endian),
        ("number of tensors", many_tensors),
        ("number of keys", many_keys),
        ("goes on after", File::default().key("k", 8, &huge).bytes(0)),
        ("goes on after", File::default().key("k", 9, &array(8, 1 << 60)).bytes(0)),
        ("goes on after", File::default().key("k", 9, &array(10, 1 << 61)).bytes(0)),
        ("arrays at most 2 deep", File::default().key("k", 9, &nested).bytes(0)),
        ("value type of key 'k'", File::default().key("k", 13, &huge).bytes(0)),
        ("key 'k' appears twice", File::default().key("k", 0, &[1]).key("k", 0, &[1]).bytes(0)),
        ("a power of two", good().key("general.alignment", 4, &33_u32.to_le_bytes()).bytes(136)),
        ("a power of two", good().key("general.alignment", 4, &[0; 4]).bytes(136)),
        ("was it cut short", good().bytes(135)),
        ("was it cut short", File::default().tensor("t", &[64], Q8_0, 1 << 62).bytes(136)),
        ("no multiple of 32", File::default().tensor("t", &[64], Q8_0, 8).bytes(136)),
        ("a multiple of 32 for Q8_0", File::default().tensor("t", &[63], Q8_0, 0).bytes(136)),
        ("product", File::default().tensor("t", &[1 << 40, 1 << 40], F32, 0).bytes(136)),
        ("product", File::default().tensor("t", &[0, 4], F32, 0).bytes(136)),
        ("was it cut short", File::default().tensor("t", &[1 << 61], F32, 0).bytes(136)),
        ("1 to 4", File::default().tensor("t", &[1; 5], F32, 0).bytes(136)),
        ("1 to 4", File::default().tensor("t", &[], F32, 0).bytes(136)),
        ("overlaps tensor 't'", good().tensor("u", &[8], F32, 128).bytes(200)),
        ("'t' appears twice", good().tensor("t", &[8], F32, 160).bytes(200)),
    ];
    for (named, bytes) in cases {
        let message = parse(&bytes).unwrap_err().to_string();
        assert!(message.contains(named), "'{named}' is not in: {message}");
    }
}

#[test]
fn every_cut_is_an_error() {
    let bytes =
        File::default().key("k", 8, &text("value")).tensor("t", &[64, 2], Q8_0, 0).bytes(136);
    for len in 0..bytes.len() {
        assert!(Gguf::parse(&bytes[..len], len as u64).is_err(), "{len}");
    }
    parse(&bytes).unwrap();
}

#[test]
fn types_that_are_not_read_have_names() {
    let bytes = File::default().tensor("t", &[256], 40, 0).tensor("u", &[256], 10, 0).bytes(84);
    let gguf = parse(&bytes).unwrap();
    assert!(gguf.tensors[0].kind.name().contains("STQ1_0"));
    assert_eq!(gguf.tensors[1].kind.name(), "Q2_K (ggml type 10)");
}
