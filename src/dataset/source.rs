//! A file to its rows: where it comes from, how it is packed, and what format it has.
//!
//! The first bytes decide before the name does: gzip and Zstandard are unpacked, and Parquet, Arrow and Excel files
//! are known by theirs. Else the format is that of the name, or of `--format`.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Chain, Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::arrow::{ArrowRows, CONTINUATION, FEATHER_1, MAGIC};
use super::columns::{Columns, LABEL};
use super::delimited::{Delimited, Dialect, IsRow};
use super::encoding::{Encoding, decoded};
use super::error::DatasetError;
use super::json::{JsonLines, JsonValues, is_lines};
use super::labels::LabelMap;
use super::parquet::ParquetRows;
use super::record::Records;
use super::text::PlainText;
use super::wanted::Wanted;
use super::xlsx::SheetRows;

/// Bytes of a text that its format is recognised from.
const HEAD: u64 = 1 << 20;
const OLD_EXCEL: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// The format of a file of comments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Fields separated by commas, semicolons, tabs or bars (RFC 4180).
    Csv,
    /// Fields separated by tabs; quoted if that holds a tab, line break or quotation mark, otherwise text as it is.
    Tsv,
    /// One JSON object per line.
    Jsonl,
    /// JSON array of objects, yt-dlp's .info.json, or pages of YouTube's Data API.
    Json,
    /// One comment per line.
    Txt,
    /// Parquet.
    Parquet,
    /// Arrow IPC file (Feather) or stream.
    Arrow,
    /// Excel workbook.
    Xlsx,
}

/// How a file is read.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// The columns.
    pub columns: Columns,
    /// What the labels mean.
    pub labels: LabelMap,
    /// The format; else the file's first bytes and name tell.
    pub format: Option<Format>,
    /// The encoding of a text; else its bytes tell.
    pub encoding: Option<Encoding>,
    /// What is between the fields of a CSV or TSV file; else the header tells.
    pub delimiter: Option<u8>,
    /// A sheet's name, or its number from 1.
    pub sheet: Option<String>,
    /// Texts are HTML, as in YouTube's `textDisplay`.
    pub html: bool,
    /// Records hold all columns of a Parquet or Arrow file, not only those that are needed.
    pub all_columns: bool,
    /// Further columns that must be there, by name: [`read`](super::read) keeps their values.
    pub kept: Vec<String>,
}

/// A file whose rows can be read.
pub(super) struct Opened {
    /// The rows.
    pub records: Records,
    /// The columns, where the format names them once for all rows.
    pub names: Option<Arc<[String]>>,
}

type Bytes = Box<dyn Read + Send>;

/// Opens a file; `-` is standard input.
pub(super) fn open(path: &Path, options: &ReadOptions, labelled: bool) -> Result<Opened, DatasetError> {
    let io = DatasetError::io(path);
    let (mut bytes, mut plain) = raw(path)?;
    let mut start = peeked(&mut bytes).map_err(&io)?;
    if let Some(unpacked) = unpacked(&start, &mut bytes).map_err(&io)? {
        bytes = unpacked;
        plain = None;
        start = peeked(&mut bytes).map_err(&io)?;
    }
    let format = format(path, options, &start)?;
    let (columns, kept) = (&options.columns, &options.kept);
    let wanted = Wanted { columns, kept, all: options.all_columns, labelled };
    let whole = |mut bytes: Bytes| plain.map_or_else(|| spooled(&mut bytes), Ok).map_err(&io);
    match format {
        Format::Parquet => {
            let rows = ParquetRows::open(whole(bytes)?, path, &wanted)?;
            let names = Some(rows.names().clone());
            Ok(Opened { records: Box::new(rows), names })
        }
        Format::Arrow => {
            let rows = match start.starts_with(MAGIC) {
                true => ArrowRows::open_file(whole(bytes)?, path, &wanted)?,
                false => ArrowRows::open(bytes, path, &wanted)?,
            };
            let names = Some(rows.names().clone());
            Ok(Opened { records: Box::new(rows), names })
        }
        Format::Xlsx => {
            let rows = SheetRows::open(whole(bytes)?, path, options.sheet.as_deref(), columns)?;
            let names = Some(rows.names().clone());
            Ok(Opened { records: Box::new(rows), names })
        }
        _ => text(decoded(bytes, options.encoding).map_err(&io)?, path, format, options),
    }
}

/// The file as it lies there, and its handle if it is a regular one.
fn raw(path: &Path) -> Result<(Bytes, Option<File>), DatasetError> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let io = DatasetError::io(path);
    let file = File::open(path).map_err(&io)?;
    let metadata = file.metadata().map_err(&io)?;
    if metadata.is_dir() {
        return Err(DatasetError::Folder(path.into()));
    }
    if !metadata.is_file() {
        return Ok((Box::new(file), None));
    }
    // A handle of its own: a clone would share the position.
    let whole = File::open(path).map_err(&io)?;
    Ok((Box::new(Steady { file, metadata }), Some(whole)))
}

/// A file that must not change while it is read.
struct Steady {
    file: File,
    metadata: Metadata,
}

impl Read for Steady {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        if read == 0 && !buffer.is_empty() {
            let now = self.file.metadata()?;
            if now.len() != self.metadata.len() || now.modified().ok() != self.metadata.modified().ok() {
                let reason = "it changed while it was read; read it again when nothing writes to it";
                return Err(io::Error::other(reason));
            }
        }
        Ok(read)
    }
}

/// The first bytes of `input`, which stay to be read.
fn peeked(input: &mut Bytes) -> io::Result<Vec<u8>> {
    peek(input, 8)
}

fn peek(input: &mut Bytes, length: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    input.by_ref().take(length).read_to_end(&mut head)?;
    let rest = std::mem::replace(input, Box::new(io::empty()));
    let whole: Chain<Cursor<Vec<u8>>, Bytes> = Cursor::new(head.clone()).chain(rest);
    *input = Box::new(whole);
    Ok(head)
}

/// What `input` unpacks to, if `start` says that it is packed.
fn unpacked(start: &[u8], input: &mut Bytes) -> io::Result<Option<Bytes>> {
    let mut take = || std::mem::replace(input, Box::new(io::empty()));
    Ok(match start {
        [0x1f, 0x8b, ..] => Some(Box::new(Packed(flate2::read::MultiGzDecoder::new(take())))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Box::new(Packed(zstd::stream::read::Decoder::new(take())?))),
        _ => None,
    })
}

/// Says of packed bytes that cannot be unpacked what that means.
struct Packed<R>(R);

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let damaged =
            |e| io::Error::other(format!("its compression is damaged or cut off ({e}); get the file again"));
        self.0.read(buffer).map_err(damaged)
    }
}

fn format(path: &Path, options: &ReadOptions, start: &[u8]) -> Result<Format, DatasetError> {
    if start.starts_with(OLD_EXCEL) {
        return Err(DatasetError::OldExcel(path.into()));
    }
    if start.starts_with(FEATHER_1) {
        return Err(DatasetError::OldFeather(path.into()));
    }
    if let Some(format) = options.format {
        return Ok(format);
    }
    if start.starts_with(b"PAR1") {
        return Ok(Format::Parquet);
    }
    if start.starts_with(b"PK\x03\x04") {
        return Ok(Format::Xlsx);
    }
    if start.starts_with(MAGIC) || start.starts_with(&CONTINUATION) {
        return Ok(Format::Arrow);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = [".gz", ".zst", ".zstd"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("csv") => Ok(Format::Csv),
        Some("tsv" | "tab") => Ok(Format::Tsv),
        Some("jsonl" | "ndjson") => Ok(Format::Jsonl),
        Some("json") => Ok(Format::Json),
        Some("txt") => Ok(Format::Txt),
        Some("parquet") => Ok(Format::Parquet),
        Some("arrow" | "arrows" | "feather" | "ipc") => Ok(Format::Arrow),
        Some("xlsx" | "xlsm") => Ok(Format::Xlsx),
        _ => Err(DatasetError::UnknownFormat(path.into())),
    }
}

/// A temporary file with all of `input`, for formats that are read from their end.
fn spooled(input: &mut Bytes) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(input, &mut file)?;
    file.rewind()?;
    Ok(file)
}

fn text(
    mut bytes: Bytes,
    path: &Path,
    mut format: Format,
    options: &ReadOptions,
) -> Result<Opened, DatasetError> {
    let head = match format {
        Format::Json | Format::Txt => peek(&mut bytes, HEAD).map_err(DatasetError::io(path))?,
        _ => Vec::new(),
    };
    if format == Format::Json && is_lines(&head) {
        format = Format::Jsonl;
    }
    if format == Format::Txt && options.format.is_none() && is_table(&head, &options.columns) {
        format = Format::Tsv;
    }
    let input = BufReader::with_capacity(64 << 10, bytes);
    Ok(match format {
        Format::Csv => table(input, path, Dialect { delimiter: options.delimiter, quotes: true }, options)?,
        Format::Tsv => {
            let delimiter = Some(options.delimiter.unwrap_or(b'\t'));
            table(input, path, Dialect { delimiter, quotes: false }, options)?
        }
        Format::Jsonl => Opened { records: Box::new(JsonLines::new(input, path)), names: None },
        Format::Json => Opened { records: Box::new(JsonValues::new(input, path)), names: None },
        Format::Txt | Format::Parquet | Format::Arrow | Format::Xlsx => {
            let rows = PlainText::new(input, path);
            let names = Some(rows.names().clone());
            Opened { records: Box::new(rows), names }
        }
    })
}

fn table(
    input: impl BufRead + Send + 'static,
    path: &Path,
    dialect: Dialect,
    options: &ReadOptions,
) -> Result<Opened, DatasetError> {
    let (columns, labels) = (options.columns.clone(), options.labels.clone());
    // A label where labels stand is what makes a line a row beyond doubt.
    let is_row: IsRow = Box::new(move |names, fields| {
        let label = columns.locate(names).ok().and_then(|places| places[LABEL]);
        label.is_some_and(|at| labels.get(fields[at]).is_some())
    });
    let rows = Delimited::open(input, path, dialect, is_row)?;
    let names = Some(rows.names().clone());
    Ok(Opened { records: Box::new(rows), names })
}

/// Whether a `.txt` file is a table, as NSMC's: tabs in its first line, and a comment's usual name.
fn is_table(head: &[u8], columns: &Columns) -> bool {
    let first = head.split(|b| *b == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(first) else { return false };
    let names: Vec<String> = line.split('\t').map(str::to_owned).collect();
    names.len() > 1 && columns.has_comment(&names)
}

/// The file's name in words.
pub(super) fn name(path: &Path) -> PathBuf {
    if path.as_os_str() == "-" { "standard input".into() } else { path.into() }
}
