//! Arrow's IPC format: files, which Feather calls its version 2, and streams.
//!
//! Source: "IPC Streaming Format" and "IPC File Format" of Arrow's columnar format. A file holds a stream between its
//! magic and its footer, so that one way of reading serves both. One record batch is in memory at a time, and nothing
//! is allocated by a length that the file's bytes don't bear out.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{Message, MessageHeader, root_as_footer, root_as_message};
use arrow_schema::{DataType, Schema};

use super::arrow_value::value;
use super::error::DatasetError;
use super::place::Place;
use super::record::{Record, RecordResult, Refused};
use super::wanted::{Kind, Wanted};
use crate::text::shown::shown;

/// How a file begins and ends.
pub const MAGIC: &[u8] = b"ARROW1";
/// How a stream's messages begin.
pub const CONTINUATION: [u8; 4] = [0xff; 4];
/// How a file of Feather's first version begins.
pub const FEATHER_1: &[u8] = b"FEA1";
/// Bytes before a file's stream, at least: the magic, padded.
const BEFORE: u64 = 8;
/// Bytes of further padding.
const MAX_PADDING: u64 = 504;
/// Bytes after a file's footer: its length and the magic.
const AFTER: u64 = 10;
/// Bytes of a message's description, at least.
const SHORTEST_DESCRIPTION: u32 = 16;
/// Bytes of a message's description beyond which it is damaged.
const MAX_DESCRIPTION: u64 = 64 << 20;
/// Bytes that a column of a record batch may unpack to.
const MAX_UNPACKED: i64 = 4 << 30;

type Bytes = Box<dyn Read + Send>;

/// Why bytes are not Arrow's.
type Damage = String;

/// The rows of a file or a stream.
pub struct ArrowRows {
    path: PathBuf,
    messages: Messages,
    names: Arc<[String]>,
    /// The columns that are decoded.
    chosen: Vec<usize>,
    batch: Option<RecordBatch>,
    /// The next row in the batch.
    next: usize,
    row: u64,
    failed: bool,
}

impl ArrowRows {
    /// Reads a file's schema.
    ///
    /// # Errors
    /// As [`ArrowRows::open`]; or the file has no footer.
    pub fn open_file(mut file: File, path: &Path, wanted: &Wanted<'_>) -> Result<Self, DatasetError> {
        let stream = stream_of(&mut file).map_err(DatasetError::io(path))?;
        let stream = stream.ok_or_else(|| broken(path, "it has no footer; it is cut off, get it again"))?;
        let start = start_of_schema(&mut file, &stream).map_err(DatasetError::io(path))?;
        let length = stream.end - stream.start;
        Self::open(Box::new(io::Cursor::new(start).chain(file.take(length))), path, wanted)
    }

    /// Reads a stream's schema.
    ///
    /// # Errors
    /// The bytes are none of Arrow's, or a wanted column isn't text.
    pub fn open(input: Bytes, path: &Path, wanted: &Wanted<'_>) -> Result<Self, DatasetError> {
        let mut messages = Messages { input: io::BufReader::new(input), ..Messages::default() };
        let damaged = |damage: Damage| broken(path, &format!("{damage}; the file is damaged, get it again"));
        let schema = messages.schema().map_err(damaged)?;
        let all: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let kind = |at: usize| {
            let of = schema.field(at).data_type();
            Kind { is_text: is_text(of), is_nested: of.is_nested(), name: shown(&of.to_string()) }
        };
        let chosen = wanted.choose(&all, kind, |reason| broken(path, reason))?;
        let names: Vec<String> = chosen.iter().map(|at| all[*at].clone()).collect();
        Ok(Self {
            path: path.into(),
            messages,
            names: names.into(),
            chosen,
            batch: None,
            next: 0,
            row: 0,
            failed: false,
        })
    }

    /// The columns' names.
    pub fn names(&self) -> &Arc<[String]> {
        &self.names
    }

    fn read(&mut self) -> Result<Option<Result<Record, Refused>>, Damage> {
        while self.batch.as_ref().is_none_or(|batch| self.next == batch.num_rows()) {
            self.batch = self.messages.batch()?;
            self.next = 0;
            if self.batch.is_none() {
                return Ok(None);
            }
        }
        let Some(batch) = &self.batch else { return Ok(None) };
        let place = Place::Row(self.row);
        let values = self.chosen.iter().map(|at| value(batch.column(*at), self.next)).collect();
        self.next += 1;
        let record = |values| Record { place, names: self.names.clone(), values };
        Ok(Some(Result::map(values, record).map_err(|reason: String| Refused::new(place, reason))))
    }
}

impl Iterator for ArrowRows {
    type Item = RecordResult;

    fn next(&mut self) -> Option<RecordResult> {
        if self.failed {
            return None;
        }
        self.row += 1;
        match self.read() {
            Ok(row) => row.map(Ok),
            Err(damage) => {
                self.failed = true;
                let reason = format!("row {}: {damage}; the file is damaged, get it again", self.row);
                Some(Err(broken(&self.path, &reason)))
            }
        }
    }
}

fn broken(path: &Path, reason: &str) -> DatasetError {
    DatasetError::Broken { path: path.into(), format: "Arrow", reason: reason.into() }
}

fn is_text(of: &DataType) -> bool {
    match of {
        DataType::Dictionary(_, values) => is_text(values),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        // A column without any value.
        DataType::Null => true,
        _ => false,
    }
}

/// Goes to the beginning of a file's stream; its place, which the footer follows, or `None` if the file has no footer.
fn stream_of(file: &mut File) -> io::Result<Option<Range<u64>>> {
    let size = file.metadata()?.len();
    let Some(at) = size.checked_sub(AFTER).filter(|at| *at >= BEFORE) else { return Ok(None) };
    let mut end = [0; AFTER as usize];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut end)?;
    let [a, b, c, d, magic @ ..] = end;
    let footer = u64::from(u32::from_le_bytes([a, b, c, d]));
    // Some writers pad the magic to more than 8 bytes.
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(BEFORE))?;
    file.by_ref().take(MAX_PADDING).read_to_end(&mut head)?;
    let zeros = head.iter().take_while(|byte| **byte == 0).count() as u64;
    let start = BEFORE + zeros / 8 * 8;
    file.seek(SeekFrom::Start(start))?;
    Ok(at.checked_sub(footer).filter(|end| *end >= start && magic == *MAGIC).map(|end| start..end))
}

/// How a stream's schema would begin where the file leaves that out, as polars 2 does: its continuation and length.
/// The file then begins with the schema's description itself, whose end is known from the footer.
fn start_of_schema(file: &mut File, stream: &Range<u64>) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    file.read_exact(&mut head)?;
    // A description begins with the place of its table, which is near; no description is as short as that.
    if head == CONTINUATION || u32::from_le_bytes(head) >= SHORTEST_DESCRIPTION {
        file.seek(SeekFrom::Start(stream.start))?;
        return Ok(Vec::new());
    }
    let length = file.metadata()?.len().saturating_sub(stream.end + AFTER);
    file.seek(SeekFrom::Start(stream.end))?;
    let mut footer = Vec::new();
    file.by_ref().take(length.min(MAX_DESCRIPTION)).read_to_end(&mut footer)?;
    file.seek(SeekFrom::Start(stream.start))?;
    let Ok(footer) = root_as_footer(&footer) else { return Ok(Vec::new()) };
    let blocks = footer.dictionaries().into_iter().chain(footer.recordBatches()).flatten();
    let first = blocks.filter_map(|block| u64::try_from(block.offset()).ok()).min();
    let length = first.and_then(|first| u32::try_from(first.checked_sub(stream.start)?).ok());
    Ok(length.map_or_else(Vec::new, |length| [CONTINUATION, length.to_le_bytes()].concat()))
}

/// The messages of a stream: the schema, dictionaries, record batches.
struct Messages {
    input: io::BufReader<Bytes>,
    decoder: StreamDecoder,
    /// Batches that are decoded.
    ready: VecDeque<RecordBatch>,
    ended: bool,
}

impl Default for Messages {
    fn default() -> Self {
        let input = io::BufReader::with_capacity(0, Box::new(io::empty()) as Bytes);
        Self { input, decoder: StreamDecoder::new(), ready: VecDeque::new(), ended: false }
    }
}

impl Messages {
    /// The first message, which is the schema.
    fn schema(&mut self) -> Result<Schema, Damage> {
        let message = self.next()?.ok_or("it has no schema")?;
        let described = described(&message.description)?;
        let schema = described.header_as_schema().ok_or("it does not begin with a schema")?;
        let schema = arrow_ipc::convert::try_fb_to_schema(schema).map_err(said)?;
        self.decode(message)?;
        Ok(schema)
    }

    /// The next record batch.
    fn batch(&mut self) -> Result<Option<RecordBatch>, Damage> {
        while self.ready.is_empty() && !self.ended {
            match self.next()? {
                Some(message) => {
                    check_buffers(&message)?;
                    self.decode(message)?;
                }
                None => {
                    self.ended = true;
                    // What has no body is decoded when more comes.
                    let end = [CONTINUATION, [0; 4]].concat();
                    self.push(end)?;
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    fn decode(&mut self, message: Encapsulated) -> Result<(), Damage> {
        let Encapsulated { description, body } = message;
        let mut head = CONTINUATION.to_vec();
        head.extend((description.len() as u32).to_le_bytes());
        head.extend(description);
        self.push(head)?;
        self.push(body)
    }

    fn push(&mut self, bytes: Vec<u8>) -> Result<(), Damage> {
        let mut bytes = Buffer::from_vec(bytes);
        while !bytes.is_empty() {
            self.ready.extend(self.decoder.decode(&mut bytes).map_err(said)?);
        }
        Ok(())
    }

    /// Reads a message; `None` at the stream's end.
    fn next(&mut self) -> Result<Option<Encapsulated>, Damage> {
        let mut length = match self.exactly(4)?[..] {
            [] => return Ok(None),
            [a, b, c, d] => [a, b, c, d],
            _ => return Err(CUT.into()),
        };
        // Before version 0.15, messages began with their length.
        if length == CONTINUATION {
            length = self.exactly(4)?.try_into().map_err(|_| CUT)?;
        }
        let length = u64::from(u32::from_le_bytes(length));
        if length == 0 {
            return Ok(None);
        }
        if length > MAX_DESCRIPTION {
            return Err(format!("a message claims {length} bytes of description"));
        }
        let description = self.whole(length)?;
        let body = described(&description)?.bodyLength();
        let body = u64::try_from(body).map_err(|_| format!("a message claims {body} bytes"))?;
        let body = self.whole(body)?;
        Ok(Some(Encapsulated { description, body }))
    }

    fn whole(&mut self, length: u64) -> Result<Vec<u8>, Damage> {
        let bytes = self.exactly(length)?;
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(CUT.into()) }
    }

    /// As many bytes as there are, up to `length`.
    fn exactly(&mut self, length: u64) -> Result<Vec<u8>, Damage> {
        let mut bytes = Vec::new();
        self.input.by_ref().take(length).read_to_end(&mut bytes).map_err(said)?;
        Ok(bytes)
    }
}

const CUT: &str = "it ends within a message";

/// A message and what it describes.
struct Encapsulated {
    description: Vec<u8>,
    body: Vec<u8>,
}

fn described(description: &[u8]) -> Result<Message<'_>, Damage> {
    root_as_message(description).map_err(said)
}

/// Refuses columns beyond the message's end, on which the decoder would panic, and those that claim to unpack to more than
/// any has, which it would allocate.
fn check_buffers(message: &Encapsulated) -> Result<(), Damage> {
    let described = described(&message.description)?;
    let batch = match described.header_type() {
        MessageHeader::DictionaryBatch => described.header_as_dictionary_batch().and_then(|d| d.data()),
        _ => described.header_as_record_batch(),
    };
    let Some(batch) = batch else { return Ok(()) };
    let is_packed = batch.compression().is_some();
    for buffer in batch.buffers().into_iter().flatten() {
        let place = |n: i64| usize::try_from(n).ok();
        let range = place(buffer.offset()).zip(place(buffer.length()));
        let bytes = range.and_then(|(start, length)| message.body.get(start..)?.get(..length));
        let bytes = bytes.ok_or("a column lies beyond its record batch")?;
        let length = bytes.first_chunk().map(|b| i64::from_le_bytes(*b));
        if let Some(length) = length.filter(|n| is_packed && *n > MAX_UNPACKED) {
            return Err(format!("a column claims {length} bytes in one record batch"));
        }
    }
    Ok(())
}

fn said(error: impl std::fmt::Display) -> Damage {
    shown(&error.to_string())
}
