//! The output, from inputs and journal.

use std::io::Write;

use super::error::AnnotateError;
use super::inputs::Input;
use super::journal::Journal;
use super::reply::Reply;
use super::rows::{Reading, Row, Rows};
use crate::dataset::{
    Added, Kind, Layout, Place, Refused, RefusedRows, RowWriter, Value, WriteError, WriteOptions,
};
use crate::sentiment::labels::Sentiment;
use crate::text::shown::listed;

/// Where the added cells have the `error`.
const ERROR: usize = 6;
/// Rows between two looks at whether to stop.
const LOOK_EVERY: u64 = 1024;

/// What of the answers is written.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The labels as the profile writes them, in the order of [`Sentiment::ALL`].
    pub words: [String; 3],
    /// A column for the reasons.
    pub reasons: bool,
    /// Only rows with these answers; all rows if there are none.
    pub only: Vec<Sentiment>,
}

/// What was written.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Rows in the output.
    pub written: u64,
    /// Rows answered, by sentiment, in the order of [`Sentiment::ALL`].
    pub answered: [u64; 3],
    /// Answers that the model withholds.
    pub abstained: u64,
    /// Rows without an answer.
    pub refused: RefusedRows,
    /// Rows in the output with a text that was cut, because the format holds no more.
    pub cut: u64,
}

/// Writes all rows of `reading` with their answers, which are all in the journal.
///
/// # Errors
/// Any [`AnnotateError`]; [`AnnotateError::Interrupted`] if `stop` said so.
pub fn write_all(
    reading: Reading<'_>,
    journal: &Journal,
    to: Target<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<Summary, AnnotateError> {
    let failed = |source: WriteError| AnnotateError::Write { name: to.name.to_owned(), source };
    let inputs = reading.inputs;
    let mut answers = journal.answers()?;
    let mut writer = RowWriter::new(to.out, to.options, to.layout, &to.shown.columns()).map_err(failed)?;
    let mut summary = Summary::default();
    for (i, row) in Rows::new(reading).enumerate() {
        if (i as u64).is_multiple_of(LOOK_EVERY) && stop() {
            return Err(AnnotateError::Interrupted);
        }
        let Row::Taken(number, input, content) = row? else {
            writer.skip().map_err(failed)?;
            continue;
        };
        let (place, record, reply) = match *content {
            Ok(comment) => match answers.get(number)? {
                Some(reply) => (comment.record.place, Some(comment.record), reply),
                None => return Err(AnnotateError::Changed(inputs[input].name().to_owned())),
            },
            Err(Refused { place, reason, record }) => (place, record.map(|r| *r), Reply::Refused(reason)),
        };
        let place = At { place, input: (inputs.len() > 1).then_some(&inputs[input]) };
        let mut cells = summary.count(&reply, to.shown, &place);
        if to.shown.takes(&reply) {
            let cut = writer.cut(record.as_ref(), &cells).map_err(failed)?;
            summary.note_cut(&cut, &mut cells, &place);
            writer.write(record.as_ref(), &cells).map_err(failed)?;
            summary.written += 1;
        } else {
            writer.skip().map_err(failed)?;
        }
    }
    inputs.iter().try_for_each(Input::check_unchanged)?;
    writer.finish().map_err(failed)?;
    Ok(summary)
}

/// Where rows are written.
pub struct Target<'a> {
    /// The output's name for messages.
    pub name: &'a str,
    /// The output.
    pub out: Box<dyn Write + Send>,
    /// How it is written.
    pub options: WriteOptions,
    /// The inputs' columns.
    pub layout: Layout,
    /// What of the answers is written.
    pub shown: &'a Shown,
}

/// A row's place, with its file's name where there are several.
struct At<'a> {
    place: Place,
    input: Option<&'a Input>,
}

impl At<'_> {
    fn says(&self, reason: &str) -> String {
        match self.input {
            Some(input) => format!("{}, {}: {reason}", input.name(), self.place),
            None => format!("{}: {reason}", self.place),
        }
    }
}

impl Summary {
    /// Counts a row; its added cells.
    fn count(&mut self, reply: &Reply, shown: &Shown, at: &At<'_>) -> Vec<Value> {
        let mut cells = match reply {
            Reply::Answer { probabilities, abstained, .. } => {
                let sentiment = reply.sentiment().map_or(0, Sentiment::index);
                self.answered[sentiment] += 1;
                self.abstained += u64::from(*abstained);
                let number = |p: f64| Value::Number(format!("{p:.6}"));
                let [positive, neutral, negative] = probabilities.map(number);
                let (label, top) =
                    (Value::Text(shown.words[sentiment].clone()), number(probabilities[sentiment]));
                vec![label, top, positive, neutral, negative, Value::Bool(*abstained), Value::Null]
            }
            Reply::Refused(reason) => {
                self.refused.add(Refused::new(at.place, reason.clone()));
                let mut cells = vec![Value::Null; ERROR];
                cells.push(Value::Text(at.says(reason)));
                cells
            }
        };
        if shown.reasons {
            cells.push(match reply {
                Reply::Answer { reasons: Some(reasons), .. } => Value::Text(reasons.clone()),
                _ => Value::Null,
            });
        }
        cells
    }

    /// Says in a row's `error` which of its texts were cut.
    fn note_cut(&mut self, columns: &[String], cells: &mut [Value], at: &At<'_>) {
        if columns.is_empty() {
            return;
        }
        self.cut += 1;
        let quoted: Vec<String> = columns.iter().map(|name| format!("{name:?}")).collect();
        let (of, is) = if columns.len() == 1 { ("column", "is") } else { ("columns", "are") };
        let note = format!("{of} {} {is} cut, because a cell of .xlsx holds no more", listed(&quoted));
        cells[ERROR] = Value::Text(match &cells[ERROR] {
            Value::Text(reason) => format!("{reason}; {note}"),
            _ => at.says(&note),
        });
    }
}

impl Shown {
    /// The columns that are added.
    fn columns(&self) -> Vec<Added> {
        let columns = [
            ("label", Kind::Text),
            ("probability", Kind::Real),
            ("positive", Kind::Real),
            ("neutral", Kind::Real),
            ("negative", Kind::Real),
            ("abstained", Kind::Bool),
            ("error", Kind::Text),
            ("reasons", Kind::Text),
        ];
        let count = columns.len() - usize::from(!self.reasons);
        columns[..count].iter().map(|(name, kind)| Added { name: (*name).into(), kind: *kind }).collect()
    }

    fn takes(&self, reply: &Reply) -> bool {
        self.only.is_empty() || reply.sentiment().is_some_and(|sentiment| self.only.contains(&sentiment))
    }
}
