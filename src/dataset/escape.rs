//! Fields of a TSV file that is written without quoting: a text with a tab or a line break is written as
//! `$'a\tb\nc'`, as shells write it (ANSI-C quoting), and so is one that begins with `"`, which a program that knows
//! quoting would take away.
//!
//! Only such a field is read back as what it stands for. Fields of other people's files are texts as they are, with
//! their quotes and backslashes.

use std::borrow::Cow;

/// What stands between `$'` and `'` for a character.
const ESCAPES: [(char, char); 6] =
    [('\\', '\\'), ('\'', '\''), ('"', '"'), ('\t', 't'), ('\n', 'n'), ('\r', 'r')];

/// The field for a text.
pub fn field(text: &str) -> Cow<'_, str> {
    if !text.contains(['\t', '\n', '\r']) && !text.starts_with('"') && unescaped(text).is_none() {
        return text.into();
    }
    let mut field = String::from("$'");
    for (at, c) in text.char_indices() {
        match ESCAPES.iter().find(|(plain, _)| *plain == c) {
            // A later quotation mark needs no escape.
            Some((_, name)) if c != '"' || at == 0 => field.extend(['\\', *name]),
            _ => field.push(c),
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
    fn texts_that_are_no_fields_are_escaped() {
        let check = |text: &str, expect: &str| {
            assert_eq!(field(text), expect);
            assert_eq!(unescaped(expect).as_deref(), (text != expect).then_some(text));
        };
        check("두 줄\n이고\t탭", r"$'두 줄\n이고\t탭'");
        check("it's\r\n\\o/", r"$'it\'s\r\n\\o/'");
        check("\n", r"$'\n'");
        check("\"인용\" ㅋㅋ", r#"$'\"인용" ㅋㅋ'"#);
        check("\"", r#"$'\"'"#);
        // What others wrote so is a text that looks escaped.
        check(r"$'a\tb'", r"$'$\'a\\tb\''");
        for plain in
            ["", "좋아요", r"\n", "그 \"인용\"", "$'", "$''", "$'돈'", r"$'a\x'", r"$'a'\n'", r"$'a\'"]
        {
            check(plain, plain);
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "[$'\"\\\\\t\n\rntr가a ]{0,12}") {
            let field = field(&text).into_owned();
            prop_assert!(!field.contains(['\t', '\n', '\r']) && !field.starts_with('"'));
            prop_assert_eq!(unescaped(&field).unwrap_or(field), text);
        }
    }
}
