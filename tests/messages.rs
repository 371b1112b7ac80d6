//! Text from outside is shown escaped: paths everywhere in `src/`, and the texts that errors hold.

use std::collections::BTreeMap;

use crate::support::{root, source_files};

/// Fields of errors that hold sentences of ours; what these show of outside text is escaped where they are made.
const SENTENCES: [&str; 10] =
    ["reason", "fault", "what", "expected", "found", "wanted", "seen", "first", "example", "state"];
const ESCAPING: &str = "`shown`, `shown_path` or `listed` of src/text/shown.rs";

/// A file's code, without its tests.
fn code_of(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap()
}

/// An error's message, its arguments, and the types of the variant's fields by name or place.
struct Message<'a> {
    format: String,
    arguments: &'a str,
    fields: BTreeMap<String, String>,
}

/// The part of `code` up to the bracket that closes it; strings may hold brackets.
fn enclosed(code: &str, open: char, close: char) -> &str {
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in code.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            c if c == open => depth += 1,
            c if c == close && depth == 0 => return &code[..at],
            c if c == close => depth -= 1,
            _ => {}
        }
    }
    code
}

fn literal(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let end = inner.match_indices('"').map(|(at, _)| at).find(|at| !inner[..*at].ends_with('\\'))?;
    Some((inner[..end].to_owned(), &inner[end + 1..]))
}

/// The fields of the variant that follows an attribute.
fn fields(after: &str) -> BTreeMap<String, String> {
    let lines = after.lines().map(str::trim).filter(|line| !line.starts_with("///"));
    let text: String = lines.collect::<Vec<_>>().join("\n");
    let body = text.trim_start_matches(|c: char| c.is_alphanumeric() || c.is_whitespace());
    let without_attribute = |field: &str| field.rsplit("] ").next().unwrap().trim().to_owned();
    match body.chars().next() {
        Some('(') => {
            let types = enclosed(&body[1..], '(', ')').split(',').map(without_attribute);
            types.enumerate().map(|(i, kind)| (i.to_string(), kind)).collect()
        }
        Some('{') => {
            let rows = enclosed(&body[1..], '{', '}').split(",\n").filter_map(|row| row.split_once(": "));
            rows.map(|(name, kind)| (name.trim().to_owned(), kind.trim().to_owned())).collect()
        }
        _ => BTreeMap::new(),
    }
}

fn messages(code: &str) -> Vec<Message<'_>> {
    let message = |(at, word): (usize, &str)| {
        let inside = enclosed(&code[at + word.len()..], '(', ')');
        let (format, arguments) = literal(inside.trim_start())?;
        let after = &code[at + word.len() + inside.len()..];
        Some(Message { format, arguments, fields: fields(after.trim_start_matches(")]")) })
    };
    code.match_indices("#[error(").filter_map(message).collect()
}

/// The names in the format's braces that are shown as they are: `{name}`, not `{name:?}`.
fn shown_as_they_are(format: &str) -> Vec<&str> {
    let after = format.split('{').skip(1);
    after.filter_map(|part| Some(&part[..part.find('}')?])).filter(|name| !name.contains(':')).collect()
}

/// The fields of a message that need escaping and have none.
fn unescaped(message: &Message<'_>) -> Vec<String> {
    let is_text = |name: &str| {
        let kind = message.fields.get(name).map(String::as_str);
        let kind = kind.unwrap_or_default();
        let path = kind.contains("Path");
        path || (kind.contains("String") || kind.contains("str>")) && !SENTENCES.contains(&name)
    };
    let whole = |name: &str| message.format == format!("{{{name}}}");
    let escaped = |name: &str| message.arguments.contains(&format!("{name} = "));
    let names = shown_as_they_are(&message.format).into_iter();
    names.filter(|name| is_text(name) && !whole(name) && !escaped(name)).map(str::to_owned).collect()
}

#[test]
fn text_from_outside_is_escaped() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for path in source_files() {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let code = code_of(&text);
        for line in code.lines().filter(|line| line.contains(".display()")) {
            faults.push(format!("{name}: `{}`: show a path by `shown_path(path)`", line.trim()));
        }
        for message in messages(code) {
            seen += 1;
            for field in unescaped(&message) {
                let format = &message.format;
                faults.push(format!(
                    "{name}: `{{{field}}}` of \"{format}\" comes from outside: show it by {ESCAPING}, as in \
                     `#[error(\"… {{name}} …\", name = shown(name))]`; a sentence of ours is a field called {}",
                    SENTENCES.join(", ")
                ));
            }
        }
    }
    assert!(seen > 150, "only {seen} messages found");
    assert!(faults.is_empty(), "{} places:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn what_is_not_escaped_is_found() {
    let check = |code: &str, expect: &[&str]| {
        let found: Vec<String> = messages(code).iter().flat_map(unescaped).collect();
        assert_eq!(found, expect, "{code}");
    };
    check("#[error(\"no {name}\")]\nNo {\n/// It.\nname: String,\n}", &["name"]);
    check("#[error(\"no {name}\", name = shown(name))]\nNo {\nname: String,\n}", &[]);
    check("#[error(\"no {name:?}: {n}\")]\nNo {\nname: String,\nn: usize,\n}", &[]);
    check("#[error(\"{0}\")]\nNo(String),", &[]);
    check("#[error(\"{0} (a) {reason}\")]\nNo(PathBuf, String),", &["0"]);
    check("#[error(\n\"at {at}: {reason}\"\n)]\n/// One.\nNo {\nat: Box<str>,\nreason: String,\n}", &["at"]);
}
