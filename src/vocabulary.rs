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
