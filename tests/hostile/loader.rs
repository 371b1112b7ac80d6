//! What the check lets through must not end llama.cpp: changed copies of tiny models are loaded and asked in child
//! processes, thousands in each, until one dies.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use ko_sentiment::convert::finish::verify;
use ko_sentiment::gguf::{Header, check};
use ko_sentiment::llama::crash;
use ko_sentiment::load::{LoadOptions, load};
use ko_sentiment::sentiment::classify::Options;
use ko_sentiment::sentiment::input::{Input, RawInput};
use tokio::runtime::Runtime;

use super::Tiny;
use super::mutations::{Random, changed};

const NAME: &str = "hostile::loader::what_passes_the_check_does_no_harm";
/// The child's orders: the folder, the first seed and the one after the last.
const ORDERS: &str = "KO_TEST_LOADER";
/// Copies of each model; `make test-hostile` asks for more.
const COPIES: u64 = 150;
/// Maximum copies for one child process.
const PER_CHILD: u64 = 20_000;
/// One in so many copies is not only loaded and computed for one step, but classifies a comment as a server does.
const CLASSIFY_EVERY: u64 = 50;
/// Seconds for one copy: a hang is a fault, a busy machine is none.
const PATIENCE: u32 = 600;

/// How far a child came.
struct Report {
    passed: u64,
    /// The copy at which it died.
    died_at: Option<u64>,
}

/// Has a child try the copies of some seeds.
fn run_child(folder: &Path, from: u64, to: u64) -> Report {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", NAME, "--nocapture", "--test-threads=1"]);
    command.env(ORDERS, format!("{from} {to} {}", folder.display())).env("GGML_NO_BACKTRACE", "1");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    let mut report = Report { passed: 0, died_at: Some(from) };
    // The harness writes lines, too.
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if let Some((_, seed)) = line.split_once("trying ") {
            report = Report { passed: report.passed + 1, died_at: seed.parse().ok() };
        } else if line.contains("done") {
            report.died_at = None;
        }
    }
    child.wait().unwrap();
    report
}

/// The child's side.
fn be_child(orders: &str) {
    let mut words = orders.splitn(3, ' ');
    let [from, to] = [(); 2].map(|()| words.next().unwrap().parse::<u64>().unwrap());
    let folder = Path::new(words.next().unwrap());
    let whole = folder.join("tiny.gguf");
    let header = Header::read(&whole).unwrap();
    let data = fs::read(&whole).unwrap().split_off(header.data_start as usize);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let copy = folder.join("changed.gguf");
    for seed in from..to {
        let Some(bytes) = changed(&mut Random(seed), &header) else { continue };
        // A new file each time: the old one may still be mapped.
        let _none = fs::remove_file(&copy);
        fs::write(&copy, [&bytes[..], &data].concat()).unwrap();
        if check::file(&copy).is_err() {
            continue;
        }
        println!("trying {seed}");
        crash::end_after(PATIENCE);
        let _either = verify::step(std::slice::from_ref(&copy), 1);
        if seed % CLASSIFY_EVERY == 0 {
            classify(&copy, &runtime);
        }
    }
    println!("done");
}

fn classify(model: &Path, runtime: &Runtime) {
    let options = LoadOptions { context: 512, batch: 256, threads: Some(1), ..LoadOptions::default() };
    if let Ok(classifier) = load(model, options) {
        let input = Input::new(RawInput { comment: "좋아요 😀 ㅋㅋ", ..RawInput::default() }).unwrap();
        let _either = runtime.block_on(classifier.classify(&input, Options::default()));
    }
}

/// How many copies of a model passed the check, and which of them ended their process.
fn try_copies(fixture: &str, copies: u64) -> (u64, Vec<String>) {
    let tiny = Tiny::of(fixture);
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    fs::copy(tiny.path("tiny.gguf"), folder.path().join("tiny.gguf")).unwrap();
    let (mut passed, mut faults, mut next) = (0, Vec::new(), 0);
    while next < copies {
        let to = copies.min(next + PER_CHILD);
        let report = run_child(folder.path(), next, to);
        passed += report.passed;
        next = report.died_at.map_or(to, |seed| seed + 1);
        faults.extend(report.died_at.map(|seed| format!("{fixture} {seed}")));
    }
    (passed, faults)
}

#[test]
fn what_passes_the_check_does_no_harm() {
    if let Ok(orders) = std::env::var(ORDERS) {
        return be_child(&orders);
    }
    let copies = std::env::var("HOSTILE_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(COPIES);
    let begun = Instant::now();
    let fixtures = ["checkpoint", "gemma3"];
    let running = fixtures.map(|fixture| thread::spawn(move || try_copies(fixture, copies)));
    let (mut passed, mut faults) = (0, Vec::new());
    for (n, found) in running.map(|thread| thread.join().unwrap()) {
        passed += n;
        faults.extend(found);
    }
    let tried = copies * fixtures.len() as u64;
    let rate = tried as f64 / begun.elapsed().as_secs_f64();
    println!(
        "{passed} of {tried} changed files passed the check ({rate:.0} files per second); {} of them ended llama.cpp",
        faults.len()
    );
    assert!(passed > tried / 40, "only {passed} files passed: nothing was tried");
    let named: Vec<_> = faults.iter().take(10).collect();
    assert!(faults.is_empty(), "{} files ended llama.cpp: {named:?}", faults.len());
}
