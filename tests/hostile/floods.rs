//! Floods of calls, connections and unfinished messages, small ones; `make test-floods` has the large ones.

use super::run_script;

#[test]
fn floods_hold_little_and_good_calls_are_answered() {
    run_script("test-floods.py");
}
