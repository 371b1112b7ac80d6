//! How llama.cpp's threads wait for each other.
//!
//! GCC's OpenMP runtime lets a thread that waits at a barrier spin 300,000 times before it sleeps. On a
//! machine that does other work too, the thread it waits for may not even have a core: measured with
//! nine runnable threads on two cores, classification was 2.3 times as fast at 1,000 spins, and no
//! slower on an idle machine. The runtime reads its environment when the process starts, so the only
//! way to set it is to start again.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What the runtime reads; whoever has set one of these has chosen.
const CHOSEN_BY_USER: [&str; 2] = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"];
const SPINS: &str = "1000";

/// Starts this program again, as the same process, with patient threads. Returns if they are already,
/// or if the program cannot be found.
pub fn wait_patiently() {
    let chosen = CHOSEN_BY_USER.iter().any(|name| std::env::var_os(name).is_some());
    if chosen || !cfg!(target_os = "linux") {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // Returns only if it fails, and then all goes on as it is.
    let _failed = command.args(arguments).env("GOMP_SPINCOUNT", SPINS).exec();
}
