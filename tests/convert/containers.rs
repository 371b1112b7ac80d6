//! The GGUF and safetensors files' edges: what was written is read again, what is broken is refused.

use std::fs;

use ko_sentiment::convert::input::safetensors::{SafetensorsError, SafetensorsFile};
use ko_sentiment::gguf::tensor_type::TensorType;
use ko_sentiment::gguf::{Array, GgufError, Header, Metadata, TensorInfo, Value};
use proptest::prelude::*;

use super::support::{Tensor, write_safetensors};

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        (-1e30f32..1e30).prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        ".{0,20}".prop_map(Value::Str),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        (-1e300f64..1e300).prop_map(Value::F64),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..9)
            .prop_map(|strings| Value::Array(Array::from_strings(strings))),
        prop::collection::vec(any::<i32>(), 0..9).prop_map(|v| Value::Array(Array::from_i32s(&v))),
        prop::collection::vec(-1f32..1.0, 0..9).prop_map(|v| Value::Array(Array::from_f32s(&v))),
    ]
}

fn headers() -> impl Strategy<Value = Header> {
    let types = prop::sample::select(TensorType::ALL.to_vec());
    let tensors = prop::collection::btree_map("[a-z.]{1,20}", (types, 1u64..4, 1u64..5), 0..6);
    let metadata = prop::collection::btree_map("[a-z._]{1,20}", values(), 0..9);
    (tensors, metadata).prop_map(|(tensors, entries)| {
        let mut metadata = Metadata::new();
        for (key, value) in entries.into_iter().filter(|(key, _)| key != "general.alignment") {
            metadata.set(key, value);
        }
        let tensor = |(name, (tensor_type, blocks, rows)): (String, (TensorType, u64, u64))| {
            let shape = vec![tensor_type.block_len() * blocks, rows];
            TensorInfo { name, shape, tensor_type, offset: 0 }
        };
        Header::new(metadata, tensors.into_iter().map(tensor).collect())
    })
}

fn parse(bytes: &[u8]) -> Result<Header, GgufError> {
    Header::parse(bytes, bytes.len() as u64)
}

fn whole_file(header: &Header) -> Vec<u8> {
    let mut bytes = header.encode();
    bytes.resize(header.file_size() as usize, 0);
    bytes
}

proptest! {
    #[test]
    fn gguf_headers_are_read_as_written(header in headers()) {
        let read = parse(&whole_file(&header)).unwrap();
        prop_assert_eq!(&read.metadata, &header.metadata);
        prop_assert_eq!(&read.tensors, &header.tensors);
        prop_assert_eq!(read.data_start, header.data_start);
    }

    #[test]
    fn cut_off_gguf_files_are_refused(header in headers(), cut in 0.0..1.0) {
        let whole = whole_file(&header);
        let last = header.tensors.last();
        let needed = last.map_or(header.encode().len() - 32, |t| (header.data_start + t.offset + t.bytes()) as usize);
        let cut = (needed as f64 * cut) as usize;
        prop_assert!(parse(&whole[..cut]).is_err());
    }

    /// Whatever a byte is changed to: an error or a header, no panic and no huge allocation.
    #[test]
    fn damaged_gguf_headers_do_no_harm(header in headers(), at in 0.0..1.0, byte in any::<u8>()) {
        let mut bytes = whole_file(&header);
        let at = (header.encode().len() as f64 * at) as usize;
        bytes[at] = byte;
        let _either = parse(&bytes);
    }

    #[test]
    fn damaged_safetensors_do_no_harm(at in 0usize..200, byte in any::<u8>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write_safetensors(&path, &[Tensor::f32("a", &[2, 3], &[1.0; 6]), Tensor::bf16("b", &[4], &[1.0; 4])]);
        let mut bytes = fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        fs::write(&path, bytes).unwrap();
        let _either = SafetensorsFile::open(&path);
    }
}

/// A header of one tensor, with the bytes that a case changes.
fn small_gguf() -> Vec<u8> {
    let mut metadata = Metadata::new();
    metadata.set("a", Value::U32(7));
    let tensor = |name: &str| TensorInfo {
        name: name.to_owned(),
        shape: vec![32, 2],
        tensor_type: TensorType::F32,
        offset: 0,
    };
    whole_file(&Header::new(metadata, vec![tensor("t"), tensor("u")]))
}

#[test]
fn each_gguf_corruption_has_its_error() {
    // magic 4, version 4, tensors 8, keys 8, key "a": 8 + 1, type 4, value 4, "t": 8 + 1, dimensions 4,
    // 32, 2: 16, type 4, offset 8, "u": ...
    let cases: [(&str, usize, &[u8], fn(&GgufError) -> bool); 12] = [
        ("magic", 0, b"GGML", |e| matches!(e, GgufError::Magic(_))),
        ("version", 4, &[1], |e| matches!(e, GgufError::Version(1))),
        ("big-endian version", 4, &[0, 0, 0, 3], |e| matches!(e, GgufError::Version(_))),
        ("tensor count", 8, &[0xff; 8], |e| !matches!(e, GgufError::Io { .. })),
        ("key count", 16, &[0xff; 8], |e| !matches!(e, GgufError::Io { .. })),
        ("key length", 24, &[0xff; 8], |e| matches!(e, GgufError::Truncated { .. })),
        ("key bytes", 32, &[0xff], |e| matches!(e, GgufError::Utf8)),
        ("value type", 33, &[99], |e| matches!(e, GgufError::ValueType { id: 99, .. })),
        ("name length", 41, &[64], |e| matches!(e, GgufError::NameLength(64))),
        ("dimensions", 50, &[5], |e| matches!(e, GgufError::Shape { .. })),
        ("tensor type", 70, &[77], |e| matches!(e, GgufError::TensorType { id: 77, .. })),
        ("offset", 74, &[32], |e| matches!(e, GgufError::Offset { .. })),
    ];
    assert!(parse(&small_gguf()).is_ok());
    for (what, at, bytes, expect) in cases {
        let mut file = small_gguf();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        let error = parse(&file).err().unwrap_or_else(|| panic!("{what} was not refused"));
        assert!(expect(&error), "{what}: {error:?}");
    }
    let file = small_gguf();
    assert!(matches!(parse(&file[..file.len() - 1]), Err(GgufError::DataTruncated { .. })));
    // Sizes whose sum is past 2^64.
    let vast = |i| TensorInfo {
        name: format!("t{i}"),
        shape: vec![(1 << 58) - 8],
        tensor_type: TensorType::F32,
        offset: 0,
    };
    let mut huge = Header::new(Metadata::new(), (0..2).map(vast).collect());
    huge.tensors.extend((2..18).map(vast));
    let mut offset = 0u64;
    for tensor in &mut huge.tensors {
        tensor.offset = offset;
        offset = offset.wrapping_add(tensor.bytes());
    }
    assert!(matches!(parse(&huge.encode()), Err(GgufError::DataTruncated { .. })));
    let mut twice = small_gguf();
    let second_name = twice.windows(9).position(|w| w == b"\x01\0\0\0\0\0\0\0u").unwrap() + 8;
    twice[second_name] = b't';
    assert!(matches!(parse(&twice), Err(GgufError::DuplicateTensor(_))));
}

#[test]
fn each_safetensors_corruption_has_its_error() {
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(vec![0; data]);
        bytes
    };
    let tensor = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let one = |dtype, shape, offsets| format!(r#"{{"a":{}}}"#, tensor(dtype, shape, offsets));
    let two = |first, second| {
        format!(r#"{{"a":{},"b":{}}}"#, tensor("F32", "[2]", first), tensor("F32", "[2]", second))
    };
    type Expect = fn(&SafetensorsError) -> bool;
    let cases: [(&str, Vec<u8>, Expect); 12] = [
        ("empty file", vec![], |e| matches!(e, SafetensorsError::HeaderLength(_))),
        ("huge header", vec![0xff; 64], |e| matches!(e, SafetensorsError::HeaderLength(_))),
        ("header past the end", file("{}", 0)[..9].to_vec(), |e| {
            matches!(e, SafetensorsError::HeaderLength(_))
        }),
        ("no JSON", file("{oops}", 0), |e| matches!(e, SafetensorsError::HeaderJson { .. })),
        (
            "overlap",
            file(&two("[0,8]", "[4,12]"), 12),
            |e| matches!(e, SafetensorsError::Overlap { name, .. } if name == "b"),
        ),
        ("gap", file(&two("[0,8]", "[16,24]"), 24), |e| matches!(e, SafetensorsError::Overlap { .. })),
        ("lying shape", file(&one("F32", "[3]", "[0,8]"), 8), |e| {
            matches!(e, SafetensorsError::TensorSize(_))
        }),
        ("overflowing shape", file(&one("F32", "[4611686018427387904,16]", "[0,8]"), 8), |e| {
            matches!(e, SafetensorsError::TensorSize(_))
        }),
        ("no numbers", file(&one("F32", "[0,8589934592,8589934592,8589934592]", "[0,0]"), 0), |e| {
            matches!(e, SafetensorsError::Empty { .. })
        }),
        ("cut off", file(&one("F32", "[2]", "[0,8]"), 7), |e| matches!(e, SafetensorsError::Size(_))),
        ("too long", file(&one("F32", "[2]", "[0,8]"), 9), |e| matches!(e, SafetensorsError::Size(_))),
        (
            "wrong type",
            file(&one("I32", "[2]", "[0,8]"), 8),
            |e| matches!(e, SafetensorsError::Dtype { name, dtype, .. } if name == "a" && dtype == "I32"),
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    for (what, bytes, expect) in cases {
        fs::write(&path, bytes).unwrap();
        let error = SafetensorsFile::open(&path).err().unwrap_or_else(|| panic!("{what} was not refused"));
        assert!(expect(&error), "{what}: {error:?}");
    }
}
