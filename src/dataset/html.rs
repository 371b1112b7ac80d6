//! Text from HTML as YouTube writes it in `textDisplay`.

/// The text that `html` shows: entities decoded, `<br>` as a line break, other tags without their marks.
pub fn shown(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(['&', '<']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let taken = if rest.starts_with('&') { entity(rest, &mut out) } else { tag(rest, &mut out) };
        // A mark that begins nothing is a letter.
        let taken = taken.unwrap_or_else(|| {
            out.push_str(&rest[..1]);
            1
        });
        rest = &rest[taken..];
    }
    out + rest
}

/// Decodes the entity that `text` begins with; its length.
fn entity(text: &str, out: &mut String) -> Option<usize> {
    let end = text.bytes().take(12).position(|b| b == b';')?;
    let c = match &text[1..end] {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        name => {
            let number = name.strip_prefix('#')?;
            let hex = number.strip_prefix(['x', 'X']).map(|digits| u32::from_str_radix(digits, 16));
            char::from_u32(hex.unwrap_or_else(|| number.parse()).ok()?)?
        }
    };
    out.push(c);
    Some(end + 1)
}

/// Reads over the tag that `text` begins with; its length.
fn tag(text: &str, out: &mut String) -> Option<usize> {
    let name = text[1..].trim_start_matches('/');
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let end = text.find('>')?;
    let name: String = name.chars().take_while(char::is_ascii_alphanumeric).collect();
    if name.eq_ignore_ascii_case("br") {
        out.push('\n');
    }
    Some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_youtube_writes_is_read() {
        let check = |html: &str, expect: &str| assert_eq!(shown(html), expect);
        check("I&#39;m happy<br>최고 &quot;진짜&quot;", "I'm happy\n최고 \"진짜\"");
        check("편집 &lt;&lt; 음악 &amp; 조명 &amp;lt;", "편집 << 음악 & 조명 &lt;");
        check("<a href=\"https://youtu.be/x?t=5&amp;a=b\">0:05</a> 여기<br/>요", "0:05 여기\n요");
        check("<b>굵게</b> <i>기울여</i>", "굵게 기울여");
        check("&#x1F600;&nbsp;", "😀\u{a0}");
        check("3 < 5 & 7 > 2 <3 &없음; &#99999999; &", "3 < 5 & 7 > 2 <3 &없음; &#99999999; &");
        check("<열림", "<열림");
    }
}
