//! The house rules: which room may use which, as the table in `src/lib.rs` says, and no circles of files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::support::{root, source_files};

/// The crate beneath all rooms: its files are one more room.
const KERNELS: &str = "kernels";

/// A file of `src/`, or of `kernels/src/`.
struct Source {
    /// Its module, as `["convert", "input", "tensor"]`; empty for `lib.rs`. Those of the kernels' crate begin with
    /// [`KERNELS`].
    module: Vec<String>,
    /// Its path in the repository.
    path: String,
    /// Its code, without tests and comments.
    code: String,
    /// Whether its modules' files lie in its folder (`mod.rs`, `lib.rs`).
    is_parent: bool,
}

fn without_tests_and_comments(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code = code.split("#[cfg(test)]\n#[path").next().unwrap();
    let lines = code.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

fn sources() -> Vec<Source> {
    let read = |path: PathBuf| {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        module.retain(|part| part != "src");
        let is_parent = matches!(module.last().unwrap().as_str(), "mod" | "lib");
        if is_parent {
            module.pop();
        }
        let code = without_tests_and_comments(&std::fs::read_to_string(&path).unwrap());
        Source { module, path: name, code, is_parent }
    };
    let is_code =
        |path: &PathBuf| !path.ends_with("main.rs") && !path.to_string_lossy().ends_with("_tests.rs");
    source_files().into_iter().filter(is_code).map(read).collect()
}

/// The identifiers of `a::b::{c, d::e}` as paths, from what follows the first name.
fn leaves(text: &str) -> Vec<Vec<String>> {
    let text = text.trim();
    let name: String = text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let rest = &text[name.len()..];
    if name.is_empty() {
        let Some(inner) = text.strip_prefix('{') else { return vec![Vec::new()] };
        return split_list(inner).iter().flat_map(|item| leaves(item)).collect();
    }
    let tails = rest.strip_prefix("::").map_or_else(|| vec![Vec::new()], leaves);
    tails.into_iter().map(|tail| std::iter::once(name.clone()).chain(tail).collect()).collect()
}

/// The items of a brace's inside, up to its end.
fn split_list(inner: &str) -> Vec<String> {
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        items.last_mut().unwrap().push(c);
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

/// Where `word` begins a path in `code`, what follows from there.
fn paths_from<'a>(code: &'a str, word: &str) -> Vec<&'a str> {
    let start = format!("{word}::");
    let begins = |at: usize| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    };
    code.match_indices(&start).filter(|(at, _)| begins(*at)).map(|(at, _)| &code[at..]).collect()
}

/// The files that each file uses, by index.
fn edges(all: &[Source]) -> Vec<BTreeSet<usize>> {
    let by_module: BTreeMap<&[String], usize> =
        all.iter().enumerate().map(|(i, s)| (s.module.as_slice(), i)).collect();
    let target =
        |path: &[String]| (0..=path.len()).rev().find_map(|n| by_module.get(&path[..n]).copied()).unwrap();
    let uses = |(i, source): (usize, &Source)| {
        let mut used = BTreeSet::new();
        let mut add = |base: &[String], text: &str, skip: usize| {
            for leaf in leaves(text) {
                let path: Vec<String> = base.iter().cloned().chain(leaf.into_iter().skip(skip)).collect();
                used.insert(target(&path));
            }
        };
        let parent = source.module.split_last().map_or(&[][..], |(_, parent)| parent);
        let kernels = [KERNELS.to_owned()];
        let own = if source.module.starts_with(&kernels) { &kernels[..] } else { &[] };
        paths_from(&source.code, "crate").iter().for_each(|text| add(own, text, 1));
        paths_from(&source.code, "ko_sentiment_kernels").iter().for_each(|text| add(&kernels, text, 1));
        paths_from(&source.code, "super").iter().for_each(|text| add(parent, text, 1));
        let children = all
            .iter()
            .filter(|s| source.is_parent && s.module.split_last().is_some_and(|(_, p)| p == source.module));
        for child in children {
            let name = child.module.last().unwrap();
            paths_from(&source.code, name).iter().for_each(|text| add(&source.module, text, 0));
            let from_self = format!("self::{name}");
            paths_from(&source.code, &from_self).iter().for_each(|text| add(&source.module, text, 1));
        }
        used.remove(&i);
        used
    };
    all.iter().enumerate().map(uses).collect()
}

/// The rooms of the table in `src/lib.rs`, and what each may use.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows: Vec<Vec<String>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! | [`"))
        .map(|line| line.split('|').map(str::to_owned).collect())
        .collect();
    let name = |row: &[String]| row[0].split('`').next().unwrap().to_owned();
    let names: Vec<String> = rows.iter().map(|row| name(row)).collect();
    let allowed = |row: &Vec<String>| {
        if row[2].contains("everything below") {
            return names.iter().cloned().collect();
        }
        let words = row[2].split('`').skip(1).step_by(2);
        let matching = |word: &str| {
            let below = word.strip_suffix('*').map(str::to_owned);
            let fits = |n: &&String| below.as_ref().map_or(**n == word, |below| n.starts_with(below));
            names.iter().filter(fits).cloned().collect::<Vec<_>>()
        };
        words.flat_map(matching).collect()
    };
    rows.iter().map(|row| (name(row), allowed(row))).collect()
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let (all, table) = (sources(), table());
    let room = |source: &Source| {
        let names = (1..=source.module.len()).rev().map(|n| source.module[..n].join("::"));
        names.into_iter().find(|name| table.contains_key(name))
    };
    let mut faults = Vec::new();
    for (source, used) in all.iter().zip(edges(&all)) {
        let Some(from) = room(source) else {
            if !source.module.is_empty() {
                faults.push(format!("{} is in no room: give its folder a row in src/lib.rs", source.path));
            }
            continue;
        };
        for to in used.into_iter().filter_map(|i| room(&all[i]).filter(|to| *to != from)) {
            if !table[&from].contains(&to) {
                faults.push(format!(
                    "{} uses `{to}`, which the row of `{from}` in src/lib.rs does not allow: take that use out, or add `{to}` to the row",
                    source.path
                ));
            }
        }
    }
    assert!(table.len() > 10 && faults.is_empty(), "{faults:#?}");
}

/// A circle of files, if there is one.
fn circle(edges: &[BTreeSet<usize>]) -> Option<Vec<usize>> {
    fn visit(
        at: usize,
        edges: &[BTreeSet<usize>],
        path: &mut Vec<usize>,
        done: &mut [bool],
    ) -> Option<Vec<usize>> {
        if let Some(start) = path.iter().position(|p| *p == at) {
            return Some(path[start..].to_vec());
        }
        if done[at] {
            return None;
        }
        path.push(at);
        let found = edges[at].iter().find_map(|next| visit(*next, edges, path, done));
        path.pop();
        done[at] = true;
        found
    }
    let mut done = vec![false; edges.len()];
    (0..edges.len()).find_map(|i| visit(i, edges, &mut Vec::new(), &mut done))
}

#[test]
fn no_files_need_each_other() {
    let all = sources();
    if let Some(found) = circle(&edges(&all)) {
        let names: Vec<&str> = found.iter().map(|i| all[*i].path.as_str()).collect();
        panic!("these files need each other; move what they share beneath them: {}", names.join(" -> "));
    }
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let paths = |text: &str| leaves(text).into_iter().map(|p| p.join("::")).collect::<Vec<_>>();
    assert_eq!(paths("crate::a::{b, c::{d, e}};"), ["crate::a::b", "crate::a::c::d", "crate::a::c::e"]);
    assert_eq!(paths("super::x(1)"), ["super::x"]);
    assert_eq!(paths_from("mycrate::a crate::b self::crate::c", "crate"), ["crate::b self::crate::c"]);
    let ring = [BTreeSet::from([1]), BTreeSet::from([2]), BTreeSet::from([1])];
    assert_eq!(circle(&ring), Some(vec![1, 2]));
    assert_eq!(circle(&ring[..1].iter().cloned().chain([BTreeSet::new()]).collect::<Vec<_>>()), None);
}

#[test]
fn llama_cpp_the_wire_and_the_terminal_have_one_place_each() {
    let all = sources();
    let check = |places: &[&str], words: &[&str]| {
        for source in all.iter().filter(|s| !places.iter().any(|p| s.path.starts_with(&format!("src/{p}")))) {
            let found = source.code.lines().find(|line| words.iter().any(|word| line.contains(word)));
            assert!(found.is_none(), "{} has {found:?}, which belongs in {places:?}", source.path);
        }
    };
    let llama = ["llama/", "convert/quantise/quant.rs", "convert/finish/verify.rs", "telemetry/"];
    check(&llama, &["llama_cpp_2", "llama_cpp_sys_2"]);
    check(&["grpc/", "telemetry/otlp/"], &["tonic", "pb::"]);
    check(&["cli/"], &["println!", "eprintln!", "print!("]);
    check(&["cli/", "grpc/", "engine/", "sentiment/", "ask/", "eval/", "telemetry/"], &["tokio::"]);
}
