//! Token bytes to whole characters: a token may end in the middle of one.

/// Collects bytes and gives back whole characters.
#[derive(Debug, Default)]
pub struct Utf8Assembler {
    pending: Vec<u8>,
}

impl Utf8Assembler {
    /// Takes some bytes and returns all characters that are complete by now.
    /// Bytes that can't be part of any character come out as U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                }
                Err(error) => {
                    let (valid, tail) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    match error.error_len() {
                        Some(bad) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = &tail[bad..];
                        }
                        None => {
                            rest = tail;
                            break;
                        }
                    }
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }

    /// Ends the text: a character begun and never finished comes out as U+FFFD.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_come_out_whole() {
        let check = |pieces: &[&[u8]], expect: &[&str]| {
            let mut utf8 = Utf8Assembler::default();
            let mut out: Vec<String> = pieces.iter().map(|p| utf8.push(p)).collect();
            out.push(utf8.finish());
            assert_eq!(out, expect, "{pieces:?}");
        };
        check(&["정말".as_bytes()], &["정말", ""]);
        check(&[b"\xea", b"\xb0", b"\x80!"], &["", "", "가!", ""]);
        // 👨‍👩‍👧 split inside its joiner
        check(&[b"\xf0\x9f\x91\xa8\xe2", b"\x80\x8d\xf0\x9f\x91\xa9"], &["👨", "\u{200d}👩", ""]);
        check(&[b"\xff", b"a"], &["\u{fffd}", "a", ""]);
        check(&[b"a\xea\xb0"], &["a", "\u{fffd}"]);
        // A character begun, then something else.
        check(&[b"\xea", b"a"], &["", "\u{fffd}a", ""]);
    }

    proptest! {
        #[test]
        fn cutting_anywhere_loses_nothing(text: String, cuts: Vec<prop::sample::Index>) {
            let bytes = text.as_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|i| i.index(bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let mut utf8 = Utf8Assembler::default();
            let mut out: String = at.windows(2).map(|w| utf8.push(&bytes[w[0]..w[1]])).collect();
            out += &utf8.finish();
            prop_assert_eq!(out, text);
        }
    }
}
