//! The rows of all inputs, one after the other, as far as they are selected.

use std::sync::Arc;

use super::error::AnnotateError;
use super::inputs::Input;
use crate::dataset::{Comment, Comments, ReadOptions, Refused};

/// Which rows are annotated.
#[derive(Debug, Clone, Default)]
pub enum Select {
    /// All.
    #[default]
    All,
    /// The first so many.
    First(u64),
    /// Those of these positions, from 0, in ascending order.
    These(Arc<[u64]>),
}

/// How inputs are read.
#[derive(Debug, Clone)]
pub struct Reading<'a> {
    /// The inputs, in their order.
    pub inputs: &'a [Input],
    /// How each is read.
    pub options: ReadOptions,
    /// Which rows are annotated.
    pub select: Select,
}

/// What a row is.
pub type Content = Result<Comment, Refused>;

/// A row of the inputs.
#[derive(Debug)]
pub enum Row {
    /// It is annotated; its number among those that are, from 0, and the index of its input.
    Taken(u64, usize, Box<Content>),
    /// It is left out.
    Skipped,
}

/// The rows of inputs. An error is last.
pub struct Rows<'a> {
    reading: Reading<'a>,
    input: usize,
    comments: Option<Comments>,
    /// Of the next row among all.
    position: u64,
    /// Of the next row among those that are annotated.
    number: u64,
    ended: bool,
}

impl<'a> Rows<'a> {
    /// From the first.
    pub fn new(reading: Reading<'a>) -> Self {
        Self { reading, input: 0, comments: None, position: 0, number: 0, ended: false }
    }

    /// The number that the next annotated row has.
    pub fn number(&self) -> u64 {
        self.number
    }

    fn is_over(&self) -> bool {
        match &self.reading.select {
            Select::All => false,
            Select::First(rows) => self.number == *rows,
            // What is left is left out; `RowWriter` wants to hear of it.
            Select::These(_) => false,
        }
    }

    fn is_selected(&self) -> bool {
        match &self.reading.select {
            Select::All | Select::First(_) => true,
            Select::These(positions) => positions.get(self.number as usize) == Some(&self.position),
        }
    }

    fn read(&mut self) -> Result<Option<Row>, AnnotateError> {
        loop {
            let Some(input) = self.reading.inputs.get(self.input) else { return Ok(None) };
            let comments = match &mut self.comments {
                Some(comments) => comments,
                none => none.insert(input.comments(&self.reading.options)?),
            };
            let Some(content) = comments.next() else {
                self.comments = None;
                self.input += 1;
                continue;
            };
            let content = content.map_err(|e| input.error(&e))?;
            let selected = self.is_selected();
            self.position += 1;
            if !selected {
                return Ok(Some(Row::Skipped));
            }
            self.number += 1;
            return Ok(Some(Row::Taken(self.number - 1, self.input, Box::new(content))));
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, AnnotateError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended || self.is_over() {
            return None;
        }
        let row = self.read().transpose();
        self.ended = !matches!(row, Some(Ok(_)));
        row
    }
}
