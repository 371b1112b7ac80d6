//! Classes of faults against the binary, briefly; `make test-faults` has them at length.

use crate::hostile::run_script;

#[test]
fn what_must_hold_holds_under_each_class_of_faults() {
    run_script("test-faults.py");
}
