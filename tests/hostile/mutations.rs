//! What the check lets through must not end llama.cpp: changed copies of tiny models are loaded, and asked
//! about a comment, in a child process.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ko_sentiment::gguf::tensor_type::TensorType;
use ko_sentiment::gguf::{Array, Header, Value, check};
use ko_sentiment::load::{LoadOptions, load};
use ko_sentiment::sentiment::classify::Options;
use ko_sentiment::sentiment::input::{Input, RawInput};

use super::Tiny;

const NAME: &str = "hostile::mutations::what_passes_the_check_does_no_harm";
const CHILD: &str = "KO_TEST_LOADER";
/// Copies of each model; `make test-hostile` asks for more.
const COPIES: u64 = 150;

/// Splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

/// A value that a loader may stumble over.
fn value(random: &mut Random) -> Value {
    let n = random.pick(&[
        0u32,
        1,
        2,
        3,
        4,
        6,
        7,
        8,
        16,
        31,
        32,
        63,
        64,
        65,
        255,
        256,
        257,
        512,
        513,
        1024,
        1 << 16,
        1 << 31,
        u32::MAX,
    ]);
    let x = random.pick(&[
        0.0f32,
        -0.0,
        -1.0,
        1.0,
        1e-6,
        1e-45,
        0.5,
        8.0,
        1e30,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
    ]);
    let text = random.pick(&[
        "", "linear", "none", "yarn", "longrope", "llama", "gpt2", "bert", "gemma2", "gemma3", "<mask>",
        "phi-3",
    ]);
    match random.below(12) {
        0..=4 => Value::U32(n),
        5 | 6 => Value::F32(x),
        7 => Value::Str(text.to_owned()),
        8 => Value::Bool(n.is_multiple_of(2)),
        9 => Value::Array(Array::from_i32s(&vec![n as i32; random.below(5)])),
        10 => Value::U64(n.into()),
        _ => Value::Array(Array::from_f32s(&vec![x; random.below(5)])),
    }
}

/// A key that the loader reads, present or not.
fn key(random: &mut Random, header: &Header) -> String {
    let architecture = header.architecture().unwrap_or("gemma2").to_owned();
    let known = random.pick(&[
        "context_length",
        "embedding_length",
        "block_count",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "attention.key_length_swa",
        "attention.value_length_swa",
        "attention.layer_norm_rms_epsilon",
        "attention.sliding_window",
        "attention.sliding_window_pattern",
        "attention.causal",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "rope.freq_base",
        "rope.freq_base_swa",
        "rope.dimension_count",
        "rope.dimension_count_swa",
        "rope.scaling.type",
        "rope.scaling.factor",
        "rope.scale_linear",
        "rope.scaling.attn_factor",
        "rope.scaling.original_context_length",
        "rope.scaling.finetuned",
        "expert_count",
        "expert_used_count",
        "expert_group_count",
        "expert_group_used_count",
        "nextn_predict_layers",
        "pooling_type",
        "classifier.pooling_type",
        "embedding_length_out",
        "classifier.output_labels",
        "dense_2_feat_out",
        "dense_3_feat_in",
    ]);
    let present: Vec<&str> = header.metadata.iter().map(|(key, _)| key).collect();
    match random.below(4) {
        0 => present[random.below(present.len())].to_owned(),
        1 => random
            .pick(&[
                "general.alignment",
                "split.count",
                "split.no",
                "general.tensor_extra.name",
                "tokenizer.ggml.suppress_tokens",
                "tokenizer.ggml.eot_token_id",
                "tokenizer.ggml.token_type_count",
                "tokenizer.ggml.pre",
                "tokenizer.chat_template",
                "general.file_type",
            ])
            .to_owned(),
        _ => format!("{architecture}.{known}"),
    }
}

/// Changes the vocabulary in one place.
fn change_tokens(random: &mut Random, header: &mut Header) {
    let key = "tokenizer.ggml.tokens";
    let Some(tokens) = header.metadata.get(key).and_then(Value::as_array) else { return };
    let mut texts: Vec<Vec<u8>> = tokens.strings().map(<[u8]>::to_vec).collect();
    let (at, from) = (random.below(texts.len()), random.below(texts.len()));
    match random.below(6) {
        0 => texts.swap(at, from),
        1 => texts[at] = texts[from].clone(),
        2 => texts[at].clear(),
        3 => {
            texts[at] = random
                .pick(&[&b"<0xFF>"[..], b"<0x", b"\xff", b"a\0b", b"[EMPTY_7]", b"</s>", b"<|end|>"])
                .to_vec()
        }
        4 => texts.truncate(at),
        _ => texts[at].extend(vec![b'a'; random.below(9000)]),
    }
    header.metadata.set(key, Value::Array(Array::from_strings(texts)));
}

fn change_types(random: &mut Random, header: &mut Header) {
    let key = "tokenizer.ggml.token_type";
    let Some(types) = header.metadata.get(key).and_then(Value::as_array) else { return };
    let mut types: Vec<i32> = types.i32s().collect();
    let at = random.below(types.len());
    types[at] = random.pick(&[0, 1, 2, 3, 4, 5, 6, 7, -1]);
    header.metadata.set(key, Value::Array(Array::from_i32s(&types)));
}

fn change_tensor(random: &mut Random, header: &mut Header) {
    let at = random.below(header.tensors.len());
    let other = header.tensors[random.below(header.tensors.len())].clone();
    match random.below(5) {
        0 => header.tensors[at].name = other.name,
        1 => header.tensors[at].shape = other.shape,
        2 => header.tensors[at].shape.reverse(),
        3 => header.tensors[at].tensor_type = random.pick(&TensorType::ALL),
        _ => drop(header.tensors.remove(at)),
    }
}

/// The bytes of a header after one to three changes.
fn changed(random: &mut Random, whole: &Header) -> Vec<u8> {
    let mut header = whole.clone();
    for _ in 0..=random.below(3) {
        match random.below(8) {
            0 => change_tokens(random, &mut header),
            1 => change_types(random, &mut header),
            2 => change_tensor(random, &mut header),
            3 => {
                let gone = key(random, &header);
                header.metadata.remove(|key| key == gone);
            }
            _ => {
                let (key, value) = (key(random, &header), value(random));
                header.metadata.set(key, value);
            }
        }
    }
    let mut bytes = header.encode();
    if random.below(5) == 0 {
        let at = random.below(bytes.len());
        bytes[at] = random.next() as u8;
    }
    bytes
}

/// A process that loads the files that it is told of.
struct Loader {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Loader {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", NAME, "--nocapture", "--test-threads=1"]).env(CHILD, "1");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, orders, answers }
    }

    /// Whether the process is still there after it was asked about the file.
    fn survives(&mut self, path: &Path) -> bool {
        let told = writeln!(self.orders, "{}", path.display()).and_then(|()| self.orders.flush());
        if told.is_err() {
            return false;
        }
        loop {
            let mut line = String::new();
            match self.answers.read_line(&mut line) {
                Ok(0) | Err(_) => return false,
                // The harness writes lines, too.
                Ok(_) if line.contains("tried") => return true,
                Ok(_) => {}
            }
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The child's side: loads, and asks.
fn be_loader() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for path in std::io::stdin().lines() {
        let options = LoadOptions { context: 512, batch: 256, threads: Some(1), ..LoadOptions::default() };
        if let Ok(classifier) = load(Path::new(&path.unwrap()), options) {
            let input = Input::new(RawInput { comment: "좋아요 😀 ㅋㅋ", ..RawInput::default() }).unwrap();
            let _either = runtime.block_on(classifier.classify(&input, Options::default()));
        }
        println!("tried");
    }
}

#[test]
fn what_passes_the_check_does_no_harm() {
    if std::env::var_os(CHILD).is_some() {
        return be_loader();
    }
    let copies = std::env::var("HOSTILE_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(COPIES);
    let mut loader = Loader::start();
    let mut faults = Vec::new();
    let mut passed = 0;
    for fixture in ["checkpoint", "gemma3"] {
        let tiny = Tiny::of(fixture);
        for seed in 0..copies {
            let bytes = changed(&mut Random(seed), &tiny.header);
            let path = tiny.path("changed.gguf");
            fs::write(&path, [bytes, tiny.data.clone()].concat()).unwrap();
            if check::file(&path).is_err() {
                continue;
            }
            passed += 1;
            if !loader.survives(&path) {
                faults.push(format!("{fixture} {seed}"));
                loader = Loader::start();
            }
        }
    }
    println!("{passed} of {} changed files passed the check", 2 * copies);
    assert!(passed > copies / 20, "only {passed} files passed: nothing was tried");
    let named: Vec<_> = faults.iter().take(10).collect();
    assert!(faults.is_empty(), "{} files ended llama.cpp: {named:?}", faults.len());
}
