//! Each refusal that a user can meet is explained in `docs/troubleshooting.md`.

use crate::support::{root, source_files};

/// The string literals that follow `#[error(`, with their escapes undone.
fn messages(code: &str) -> Vec<String> {
    let after = |(at, word): (usize, &str)| code[at + word.len()..].trim_start().strip_prefix('"');
    let literal = |text: &str| {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => match chars.next() {
                    Some('n') => out.push('\n'),
                    Some(c) => out.push(c),
                    None => break,
                },
                c => out.push(c),
            }
        }
        out
    };
    code.match_indices("#[error(").filter_map(after).map(literal).collect()
}

/// The longest part of a message between its placeholders.
fn fixed_part(message: &str) -> String {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    let mut chars =
        message.replace("{{", "\u{1}").replace("}}", "\u{2}").chars().collect::<Vec<_>>().into_iter();
    for c in chars.by_ref() {
        match c {
            '{' => {
                depth += 1;
                parts.push(String::new());
            }
            '}' => depth -= 1,
            c if depth == 0 => parts.last_mut().unwrap().push(match c {
                '\u{1}' => '{',
                '\u{2}' => '}',
                c => c,
            }),
            _ => {}
        }
    }
    let longest = parts.into_iter().max_by_key(|part| part.chars().count()).unwrap();
    one_space(&longest)
}

fn one_space(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_message_is_in_the_guide() {
    let guide = one_space(&std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap());
    let mut missing = Vec::new();
    let mut seen = 0;
    for path in source_files() {
        let code = std::fs::read_to_string(&path).unwrap();
        for part in messages(&code).iter().map(|m| fixed_part(m)).filter(|p| p.chars().count() >= 8) {
            seen += 1;
            if !guide.contains(&part) {
                missing.push(format!("{}: {part}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(seen > 80, "only {seen} messages found");
    assert!(missing.is_empty(), "docs/troubleshooting.md does not explain:\n{}", missing.join("\n"));
}

#[test]
fn messages_are_read_from_code() {
    let code = r##"#[error("cannot read {path}: {source}")] #[error(transparent)] #[error(
        "say \"{{x}}\" once; {0} is wrong"
    )]"##;
    let found: Vec<String> = messages(code).iter().map(|m| fixed_part(m)).collect();
    assert_eq!(found, ["cannot read", "say \"{x}\" once;"]);
}
