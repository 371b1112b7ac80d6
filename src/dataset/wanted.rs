//! Which columns of a file with a schema are read.

use super::columns::{COMMENT, Columns, LABEL, Located};
use super::error::DatasetError;
use super::kept;
use super::place::quoted;

/// Which columns are decoded.
pub struct Wanted<'a> {
    /// Where the comment and its like are.
    pub columns: &'a Columns,
    /// Further columns, of any kind.
    pub kept: &'a [String],
    /// All columns; else only those that `columns` and `kept` find, and others may hold anything.
    pub all: bool,
    /// The label is needed.
    pub labelled: bool,
}

/// What a schema says of a column.
pub struct Kind {
    /// Text, or bytes that may be text.
    pub is_text: bool,
    /// A list or an object.
    pub is_nested: bool,
    /// In the format's words.
    pub name: String,
}

impl Wanted<'_> {
    /// The places of the columns to decode, in the file's order; `refuse` makes an error of a reason.
    ///
    /// # Errors
    /// A column is missing, could be several, or cannot be what it is for.
    pub fn choose(
        &self,
        names: &[String],
        kind: impl Fn(usize) -> Kind,
        refuse: impl Fn(&str) -> DatasetError,
    ) -> Result<Vec<usize>, DatasetError> {
        let places = self.columns.locate(names)?;
        self.columns.require(&places, names.iter().map(String::as_str), self.labelled)?;
        let further = kept::places(self.kept, names)?;
        kept::require(self.kept, &further, names)?;
        if let Some(reason) = unfit(&places, names, kind) {
            return Err(refuse(&reason));
        }
        let is_chosen = |i: &usize| self.all || places.contains(&Some(*i)) || further.contains(&Some(*i));
        Ok((0..names.len()).filter(is_chosen).collect())
    }
}

/// Why one of the columns cannot be what it is for: comments and titles are text, labels may be numbers.
fn unfit(places: &Located, names: &[String], kind: impl Fn(usize) -> Kind) -> Option<String> {
    (COMMENT..places.len()).filter_map(|role| Some((role, places[role]?))).find_map(|(role, at)| {
        let kind = kind(at);
        let fits = kind.is_text || (role == LABEL && !kind.is_nested);
        let is = if kind.is_nested { "a nested column" } else { &kind.name };
        let name = quoted(&names[at]);
        (!fits).then(|| {
            format!(
                "column {name} must be text and is {is}; name another one with --comment-column and its like"
            )
        })
    })
}
