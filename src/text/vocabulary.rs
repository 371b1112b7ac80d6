//! What the prompt needs to know of a model's vocabulary.

/// A token's id in the model's vocabulary.
pub type Token = i32;

/// A model's vocabulary. Implemented by llama.cpp's, and by small ones in tests.
pub trait Vocabulary: Send + Sync {
    /// Tokens of trusted text: control tokens written out (`<start_of_turn>`) become control tokens.
    /// No token is added at either end.
    fn tokenize_template(&self, text: &str) -> Vec<Token>;

    /// Tokens of a stranger's text: never a control token, whatever it spells.
    fn tokenize_text(&self, text: &str) -> Vec<Token>;

    /// The token that opens every prompt, if the model has one.
    fn bos(&self) -> Option<Token>;

    /// Steers the model (turn markers, padding) and stands for no text.
    fn is_control(&self, token: Token) -> bool;

    /// Ends the model's answer.
    fn is_end(&self, token: Token) -> bool;

    /// Appends the token's bytes, which may be part of a character only. Control tokens have none.
    fn piece(&self, token: Token, bytes: &mut Vec<u8>);
}

/// Bytes as tokens, and three control tokens: a vocabulary without a model, beside
/// [`FakeBackend`](crate::engine::fake::FakeBackend) for tests and load experiments.
#[derive(Debug, Clone, Copy, Default)]
pub struct ByteVocabulary;

impl ByteVocabulary {
    /// The control tokens.
    pub const CONTROL: [(&str, Token); 3] =
        [("<bos>", 256), ("<start_of_turn>", 257), ("<end_of_turn>", 258)];
    /// Number of tokens.
    pub const SIZE: usize = 259;
}

impl Vocabulary for ByteVocabulary {
    fn tokenize_template(&self, text: &str) -> Vec<Token> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let (token, length) = match Self::CONTROL.iter().find(|(name, _)| rest.starts_with(name)) {
                Some((name, id)) => (vec![*id], name.len()),
                None => (self.tokenize_text(&rest[..c.len_utf8()]), c.len_utf8()),
            };
            tokens.extend(token);
            rest = &rest[length..];
        }
        tokens
    }

    fn tokenize_text(&self, text: &str) -> Vec<Token> {
        text.bytes().map(Token::from).collect()
    }

    fn bos(&self) -> Option<Token> {
        Some(256)
    }

    fn is_control(&self, token: Token) -> bool {
        token >= 256
    }

    fn is_end(&self, token: Token) -> bool {
        token == 258
    }

    fn piece(&self, token: Token, bytes: &mut Vec<u8>) {
        bytes.extend(u8::try_from(token));
    }
}
