//! The evaluation against what other libraries compute (`tests/fixtures/make_eval_goldens.py`).

mod goldens;
