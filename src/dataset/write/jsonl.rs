//! JSON Lines: each row's own columns, as they stand in it, and those added.

use std::collections::HashMap;
use std::io::{BufWriter, Write};

use super::error::WriteError;
use super::layout::Added;
use super::sink::Sink;
use crate::dataset::record::{Record, Value};

/// A file with an object per line.
pub struct Lines {
    out: BufWriter<Box<dyn Write + Send>>,
    added: Vec<String>,
}

impl Lines {
    /// Begins a file.
    pub fn new(out: Box<dyn Write + Send>, added: &[Added]) -> Self {
        let added = added.iter().map(|column| column.name.clone()).collect();
        Self { out: BufWriter::new(out), added }
    }
}

impl Sink for Lines {
    fn row(&mut self, cells: &[&Value], record: Option<&Record>) -> Result<(), WriteError> {
        let mut line = String::from("{");
        let mut seen: HashMap<&str, usize> = HashMap::new();
        if let Some(record) = record {
            for (name, value) in record.names.iter().zip(&record.values) {
                let count = seen.entry(name).or_default();
                *count += 1;
                match *count {
                    1 => entry(&mut line, name, value)?,
                    n => entry(&mut line, &format!("{name}_{n}"), value)?,
                }
            }
        }
        for (name, value) in self.added.iter().zip(&cells[cells.len() - self.added.len()..]) {
            entry(&mut line, name, value)?;
        }
        line.push_str("}\n");
        Ok(self.out.write_all(line.as_bytes())?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), WriteError> {
        Ok(self.out.flush()?)
    }
}

fn entry(line: &mut String, name: &str, value: &Value) -> Result<(), WriteError> {
    let quoted = |text: &str| serde_json::to_string(text).map_err(std::io::Error::from);
    if line.len() > 1 {
        line.push_str(", ");
    }
    line.push_str(&quoted(name)?);
    line.push_str(": ");
    match value {
        Value::Null => line.push_str("null"),
        Value::Bool(true) => line.push_str("true"),
        Value::Bool(false) => line.push_str("false"),
        // JSON has no NaN and no infinity.
        Value::Number(text) if serde_json::from_str::<&serde_json::value::RawValue>(text).is_err() => {
            line.push_str("null");
        }
        Value::Number(text) => line.push_str(text),
        // As it stood on a line of its own, or over several.
        Value::Json(text) => line.push_str(&text.replace(['\n', '\r'], " ")),
        Value::Text(text) | Value::Date(text) | Value::Error(text) => line.push_str(&quoted(text)?),
    }
    Ok(())
}
