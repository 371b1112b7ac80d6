//! Text in HTML, and in the reader's language.

/// The language of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Language {
    /// Korean.
    #[default]
    Ko,
    /// English.
    En,
}

impl Language {
    /// One of two texts.
    pub fn say<'a>(self, korean: &'a str, english: &'a str) -> &'a str {
        match self {
            Self::Ko => korean,
            Self::En => english,
        }
    }

    /// The name of a class, in the order of [`Sentiment::ALL`](crate::sentiment::labels::Sentiment::ALL).
    pub fn class(self, class: usize) -> &'static str {
        let names = match self {
            Self::Ko => ["긍정", "중립", "부정"],
            Self::En => ["positive", "neutral", "negative"],
        };
        names[class]
    }
}

/// Text between tags or in an attribute. Control characters, which a page may not have, are left out.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' => {}
            // Marks that turn the direction of what follows them.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c => out.push(c),
        }
    }
    out
}

/// A count with separators.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share in percent, with one digit.
pub fn percent(part: f64, whole: f64) -> String {
    format!("{:.1} %", 100.0 * part / whole.max(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text() {
        assert_eq!(escaped("<b>&\"'\u{7}\u{202e}좋아요"), "&lt;b&gt;&amp;&quot;&#39;좋아요");
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(percent(1.0, 3.0), "33.3 %");
        assert_eq!(percent(0.0, 0.0), "0.0 %");
    }
}
