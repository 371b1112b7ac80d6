//! Sheets of Excel files.
//!
//! The header is the first row with something in it; where that names no comment, as under a title, the first
//! of the next rows that does. Rows are read by a thread of their own, because the parser borrows the file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use calamine::{DataRef, Reader, SheetVisible, Xlsx, XlsxError};

use super::columns::Columns;
use super::error::DatasetError;
use super::place::{Place, listed, quoted};
use super::record::{Record, RecordResult, Refused, Value};

/// Rows in which the header is looked for.
const HEADER_WITHIN: usize = 20;
/// Rows that wait to be used.
const AHEAD: usize = 256;

type Book = Xlsx<BufReader<File>>;

/// A sheet's row: its number from 1, and its cells from the first column.
type Cells = (u64, Vec<Value>);

/// The rows of a sheet.
pub struct SheetRows {
    path: PathBuf,
    rows: Receiver<Result<Cells, String>>,
    /// Read while the header was looked for.
    early: VecDeque<Cells>,
    names: Arc<[String]>,
    failed: bool,
}

impl SheetRows {
    /// Reads the header of the sheet that is named or numbered (from 1), else of the only one that has rows.
    ///
    /// # Errors
    /// The file is none of Excel's, or the sheet isn't clear.
    pub fn open(
        file: File,
        path: &Path,
        sheet: Option<&str>,
        columns: &Columns,
    ) -> Result<Self, DatasetError> {
        let mut book: Book = Xlsx::new(BufReader::new(file)).map_err(|e| broken(path, &e.to_string()))?;
        let name = match sheet {
            Some(wanted) => named(&book, path, wanted)?,
            None => only(&mut book, path)?,
        };
        let (sender, rows) = sync_channel(AHEAD);
        std::thread::Builder::new()
            .name("sheet".into())
            .spawn(move || send_rows(book, &name, &sender))
            .map_err(DatasetError::io(path))?;
        let (path, early) = (path.to_owned(), VecDeque::new());
        let mut sheet = Self { path, rows, early, names: Arc::new([]), failed: false };
        sheet.read_header(columns)?;
        Ok(sheet)
    }

    /// The columns' names.
    pub fn names(&self) -> &Arc<[String]> {
        &self.names
    }

    fn read_header(&mut self, columns: &Columns) -> Result<(), DatasetError> {
        while self.early.len() < HEADER_WITHIN {
            let Some(row) = self.rows.iter().next() else { break };
            let row = row.map_err(|reason| broken(&self.path, &reason))?;
            let names = header(&row.1);
            if columns.has_comment(&names) {
                self.names = names.into();
                self.early.clear();
                return Ok(());
            }
            self.early.push_back(row);
        }
        let (_, first) = self.early.pop_front().ok_or_else(|| DatasetError::NoRows(self.path.clone()))?;
        self.names = header(&first).into();
        Ok(())
    }

    fn record(&self, (number, mut values): Cells) -> Result<Record, Refused> {
        let (place, width) = (Place::Row(number), self.names.len());
        if values.len() > width {
            let reason = format!(
                "has a value in column {}, but the header has {width} columns; give that column a name",
                values.len()
            );
            return Err(Refused::new(place, reason));
        }
        values.resize(width, Value::Null);
        Ok(Record { place, names: self.names.clone(), values })
    }
}

impl Iterator for SheetRows {
    type Item = RecordResult;

    fn next(&mut self) -> Option<RecordResult> {
        if self.failed {
            return None;
        }
        match self.early.pop_front().map(Ok).or_else(|| self.rows.recv().ok())? {
            Ok(cells) => Some(Ok(self.record(cells))),
            Err(reason) => {
                self.failed = true;
                Some(Err(broken(&self.path, &reason)))
            }
        }
    }
}

fn header(cells: &[Value]) -> Vec<String> {
    cells.iter().map(|cell| cell.text().ok().flatten().unwrap_or_default().trim().to_owned()).collect()
}

fn broken(path: &Path, reason: &str) -> DatasetError {
    let reason = format!("{reason}; open it in Excel and save it again as .xlsx");
    DatasetError::Broken { path: path.into(), format: "xlsx", reason }
}

fn named(book: &Book, path: &Path, wanted: &str) -> Result<String, DatasetError> {
    let names = book.sheet_names();
    let by_name = names.iter().find(|name| *name == wanted);
    let by_number = || wanted.parse::<usize>().ok().and_then(|n| names.get(n.checked_sub(1)?));
    by_name.or_else(by_number).cloned().ok_or_else(|| DatasetError::NoSheet {
        path: path.into(),
        wanted: quoted(wanted),
        found: listed(names.iter().map(String::as_str)),
    })
}

/// The one visible sheet that has something in it.
fn only(book: &mut Book, path: &Path) -> Result<String, DatasetError> {
    let sheets = book.sheets_metadata().to_vec();
    let visible = sheets.into_iter().filter(|sheet| sheet.visible == SheetVisible::Visible);
    let mut filled: Vec<String> = visible.map(|sheet| sheet.name).collect();
    filled.retain(|name| {
        let Ok(mut cells) = book.worksheet_cells_reader(name) else { return false };
        loop {
            match cells.next_cell() {
                Ok(Some(cell)) if *cell.get_value() == DataRef::Empty => {}
                Ok(cell) => return cell.is_some(),
                // Broken: it is told where the sheet is read.
                Err(_) => return true,
            }
        }
    });
    match filled.len() {
        0 => Err(DatasetError::NoRows(path.into())),
        1 => Ok(filled.remove(0)),
        count => {
            let found = listed(filled.iter().map(String::as_str));
            Err(DatasetError::ManySheets { path: path.into(), count, found })
        }
    }
}

/// Sends the rows that have something in them, until nobody takes them.
fn send_rows(mut book: Book, name: &str, sender: &SyncSender<Result<Cells, String>>) {
    let send = |row: Cells| row.1.is_empty() || sender.send(Ok(row)).is_ok();
    let read = || -> Result<(), XlsxError> {
        let mut cells = book.worksheet_cells_reader(name)?;
        let (mut number, mut values): Cells = (0, Vec::new());
        while let Some(cell) = cells.next_cell()? {
            let ((row, column), found) = (cell.get_position(), value(cell.get_value()));
            if found == Value::Null {
                continue;
            }
            if u64::from(row) + 1 != number {
                if !send((number, std::mem::take(&mut values))) {
                    return Ok(());
                }
                number = u64::from(row) + 1;
            }
            values.resize(values.len().max(column as usize + 1), Value::Null);
            values[column as usize] = found;
        }
        send((number, values));
        Ok(())
    };
    let read = { read }();
    if let Err(error) = read {
        // Nobody waits for it any more if this fails.
        let _ = sender.send(Err(error.to_string()));
    }
}

fn value(cell: &DataRef<'_>) -> Value {
    match cell {
        DataRef::Empty => Value::Null,
        DataRef::Int(n) => Value::Number(n.to_string()),
        DataRef::Float(x) => Value::Number(x.to_string()),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text_value(text),
        DataRef::SharedString(text) => text_value(text),
        DataRef::Bool(b) => Value::Bool(*b),
        DataRef::DateTime(date) if date.is_duration() => Value::Number(date.as_f64().to_string()),
        DataRef::DateTime(date) => {
            let (year, month, day, hour, minute, second, _) = date.to_ymd_hms_milli();
            Value::Date(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"))
        }
        DataRef::Error(error) => Value::Error(error.to_string()),
    }
}

fn text_value(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { Value::Text(text.to_owned()) }
}
