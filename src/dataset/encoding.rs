//! Bytes of a text file to UTF-8.
//!
//! The rule, without `--encoding`: a byte order mark decides. Without one, zeros mostly in every other byte
//! mean UTF-16. A text that is not UTF-8 is CP949 if its first MiB decodes as CP949 throughout and holds more
//! sequences that are wrong in UTF-8 than right ones of several bytes. All else is UTF-8.
//!
//! A sequence that is wrong in the file's encoding becomes a byte that is wrong in UTF-8, so that its row is
//! refused instead of altered.

use std::io::{self, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult, EUC_KR, UTF_16BE, UTF_16LE};

/// Bytes that the encoding is recognised from.
const HEAD: u64 = 1 << 20;
/// A byte that UTF-8 never has.
const WRONG: u8 = 0xff;

/// The encoding of a text file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Encoding {
    /// UTF-8, with or without a byte order mark.
    #[value(name = "utf-8", alias = "utf8")]
    Utf8,
    /// UTF-16, little-endian.
    #[value(name = "utf-16le", alias = "utf-16", alias = "utf16")]
    Utf16Le,
    /// UTF-16, big-endian.
    #[value(name = "utf-16be")]
    Utf16Be,
    /// CP949 (UHC), which includes EUC-KR.
    #[value(name = "cp949", alias = "euc-kr", alias = "euckr", alias = "ms949", alias = "uhc")]
    Cp949,
}

/// Input of any encoding as UTF-8, without byte order mark.
///
/// # Errors
/// The input cannot be read.
pub fn decoded(
    mut input: Box<dyn Read + Send>,
    encoding: Option<Encoding>,
) -> io::Result<Box<dyn Read + Send>> {
    let mut head = Vec::new();
    input.by_ref().take(HEAD).read_to_end(&mut head)?;
    let encoding = encoding.unwrap_or_else(|| recognised(&head));
    let mark: &[u8] = match encoding {
        Encoding::Utf8 => b"\xef\xbb\xbf",
        Encoding::Utf16Le => b"\xff\xfe",
        Encoding::Utf16Be => b"\xfe\xff",
        Encoding::Cp949 => b"",
    };
    let start = if head.starts_with(mark) { mark.len() as u64 } else { 0 };
    let mut head = Cursor::new(head);
    head.set_position(start);
    let whole = head.chain(input);
    let decoder = match encoding {
        Encoding::Utf8 => return Ok(Box::new(whole)),
        Encoding::Utf16Le => UTF_16LE.new_decoder_without_bom_handling(),
        Encoding::Utf16Be => UTF_16BE.new_decoder_without_bom_handling(),
        Encoding::Cp949 => EUC_KR.new_decoder_without_bom_handling(),
    };
    Ok(Box::new(Transcoder::new(whole, decoder)))
}

/// The encoding of a text that begins with `head`.
fn recognised(head: &[u8]) -> Encoding {
    match head {
        [0xef, 0xbb, 0xbf, ..] => return Encoding::Utf8,
        [0xff, 0xfe, ..] => return Encoding::Utf16Le,
        [0xfe, 0xff, ..] => return Encoding::Utf16Be,
        _ => {}
    }
    let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|b| **b == 0).count();
    match (zeros(0), zeros(1)) {
        // A letter such as 가 (U+AC00) has a zero on the other side.
        (few, many) if many > head.len() / 16 && 4 * few < many => return Encoding::Utf16Le,
        (many, few) if many > head.len() / 16 && 4 * few < many => return Encoding::Utf16Be,
        _ => {}
    }
    let (mut wrong, mut right) = (0, 0);
    for chunk in head.utf8_chunks() {
        right += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        wrong += usize::from(!chunk.invalid().is_empty());
    }
    if wrong > right && is_cp949(head) { Encoding::Cp949 } else { Encoding::Utf8 }
}

/// Whether all of `head`, which may end inside a character, is CP949.
fn is_cp949(head: &[u8]) -> bool {
    let mut decoder = EUC_KR.new_decoder_without_bom_handling();
    let mut out = vec![0; decoder.max_utf8_buffer_length_without_replacement(head.len()).unwrap_or(0)];
    let (result, ..) = decoder.decode_to_utf8_without_replacement(head, &mut out, false);
    result == DecoderResult::InputEmpty
}

/// Decodes while it is read.
struct Transcoder<R> {
    input: R,
    decoder: Decoder,
    raw: Vec<u8>,
    /// What of `raw` is not decoded yet.
    rest: std::ops::Range<usize>,
    ended: bool,
    out: Vec<u8>,
    given: usize,
}

impl<R: Read> Transcoder<R> {
    fn new(input: R, decoder: Decoder) -> Self {
        let (raw, out) = (vec![0; 32 << 10], Vec::new());
        Self { input, decoder, raw, rest: 0..0, ended: false, out, given: 0 }
    }

    /// Decodes more, until there is some output or the input has ended.
    fn refill(&mut self) -> io::Result<()> {
        self.out.clear();
        self.given = 0;
        while self.out.is_empty() && !self.ended {
            if self.rest.is_empty() {
                let read = self.input.read(&mut self.raw)?;
                self.rest = 0..read;
                self.ended = read == 0;
            }
            self.decode();
        }
        Ok(())
    }

    fn decode(&mut self) {
        loop {
            let raw = &self.raw[self.rest.clone()];
            let start = self.out.len();
            let room = self.decoder.max_utf8_buffer_length_without_replacement(raw.len()).unwrap_or(1 << 20);
            self.out.resize(start + room.max(16), 0);
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(raw, &mut self.out[start..], self.ended);
            self.rest.start += read;
            self.out.truncate(start + written);
            match result {
                DecoderResult::InputEmpty => return,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.out.push(WRONG),
            }
        }
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.out.len() {
            self.refill()?;
        }
        let taken = buffer.len().min(self.out.len() - self.given);
        buffer[..taken].copy_from_slice(&self.out[self.given..self.given + taken]);
        self.given += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], encoding: Option<Encoding>, expect: &[u8]) {
        let mut out = Vec::new();
        decoded(Box::new(Cursor::new(bytes.to_vec())), encoding).unwrap().read_to_end(&mut out).unwrap();
        assert_eq!(out, expect, "{bytes:x?}");
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn encodings_are_recognised() {
        let text = "comment,label\n쀍뷁 좋아요 😀,긍정\n";
        check(text.as_bytes(), None, text.as_bytes());
        check(&[b"\xef\xbb\xbf", text.as_bytes()].concat(), None, text.as_bytes());
        for mark in ["\u{feff}", ""] {
            check(&utf16(&format!("{mark}{text}"), u16::to_le_bytes), None, text.as_bytes());
            check(&utf16(&format!("{mark}{text}"), u16::to_be_bytes), None, text.as_bytes());
        }
        let korean = "comment,label\n쀍뷁 좋아요,긍정\n";
        check(&EUC_KR.encode(korean).0, None, korean.as_bytes());
        let long = korean.repeat(5000);
        check(&EUC_KR.encode(&long).0, None, long.as_bytes());
        check(b"", None, b"");
    }

    #[test]
    fn a_wrong_sequence_alters_nothing_else() {
        let text = "좋아요 정말 좋아요".as_bytes();
        let broken = [text, b"\xb0", text].concat();
        check(&broken, None, &broken);
        let cp949 = EUC_KR.encode("좋아요").0;
        let broken = [&cp949[..], b"\xff,", &cp949[..]].concat();
        let expect = ["좋아요".as_bytes(), b"\xff,", "좋아요".as_bytes()].concat();
        check(&broken, Some(Encoding::Cp949), &expect);
        check(&[0x61, 0, 0, 0xd8, 0x62, 0, 0x63], Some(Encoding::Utf16Le), b"a\xffb\xff");
    }
}
