//! The evaluation: its figures against what other libraries compute
//! (`tests/fixtures/make_eval_goldens.py`), and its commands as a user meets them.

mod commands;
mod goldens;
