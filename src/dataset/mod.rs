//! Labelled comments from JSON lines, CSV, TSV and Parquet files.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use crate::sentiment::labels::Sentiment;

/// A comment, the video that it is about where the data set has it, and what people called it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The comment, as in the file.
    pub comment: String,
    /// The video's title.
    pub video_title: Option<String>,
    /// The video's summary.
    pub video_summary: Option<String>,
    /// The right answer.
    pub label: Sentiment,
}

/// The rows of one file.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// In the file's order.
    pub rows: Vec<Row>,
    /// SHA-256 of the rows' content, in hexadecimal: equal rows in another format are the same data set.
    pub fingerprint: String,
}

/// The columns to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Column of the comment.
    pub comment: String,
    /// Column of the label.
    pub label: String,
    /// Column of the video's title: `video_title` if the file has one, unless named.
    pub video_title: Option<String>,
    /// Column of the video's summary: `video_summary` if the file has one, unless named.
    pub video_summary: Option<String>,
}

impl Default for Columns {
    fn default() -> Self {
        Self { comment: "comment".into(), label: "label".into(), video_title: None, video_summary: None }
    }
}

/// Where a value stands, in the words of the program that shows the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of a text file, from 1, the header counted.
    Line(u64),
    /// A row of a Parquet file, from 1.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(n) => write!(f, "line {n}"),
            Place::Row(n) => write!(f, "row {n}"),
        }
    }
}

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file's name does not tell its format.
    #[error("{}: the name must end in .jsonl, .csv, .tsv or .parquet", .0.display())]
    UnknownFormat(PathBuf),
    /// A column is not there.
    #[error("no column {column:?}: the file has {found}; name the right one with --{flag}-column")]
    NoColumn {
        /// The column looked for.
        column: String,
        /// The columns that are there.
        found: String,
        /// The flag that names the column.
        flag: &'static str,
    },
    /// A line is not a JSON object.
    #[error("{place}: not a JSON object: {source}")]
    Json {
        /// Where.
        place: Place,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// A line or row is not CSV or TSV.
    #[error("not readable as CSV or TSV: {0}")]
    Csv(csv::Error),
    /// Bytes that are not UTF-8.
    #[error("{0}: not UTF-8; save the file as UTF-8 (in Excel: \"CSV UTF-8\")")]
    Encoding(Place),
    /// A Parquet file that cannot be decoded.
    #[error("not readable as Parquet (uncompressed or Snappy): {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A value that is not text.
    #[error("{place}: column {column:?} must be text")]
    NotText {
        /// Where.
        place: Place,
        /// The column.
        column: String,
    },
    /// A comment or label that is not there.
    #[error("{place}: column {column:?} is empty")]
    Empty {
        /// Where.
        place: Place,
        /// The column.
        column: String,
    },
    /// A label that is none of the three.
    #[error("{place}: label {found:?} is none of 긍정, 중립, 부정, positive, neutral and negative")]
    Label {
        /// Where.
        place: Place,
        /// What stands there.
        found: String,
    },
    /// A file without rows.
    #[error("{}: no rows", .0.display())]
    NoRows(PathBuf),
}

/// Read a labelled data set; the format is told by the name: `.jsonl`, `.csv`, `.tsv`, `.parquet`.
pub fn read(path: &Path, columns: &Columns) -> Result<Dataset, DatasetError> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    let open = || File::open(path).map_err(|source| DatasetError::Io { path: path.into(), source });
    let records = match extension.to_lowercase().as_str() {
        "jsonl" | "ndjson" => read_json_lines(path, open()?, columns),
        "csv" => read_table(open()?, b',', columns),
        "tsv" => read_table(open()?, b'\t', columns),
        "parquet" => read_parquet(open()?, columns),
        _ => Err(DatasetError::UnknownFormat(path.into())),
    }?;
    let rows: Vec<Row> =
        records.into_iter().map(|record| record.into_row(columns)).collect::<Result<_, _>>()?;
    if rows.is_empty() {
        return Err(DatasetError::NoRows(path.into()));
    }
    let fingerprint = fingerprint(&rows);
    Ok(Dataset { rows, fingerprint })
}

/// The four fields of a row, in the order of [`Columns::wanted`], as they stand in the file.
struct Record {
    place: Place,
    fields: [Option<String>; 4],
}

impl Record {
    fn into_row(self, columns: &Columns) -> Result<Row, DatasetError> {
        let place = self.place;
        let [comment, label, video_title, video_summary] =
            self.fields.map(|f| f.filter(|text| !text.trim().is_empty()));
        let required = |field: Option<String>, column: &str| {
            field.ok_or_else(|| DatasetError::Empty { place, column: column.into() })
        };
        let found = required(label, &columns.label)?;
        Ok(Row {
            comment: required(comment, &columns.comment)?,
            video_title,
            video_summary,
            // Text from macOS may hold decomposed syllables.
            label: Sentiment::parse(&found.nfc().collect::<String>())
                .ok_or(DatasetError::Label { place, found })?,
        })
    }
}

/// A column that is looked for.
struct Wanted<'a> {
    name: &'a str,
    required: bool,
    flag: &'static str,
}

impl Columns {
    fn wanted(&self) -> [Wanted<'_>; 4] {
        [
            Wanted { name: &self.comment, required: true, flag: "comment" },
            Wanted { name: &self.label, required: true, flag: "label" },
            Wanted {
                name: self.video_title.as_deref().unwrap_or("video_title"),
                required: self.video_title.is_some(),
                flag: "video-title",
            },
            Wanted {
                name: self.video_summary.as_deref().unwrap_or("video_summary"),
                required: self.video_summary.is_some(),
                flag: "video-summary",
            },
        ]
    }

    /// Where each wanted column is among `found`.
    fn locate(&self, found: &[&str]) -> Result<[Option<usize>; 4], DatasetError> {
        let mut places = [None; 4];
        for (place, wanted) in places.iter_mut().zip(self.wanted()) {
            *place = found.iter().position(|name| *name == wanted.name);
            if place.is_none() && wanted.required {
                return Err(DatasetError::NoColumn {
                    column: wanted.name.into(),
                    found: found.join(", "),
                    flag: wanted.flag,
                });
            }
        }
        Ok(places)
    }
}

fn read_json_lines(path: &Path, file: File, columns: &Columns) -> Result<Vec<Record>, DatasetError> {
    let mut records = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (index, line) in BufReader::new(file).split(b'\n').enumerate() {
        let place = Place::Line(index as u64 + 1);
        let line = line.map_err(|source| DatasetError::Io { path: path.into(), source })?;
        let line = std::str::from_utf8(&line).map_err(|_| DatasetError::Encoding(place))?;
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            continue;
        }
        let mut object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(line).map_err(|source| DatasetError::Json { place, source })?;
        for name in object.keys().filter(|name| !names.contains(name)).collect::<Vec<_>>() {
            names.push(name.clone());
        }
        let mut fields = [const { None }; 4];
        for (field, wanted) in fields.iter_mut().zip(columns.wanted()) {
            *field = match object.remove(wanted.name) {
                None | Some(serde_json::Value::Null) => None,
                Some(serde_json::Value::String(text)) => Some(text),
                Some(_) => {
                    return Err(DatasetError::NotText { place, column: wanted.name.into() });
                }
            };
        }
        records.push(Record { place, fields });
    }
    if !records.is_empty() {
        columns.locate(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    Ok(records)
}

fn read_table(file: File, delimiter: u8, columns: &Columns) -> Result<Vec<Record>, DatasetError> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(file);
    let header = reader.headers().map_err(csv_error)?.clone();
    let places = columns.locate(&header.iter().collect::<Vec<_>>())?;
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record.map_err(csv_error)?;
        records.push(Record {
            place: Place::Line(record.position().map_or(0, csv::Position::line)),
            fields: places.map(|place| place.and_then(|i| record.get(i)).map(str::to_owned)),
        });
    }
    Ok(records)
}

fn csv_error(error: csv::Error) -> DatasetError {
    match error.kind() {
        csv::ErrorKind::Utf8 { pos, .. } => {
            DatasetError::Encoding(Place::Line(pos.as_ref().map_or(1, csv::Position::line)))
        }
        _ => DatasetError::Csv(error),
    }
}

fn read_parquet(file: File, columns: &Columns) -> Result<Vec<Record>, DatasetError> {
    let reader = SerializedFileReader::new(file)?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let names: Vec<&str> = schema.get_fields().iter().map(|field| field.name()).collect();
    let places = columns.locate(&names)?;
    // Only the wanted columns are decoded: others may hold anything.
    let wanted: Vec<Arc<Type>> = schema
        .get_fields()
        .iter()
        .enumerate()
        .filter(|(i, _)| places.contains(&Some(*i)))
        .map(|(_, field)| field.clone())
        .collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(wanted).build()?;
    let mut records = Vec::new();
    for (index, row) in RowIter::from_file(Some(projection), &reader)?.enumerate() {
        let place = Place::Row(index as u64 + 1);
        let row = row?;
        let mut fields = [const { None }; 4];
        for (name, value) in row.get_column_iter() {
            let wanted = columns.wanted();
            // One column may be wanted twice.
            for (field, _) in fields.iter_mut().zip(&wanted).filter(|(_, w)| w.name == name) {
                *field = parquet_text(place, name, value)?;
            }
        }
        records.push(Record { place, fields });
    }
    Ok(records)
}

fn parquet_text(place: Place, column: &str, value: &Field) -> Result<Option<String>, DatasetError> {
    match value {
        Field::Null => Ok(None),
        Field::Str(text) => Ok(Some(text.clone())),
        // Written without the UTF8 annotation.
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data())
            .map(|text| Some(text.to_owned()))
            .map_err(|_| DatasetError::Encoding(place)),
        _ => Err(DatasetError::NotText { place, column: column.into() }),
    }
}

fn fingerprint(rows: &[Row]) -> String {
    let mut hash = Sha256::new();
    let mut field = |text: Option<&str>| {
        // A length before each field, so that text cannot move from one to the next.
        hash.update(text.map_or(u64::MAX, |t| t.len() as u64).to_le_bytes());
        hash.update(text.unwrap_or(""));
    };
    for row in rows {
        field(Some(&row.comment));
        field(row.video_title.as_deref());
        field(row.video_summary.as_deref());
        field(Some(row.label.korean()));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(extension: &str, content: &[u8], columns: &Columns) -> Result<Dataset, String> {
        let file = tempfile::Builder::new().suffix(extension).tempfile().unwrap();
        std::fs::write(file.path(), content).unwrap();
        read(file.path(), columns)
            .map_err(|e| e.to_string().replace(&file.path().display().to_string(), "FILE"))
    }

    fn row(comment: &str, title: Option<&str>, label: Sentiment) -> Row {
        Row { comment: comment.into(), video_title: title.map(Into::into), video_summary: None, label }
    }

    #[test]
    fn formats_agree() {
        let rows = vec![
            row("정말, \"감동\"\n이었습니다", Some("영상"), Sentiment::Positive),
            row("그냥 그래요", None, Sentiment::Neutral),
        ];
        let csv = "id,comment,label,video_title\n\
                   1,\"정말, \"\"감동\"\"\n이었습니다\",긍정,영상\n\
                   2,그냥 그래요,neutral,\n";
        let tsv = "\u{feff}label\tcomment\tvideo_title\r\n\
                   POSITIVE\t\"정말, \"\"감동\"\"\n이었습니다\"\t영상\r\n\
                   중립 \t그냥 그래요\t \r\n";
        let json = "\u{feff}{\"comment\": \"정말, \\\"감동\\\"\\n이었습니다\", \"label\": \"긍정\", \"video_title\": \"영상\"}\n\
                    \n\
                    {\"comment\": \"그냥 그래요\", \"label\": \"중립\", \"score\": 3}";
        let mut prints = Vec::new();
        for (extension, content) in [(".csv", csv), (".tsv", tsv), (".jsonl", json)] {
            let data = read_as(extension, content.as_bytes(), &Columns::default()).unwrap();
            assert_eq!(data.rows, rows, "{extension}");
            prints.push(data.fingerprint);
        }
        prints.dedup();
        assert_eq!(prints.len(), 1);
    }

    #[test]
    fn fingerprint_sees_field_borders() {
        let print = |csv: &str| read_as(".csv", csv.as_bytes(), &Columns::default()).unwrap().fingerprint;
        let head = "comment,video_title,label\n";
        assert_ne!(print(&format!("{head}ab,c,긍정\n")), print(&format!("{head}a,bc,긍정\n")));
        assert_ne!(print(&format!("{head}ab,c,긍정\n")), print(&format!("{head}ab,c,중립\n")));
    }

    #[test]
    fn columns_by_name() {
        let columns = Columns {
            comment: "text".into(),
            label: "y".into(),
            video_title: Some("title".into()),
            video_summary: None,
        };
        let csv = "y,title,text,comment,label\n부정,제목,별로,x,y\n";
        let data = read_as(".csv", csv.as_bytes(), &columns).unwrap();
        assert_eq!(data.rows, [row("별로", Some("제목"), Sentiment::Negative)]);
    }

    #[test]
    fn errors_name_the_place() {
        let default = Columns::default();
        let titled = Columns { video_title: Some("title".into()), ..Columns::default() };
        let check = |extension, content: &[u8], columns: &Columns, expect: &str| {
            let error = read_as(extension, content, columns).unwrap_err();
            assert!(error.starts_with(expect), "{error:?} is not {expect:?}");
        };
        let label =
            |place: &str, found: &str| format!("{place}: label \"{found}\" is none of 긍정, 중립, 부정");
        let csv = "comment,label\n\"좋\n다\",긍정\n음,mixed\n";
        check(".csv", csv.as_bytes(), &default, &label("line 4", "mixed"));
        let json = "{\"comment\":\"a\",\"label\":\"긍정\"}\n\n{\"comment\":\"b\",\"label\":\"1\"}";
        check(".jsonl", json.as_bytes(), &default, &label("line 3", "1"));
        let json = "{\"comment\":\"a\",\"label\":1}";
        check(".jsonl", json.as_bytes(), &default, "line 1: column \"label\" must be text");
        check(".jsonl", b"[1]", &default, "line 1: not a JSON object");
        check(".jsonl", b"{\"comment\":", &default, "line 1: not a JSON object");
        let json = "{\"text\":\"a\",\"label\":\"긍정\"}";
        let found =
            "no column \"comment\": the file has text, label; name the right one with --comment-column";
        check(".jsonl", json.as_bytes(), &default, found);
        check(".csv", "text,label\na,긍정\n".as_bytes(), &default, found);
        let csv = "comment,label\na,긍정\n";
        check(".csv", csv.as_bytes(), &titled, "no column \"title\"");
        let csv = "comment,label\na,긍정\n  ,긍정\n";
        check(".csv", csv.as_bytes(), &default, "line 3: column \"comment\" is empty");
        let cp949 = b"comment,label\n\xc1\xc1\xb4\xd9,positive\n";
        check(".csv", cp949, &default, "line 2: not UTF-8; save the file as UTF-8");
        check(".csv", b"comment,label\na\n", &default, "not readable as CSV");
        check(".csv", b"comment,label\n", &default, "FILE: no rows");
        check(".jsonl", b"\n", &default, "FILE: no rows");
        check(".parquet", b"PAR1", &default, "not readable as Parquet");
        check(".xlsx", b"", &default, "FILE: the name must end in .jsonl");
    }

    #[test]
    fn decomposed_labels() {
        let csv: String = "comment,label\n별로,부정\n".nfd().collect();
        let data = read_as(".csv", csv.as_bytes(), &Columns::default()).unwrap();
        assert_eq!(data.rows[0].label, Sentiment::Negative);
    }
}
