//! A result in several files: which tensors are in which, and their headers.
//!
//! Source: `tools/gguf-split/gguf-split.cpp` of llama.cpp. The first part has the metadata, and each has three keys more.
//! There, a part's size is that of its tensors; here it is that of the whole file, which is what an upload or a file
//! system limits.

use std::ops::Range;

use crate::gguf::{Header, Metadata, TensorInfo, Value};

/// Parts that a model can have.
pub const MAX_PARTS: usize = 1024;

/// The tensors of each file, by their place in the whole's list: one range if all fit into one file.
pub fn ranges(whole: &Header, max_bytes: Option<u64>) -> Vec<Range<usize>> {
    let all = 0..whole.tensors.len();
    let Some(max_bytes) = max_bytes.filter(|max| whole.file_size() > *max) else { return vec![all] };
    let mut ranges = Vec::new();
    let mut first = 0;
    let mut size = bare_size(&whole.metadata);
    for (at, tensor) in whole.tensors.iter().enumerate() {
        let more = described_size(tensor) + tensor.bytes().next_multiple_of(whole.alignment);
        // A tensor that is larger than the limit has a file to itself.
        if size + more > max_bytes && at > first {
            ranges.push(first..at);
            first = at;
            size = bare_size(&Metadata::new());
        }
        size += more;
    }
    ranges.push(first..all.end);
    ranges
}

/// The headers of the files; the whole's own, if it is one.
pub fn headers(whole: &Header, ranges: &[Range<usize>]) -> Vec<Header> {
    if ranges.len() == 1 {
        return vec![whole.clone()];
    }
    let header = |(number, range): (usize, &Range<usize>)| {
        let mut metadata = if number == 0 { whole.metadata.clone() } else { Metadata::new() };
        metadata.set("split.no", Value::U16(number as u16));
        metadata.set("split.count", Value::U16(ranges.len() as u16));
        metadata.set("split.tensors.count", Value::I32(whole.tensors.len() as i32));
        Header::new(metadata, whole.tensors[range.clone()].to_vec())
    };
    ranges.iter().enumerate().map(header).collect()
}

/// Bytes of a part without tensors, at most.
fn bare_size(metadata: &Metadata) -> u64 {
    let mut metadata = metadata.clone();
    for key in ["split.no", "split.count", "split.tensors.count"] {
        metadata.set(key, Value::I32(0));
    }
    Header::new(metadata, Vec::new()).file_size()
}

/// Bytes that a header takes to describe a tensor.
fn described_size(tensor: &TensorInfo) -> u64 {
    // The name and its length, the dimensions and their number, the type, the offset.
    (8 + tensor.name.len() + 4 + 8 * tensor.shape.len() + 4 + 8) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::tensor_type::TensorType;

    fn whole(rows: &[u64]) -> Header {
        let mut metadata = Metadata::new();
        metadata.set("general.name", "x".repeat(500));
        let tensor = |(i, rows): (usize, &u64)| TensorInfo {
            name: format!("blk.{i}.weight"),
            shape: vec![32, *rows],
            tensor_type: TensorType::F32,
            offset: 0,
        };
        Header::new(metadata, rows.iter().enumerate().map(tensor).collect())
    }

    #[test]
    fn no_file_is_larger_than_asked_but_for_one_tensor() {
        let check = |max: u64, expect: &[usize]| {
            // Rows of 128 bytes.
            let whole = whole(&[10, 10, 10, 100, 1, 10]);
            let found = ranges(&whole, Some(max));
            let counts: Vec<usize> = found.iter().map(|range| range.len()).collect();
            assert_eq!(counts, expect, "{max}");
            for (header, range) in headers(&whole, &found).iter().zip(&found) {
                assert!(header.file_size() <= max || range.len() == 1, "{max}: {range:?}");
            }
        };
        check(1 << 20, &[6]);
        check(15_000, &[3, 3]);
        check(4_000, &[2, 1, 1, 2]);
        check(1, &[1; 6]);
        let whole = whole(&[10; 3]);
        assert_eq!(ranges(&whole, None).len(), 1);
        assert_eq!(ranges(&whole, Some(whole.file_size())).len(), 1);
        assert_eq!(ranges(&whole, Some(whole.file_size() - 1)).len(), 2);
    }

    #[test]
    fn each_part_says_which_it_is() {
        let whole = whole(&[10, 10, 10]);
        let headers = headers(&whole, &[0..2, 2..3]);
        let names: Vec<Vec<&str>> =
            headers.iter().map(|h| h.tensors.iter().map(|t| t.name.as_str()).collect()).collect();
        assert_eq!(names, [vec!["blk.0.weight", "blk.1.weight"], vec!["blk.2.weight"]]);
        for (number, header) in headers.iter().enumerate() {
            assert_eq!(header.metadata.get("split.no"), Some(&Value::U16(number as u16)));
            assert_eq!(header.metadata.get("split.count"), Some(&Value::U16(2)));
            assert_eq!(header.metadata.get("split.tensors.count"), Some(&Value::I32(3)));
        }
        assert!(headers[0].metadata.get("general.name").is_some());
        assert_eq!(headers[1].metadata.iter().len(), 3);
        assert_eq!(headers[1].tensors[0].offset, 0);
    }
}
