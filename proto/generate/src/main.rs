//! Writes `proto/generated`, in pure Rust (no system `protoc`): the code of the protos, and the API's descriptors for
//! gRPC reflection. The results are committed, so that a build needs no generator: `make proto` after a change.

use std::error::Error;
use std::path::Path;

use prost::Message as _;

/// Protos, each with the folder that its imports and its name start from.
const API: (&str, &str) = ("proto/ko_sentiment/v1/sentiment.proto", "proto");
const OTLP: (&str, &str) = ("src/telemetry/otlp/trace_service.proto", "src");

const GENERATED: &str = "proto/generated";

fn main() -> Result<(), Box<dyn Error>> {
    generate(&repository().join(GENERATED))
}

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn generate(to: &Path) -> Result<(), Box<dyn Error>> {
    let compile = |(file, folder)| protox::compile([repository().join(file)], [repository().join(folder)]);
    let api = compile(API)?;
    std::fs::write(to.join("ko_sentiment_descriptor.bin"), api.encode_to_vec())?;
    for descriptors in [api, compile(OTLP)?] {
        tonic_prost_build::configure().out_dir(to).compile_fds(descriptors)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let read =
            |e: std::fs::DirEntry| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap());
        entries.map(read).collect()
    }

    #[test]
    fn what_is_committed_is_what_the_protos_give() {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path()).unwrap();
        let (committed, expect) = (files(&repository().join(GENERATED)), files(folder.path()));
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&committed), names(&expect), "files of {GENERATED}");
        for (name, text) in expect {
            assert!(committed[&name] == text, "{GENERATED}/{name} is not current; run `make proto`");
        }
    }
}
