//! A value as a cell shows it.

use std::borrow::Cow;

use crate::dataset::record::Value;

/// The value as text, as it was written; nothing is empty.
pub fn shown(value: &Value) -> &str {
    match value {
        Value::Null => "",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Text(text)
        | Value::Number(text)
        | Value::Date(text)
        | Value::Json(text)
        | Value::Error(text) => text,
    }
}

/// The value's text with an apostrophe before it if a spreadsheet would compute it. A number is none.
pub fn escaped(value: &Value) -> Cow<'_, str> {
    let text = shown(value);
    let is_text = !matches!(value, Value::Number(_) | Value::Bool(_) | Value::Date(_));
    if is_text && is_formula(text) { format!("'{text}").into() } else { text.into() }
}

/// Whether a spreadsheet would compute a text. Some read over spaces and line breaks before it.
pub fn is_formula(text: &str) -> bool {
    let begins = text.starts_with(['\t', '\r', '\n'])
        || text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    begins && text.parse::<f64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_texts_with_an_apostrophe() {
        let check = |text: &str, expect: &str| assert_eq!(escaped(&Value::Text(text.into())), expect);
        for text in ["=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1"] {
            check(text, &format!("'{text}"));
        }
        for text in ["좋아요", "", "-1", "+82", "-1.5e3", "1=1", "ㅋ@", "'=1"] {
            check(text, text);
        }
        assert_eq!(escaped(&Value::Number("-1".into())), "-1");
    }
}
