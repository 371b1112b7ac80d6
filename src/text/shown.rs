//! Text from outside as a message may show it: control characters escaped, cut at a stated length.

use std::path::Path;

/// Characters of a text at most, before it is cut.
const TEXT_CHARS: usize = 100;
/// Characters of a path at most: the end is kept.
const PATH_CHARS: usize = 200;
/// Characters of a library's message at most.
const MESSAGE_CHARS: usize = 300;
/// Names of a list at most; the rest is counted.
const LIST_NAMES: usize = 10;
/// Characters of a list at most, whatever the number of its names.
const LIST_CHARS: usize = 200;

/// A text from outside: at most 100 characters, control characters and invisible marks escaped.
pub fn shown(text: &str) -> String {
    cut(text, TEXT_CHARS)
}

/// A library's message, which may quote a text from outside: at most 300 characters, escaped as [`shown`] does.
pub fn shown_message(text: &str) -> String {
    cut(text, MESSAGE_CHARS)
}

/// A path: at most its last 200 characters, escaped as [`shown`] does.
pub fn shown_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    let escaped = escape(text.chars());
    let n_chars = escaped.chars().count();
    if n_chars <= PATH_CHARS {
        return escaped;
    }
    let end: String = escaped.chars().skip(n_chars - PATH_CHARS).collect();
    format!("…{end}")
}

/// Names from outside: at most ten, and how many more there are.
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let mut out = String::new();
    for (i, name) in names.iter().enumerate() {
        let name = shown(name.as_ref());
        if i == LIST_NAMES || (i > 0 && out.chars().count() + name.chars().count() > LIST_CHARS) {
            return format!("{out} and {} more", names.len() - i);
        }
        if i > 0 {
            out.push_str(", ");
        }
        out.push_str(&name);
    }
    out
}

fn cut(text: &str, most: usize) -> String {
    let escaped = escape(text.chars().take(most + 1));
    match escaped.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &escaped[..end]),
        None => escaped,
    }
}

fn escape(chars: impl Iterator<Item = char>) -> String {
    let mut out = String::new();
    for c in chars {
        if super::escape::acts(c) || is_invisible(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Marks that show nothing, or turn the direction of what follows.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let check = |text: &str, expect: &str| assert_eq!(shown(text), expect);
        check("댓글", "댓글");
        check("a\u{1b}]0;title\u{7}\n", "a\\u{1b}]0;title\\u{7}\\n");
        check("a\u{202e}b\u{9b}", "a\\u{202e}b\\u{9b}");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(shown(&"가".repeat(100)), "가".repeat(100));
        assert_eq!(shown(&"가".repeat(101)), format!("{}…", "가".repeat(100)));
        assert_eq!(shown(&"\0".repeat(5000)).chars().count(), 101);
        let path = shown_path(Path::new(&format!("{}/end", "d".repeat(500))));
        assert!(path.ends_with("/end") && path.chars().count() == 201, "{path}");
    }

    #[test]
    fn lists_name_ten_and_count_the_rest() {
        let names: Vec<String> = (0..200).map(|i| format!("t{i}")).collect();
        assert_eq!(listed(&names[..3]), "t0, t1, t2");
        assert_eq!(listed(&names), "t0, t1, t2, t3, t4, t5, t6, t7, t8, t9 and 190 more");
        let long: Vec<String> = (0..20).map(|i| format!("{i}{}", "x".repeat(90))).collect();
        let list = listed(&long);
        assert!(list.ends_with(" and 18 more") && list.chars().count() < 220, "{list}");
        assert_eq!(listed::<&str>(&[]), "");
    }
}
