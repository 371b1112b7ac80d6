//! `ko-sentiment annotate`: every row comes back as it was, with its answer, whatever happens on the way.

mod formats;
mod interrupted;
mod rows;

use std::path::{Path, PathBuf};
use std::process::Output;

use ko_sentiment::dataset::{CommentResult, Comments, ReadOptions, Record, Value};

use crate::support::{Fake, TestServer, binary};

/// A server over the stand-in for a model, and a folder of files.
struct Place {
    endpoint: String,
    folder: tempfile::TempDir,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = binary();
        command.args(["annotate", "--endpoint", &self.endpoint]).args(args).current_dir(self.folder.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Annotates, which must end with this exit code; standard error.
    fn annotate(&self, args: &[&str], code: i32) -> String {
        let output = self.run(args);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
        message
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// All columns of all rows; a row that cannot be read as a comment has its record too.
    fn records(&self, name: &str) -> Vec<Record> {
        records(&self.path(name))
    }
}

fn records(path: &Path) -> Vec<Record> {
    let mut options = ReadOptions { all_columns: true, ..ReadOptions::default() };
    options.columns.comment = Some("comment".into());
    let comments = Comments::open(path, options, false).unwrap();
    let record = |row: CommentResult| match row.unwrap() {
        Ok(comment) => comment.record,
        Err(refused) => *refused.record.unwrap(),
    };
    comments.map(record).collect()
}

fn cell<'a>(record: &'a Record, name: &str) -> &'a Value {
    let at = record.names.iter().position(|n| n == name);
    &record.values[at.unwrap_or_else(|| panic!("no column {name} in {:?}", record.names))]
}

fn text(value: &Value) -> &str {
    value.text().unwrap().unwrap_or_default()
}

/// Runs a test against a server of its own.
async fn with(fake: Fake, test: impl FnOnce(&Place) + Send + 'static) {
    let server = TestServer::start(fake.classifier()).await;
    let place = Place { endpoint: server.address.to_string(), folder: tempfile::tempdir().unwrap() };
    tokio::task::spawn_blocking(move || test(&place)).await.unwrap();
}
