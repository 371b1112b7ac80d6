//! Fields of a TSV file, which has no quoting: a text with a tab or a line break is written as `$'a\tb\nc'`, as shells
//! write it (ANSI-C quoting).
//!
//! Only such a field is read back as what it stands for. Fields of other people's files are texts as they are, with
//! their quotes and backslashes.

use std::borrow::Cow;

/// What stands between `$'` and `'` for a character.
const ESCAPES: [(char, char); 5] = [('\\', '\\'), ('\'', '\''), ('\t', 't'), ('\n', 'n'), ('\r', 'r')];

/// The field for a text.
pub fn field(text: &str) -> Cow<'_, str> {
    if !text.contains(['\t', '\n', '\r']) && unescaped(text).is_none() {
        return text.into();
    }
    let mut field = String::from("$'");
    for c in text.chars() {
        match ESCAPES.iter().find(|(plain, _)| *plain == c) {
            Some((_, name)) => field.extend(['\\', *name]),
            None => field.push(c),
        }
    }
    field.push('\'');
    field.into()
}

/// The text that an escaped field stands for; `None` for any other field, which is its own text.
pub fn unescaped(field: &str) -> Option<String> {
    let inner = field.strip_prefix("$'")?.strip_suffix('\'')?;
    let (mut text, mut any) = (String::with_capacity(inner.len()), false);
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\'' => return None,
            '\\' => {
                any = true;
                let name = chars.next()?;
                ESCAPES.iter().find(|(_, known)| *known == name)?.0
            }
            plain => plain,
        });
    }
    any.then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_with_tabs_and_line_breaks_are_escaped() {
        let check = |text: &str, expect: &str| {
            assert_eq!(field(text), expect);
            assert_eq!(unescaped(expect).as_deref(), (text != expect).then_some(text));
        };
        check("두 줄\n이고\t탭", r"$'두 줄\n이고\t탭'");
        check("it's\r\n\\o/", r"$'it\'s\r\n\\o/'");
        check("\n", r"$'\n'");
        // What others wrote so is a text that looks escaped.
        check(r"$'a\tb'", r"$'$\'a\\tb\''");
        for plain in ["", "좋아요", r"\n", "\"인용\"", "$'", "$''", "$'돈'", r"$'a\x'", r"$'a'\n'", r"$'a\'"]
        {
            check(plain, plain);
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "[$'\\\\\t\n\rntr가a ]{0,12}") {
            let field = field(&text).into_owned();
            prop_assert!(!field.contains(['\t', '\n', '\r']));
            prop_assert_eq!(unescaped(&field).unwrap_or(field), text);
        }
    }
}
