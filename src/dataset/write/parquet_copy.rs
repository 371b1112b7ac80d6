//! Parquet from Parquet: the files' own columns are copied value by value, whatever their types and however nested,
//! and the added ones are set beside them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use super::columns::Columns;
use super::error::WriteError;
use super::layout::Added;
use super::parquet::{field, properties, write_rows};
use super::sink::Sink;
use crate::dataset::record::{Record, Value};

/// Rows copied at a time, which become a group.
const CHUNK: usize = 32 << 10;
/// What pandas notes of its index; the rest of its metadata does not know the added columns.
const PANDAS: &str = "pandas";

/// What Parquet files share.
pub struct Schema {
    fields: Vec<TypePtr>,
    notes: Option<Vec<KeyValue>>,
}

/// A file that takes over the columns of others.
pub struct ParquetCopy {
    out: SerializedFileWriter<Box<dyn Write + Send>>,
    files: VecDeque<PathBuf>,
    from: Option<Source>,
    /// Which of the next rows are copied.
    keep: Vec<bool>,
    added: Columns,
}

/// The file that is read, at the group that is read.
struct Source {
    path: PathBuf,
    file: SerializedFileReader<File>,
    next_group: usize,
    leaves: Vec<ColumnReader>,
    left: usize,
}

impl ParquetCopy {
    /// The schema of `files` if all are Parquet and of one schema; `None` if not.
    pub fn schema_of(files: &[PathBuf]) -> Option<Schema> {
        let mut found: Option<Schema> = None;
        for path in files {
            let reader = SerializedFileReader::new(File::open(path).ok()?).ok()?;
            let metadata = reader.metadata().file_metadata();
            let fields = metadata.schema().get_fields().to_vec();
            let notes = metadata.key_value_metadata().cloned();
            match &found {
                Some(first) if first.fields != fields => return None,
                Some(_) => {}
                None => found = Some(Schema { fields, notes }),
            }
        }
        found
    }

    /// Begins a file.
    pub fn new(
        out: Box<dyn Write + Send>,
        files: &[PathBuf],
        schema: &Schema,
        added: &[Added],
    ) -> Result<Self, WriteError> {
        let ours: Result<Vec<TypePtr>, _> =
            added.iter().map(|column| field(&column.name, column.kind)).collect();
        let fields = [schema.fields.clone(), ours?].concat();
        let root = Type::group_type_builder("schema").with_fields(fields).build()?;
        let notes = schema.notes.iter().flatten().filter(|note| note.key == PANDAS).cloned().collect();
        let properties: WriterProperties =
            WriterProperties::clone(&properties()).into_builder().set_key_value_metadata(Some(notes)).build();
        let out = SerializedFileWriter::new(out, Arc::new(root), Arc::new(properties))?;
        let added = Columns::new(added.iter().map(|column| column.kind));
        Ok(Self { out, files: files.to_vec().into(), from: None, keep: Vec::new(), added })
    }

    fn push(&mut self, keep: bool) -> Result<(), WriteError> {
        let left = self.source()?.left;
        self.keep.push(keep);
        if self.keep.len() == left || self.keep.len() == CHUNK { self.flush() } else { Ok(()) }
    }

    /// The file at a group that has rows left.
    fn source(&mut self) -> Result<&mut Source, WriteError> {
        while self.from.as_ref().is_none_or(|from| from.left == 0) {
            let more = match &mut self.from {
                Some(from) => from.advance()?,
                None => false,
            };
            if !more {
                let before = self.from.take().map(|from| from.path);
                let next = self.files.pop_front();
                let path = next.ok_or_else(|| WriteError::Changed(before.unwrap_or_default()))?;
                self.from = Some(Source::open(&path)?);
            }
        }
        self.from.as_mut().ok_or_else(|| WriteError::Changed(PathBuf::new()))
    }

    /// Copies the rows that wait.
    fn flush(&mut self) -> Result<(), WriteError> {
        let keep = std::mem::take(&mut self.keep);
        let Some(from) = self.from.as_mut().filter(|_| !keep.is_empty()) else { return Ok(()) };
        let descriptor = from.file.metadata().file_metadata().schema_descr_ptr();
        from.left -= keep.len();
        if !keep.contains(&true) {
            for leaf in &mut from.leaves {
                skip(leaf, keep.len())?;
            }
            return Ok(());
        }
        let mut group = self.out.next_row_group()?;
        for (i, leaf) in from.leaves.iter_mut().enumerate() {
            let missing = || ParquetError::General("a column has no place".into());
            let mut column = group.next_column()?.ok_or_else(missing)?;
            let copied = copy_leaf(leaf, &mut column, &Rows::new(&keep, &descriptor, i))?;
            if !copied {
                return Err(WriteError::Changed(from.path.clone()));
            }
            column.close()?;
        }
        write_rows(&mut self.added, &mut group)?;
        group.close()?;
        Ok(())
    }
}

impl Sink for ParquetCopy {
    fn row(&mut self, cells: &[&Value], _: Option<&Record>) -> Result<(), WriteError> {
        let own = cells.len() - self.added.width();
        // The copied rows say when they are written.
        let _full = self.added.push(&cells[own..]);
        self.push(true)
    }

    fn skipped(&mut self) -> Result<(), WriteError> {
        self.push(false)
    }

    fn finish(mut self: Box<Self>) -> Result<(), WriteError> {
        self.flush()?;
        self.out.into_inner()?.flush()?;
        Ok(())
    }
}

impl Source {
    fn open(path: &Path) -> Result<Self, WriteError> {
        let file = SerializedFileReader::new(File::open(path)?)?;
        Ok(Self { path: path.to_owned(), file, next_group: 0, leaves: Vec::new(), left: 0 })
    }

    /// Goes to the next group; `false` if there is none.
    fn advance(&mut self) -> Result<bool, ParquetError> {
        if self.next_group == self.file.num_row_groups() {
            return Ok(false);
        }
        let group = self.file.get_row_group(self.next_group)?;
        self.left = group.metadata().num_rows().try_into().unwrap_or(0);
        self.leaves =
            (0..group.num_columns()).map(|i| group.get_column_reader(i)).collect::<Result<_, _>>()?;
        self.next_group += 1;
        Ok(true)
    }
}

/// Which rows of a leaf column are copied.
struct Rows<'a> {
    keep: &'a [bool],
    max_definition: i16,
    max_repetition: i16,
}

impl<'a> Rows<'a> {
    fn new(keep: &'a [bool], schema: &SchemaDescriptor, leaf: usize) -> Self {
        let column = schema.column(leaf);
        Self { keep, max_definition: column.max_def_level(), max_repetition: column.max_rep_level() }
    }
}

/// Applies a generic function to a reader of any type.
macro_rules! typed {
    ($reader:expr, $leaf:ident => $call:expr) => {
        match $reader {
            ColumnReader::BoolColumnReader($leaf) => $call,
            ColumnReader::Int32ColumnReader($leaf) => $call,
            ColumnReader::Int64ColumnReader($leaf) => $call,
            ColumnReader::Int96ColumnReader($leaf) => $call,
            ColumnReader::FloatColumnReader($leaf) => $call,
            ColumnReader::DoubleColumnReader($leaf) => $call,
            ColumnReader::ByteArrayColumnReader($leaf) => $call,
            ColumnReader::FixedLenByteArrayColumnReader($leaf) => $call,
        }
    };
}

fn skip(leaf: &mut ColumnReader, rows: usize) -> Result<(), ParquetError> {
    typed!(leaf, leaf => leaf.skip_records(rows).map(drop))
}

fn copy_leaf(
    leaf: &mut ColumnReader,
    column: &mut SerializedColumnWriter<'_>,
    rows: &Rows<'_>,
) -> Result<bool, ParquetError> {
    typed!(leaf, leaf => copy(leaf, column, rows))
}

/// Copies rows of a leaf column; `false` if it has fewer.
fn copy<T: DataType>(
    leaf: &mut ColumnReaderImpl<T>,
    column: &mut SerializedColumnWriter<'_>,
    rows: &Rows<'_>,
) -> Result<bool, ParquetError> {
    let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::<T::T>::new());
    let mut read = 0;
    while read < rows.keep.len() {
        let wanted = rows.keep.len() - read;
        let levels = (Some(&mut definitions), Some(&mut repetitions));
        let (records, ..) = leaf.read_records(wanted, levels.0, levels.1, &mut values)?;
        if records == 0 {
            return Ok(false);
        }
        read += records;
    }
    if rows.keep.contains(&false) {
        select(rows, &mut definitions, &mut repetitions, &mut values);
    }
    let definitions = (rows.max_definition > 0).then_some(&definitions[..]);
    let repetitions = (rows.max_repetition > 0).then_some(&repetitions[..]);
    column.typed::<T>().write_batch(&values, definitions, repetitions)?;
    Ok(true)
}

/// Keeps the values and levels of the rows that are copied.
fn select<V>(rows: &Rows<'_>, definitions: &mut Vec<i16>, repetitions: &mut Vec<i16>, values: &mut Vec<V>) {
    let levels = if rows.max_definition > 0 { definitions.len() } else { values.len() };
    let mut row = 0_usize;
    let mut kept_levels = Vec::with_capacity(levels);
    let mut kept_values = Vec::with_capacity(values.len());
    for level in 0..levels {
        let begins = rows.max_repetition == 0 || repetitions.get(level).is_none_or(|r| *r == 0);
        row += usize::from(begins);
        let keep = row.checked_sub(1).and_then(|row| rows.keep.get(row)).copied().unwrap_or(false);
        kept_levels.push(keep);
        if rows.max_definition == 0 || definitions.get(level) == Some(&rows.max_definition) {
            kept_values.push(keep);
        }
    }
    retain(definitions, &kept_levels);
    retain(repetitions, &kept_levels);
    retain(values, &kept_values);
}

fn retain<V>(items: &mut Vec<V>, keep: &[bool]) {
    let mut flags = keep.iter();
    items.retain(|_| flags.next().copied().unwrap_or(false));
}
