use std::fs;

use tempfile::TempDir;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;

/// A tokens file, and what it makes.
struct Made {
    folder: TempDir,
}

impl Made {
    fn new(text: &str) -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        made.write(text);
        made
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tokens.toml")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    fn load(&self) -> Result<Tokens, TokensError> {
        Tokens::load(&self.path())
    }
}

fn with_token(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    headers
}

/// The code and reason of a refusal, or the name of who is let in.
fn outcome(admitted: Result<Admitted, Status>) -> (Code, String) {
    match admitted {
        Ok(admitted) => (Code::Ok, admitted.name().to_owned()),
        Err(status) => {
            let details = status.get_error_details();
            (status.code(), details.error_info().unwrap().reason.clone())
        }
    }
}

#[test]
fn whoever_has_a_token_is_let_in_and_nobody_else() {
    let (a, old, narrow) = (new_token("a").unwrap(), new_token("old").unwrap(), new_token("narrow").unwrap());
    let made = Made::new(&format!(
        "{}\n{}expires = 2026-01-01\n\n{}methods = [\"Classify\"]\n\n[[token]]\nname = \"cert\"\ncertificate = \"x.example\"\n",
        a.entry, old.entry, narrow.entry
    ));
    let tokens = made.load().unwrap();
    let check = |headers: &HeaderMap, names: &[&str], method, code, expect: &str| {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        assert_eq!(outcome(tokens.admit(headers, &names, method)), (code, expect.to_owned()));
    };
    let none = HeaderMap::new();
    check(&with_token(&a.token), &[], "Classify", Code::Ok, "a");
    check(&with_token(&a.token[..20]), &[], "Classify", Code::Unauthenticated, "UNKNOWN_TOKEN");
    check(&with_token(""), &[], "Classify", Code::Unauthenticated, "UNKNOWN_TOKEN");
    check(&none, &[], "Classify", Code::Unauthenticated, "NO_TOKEN");
    check(&with_token(&old.token), &[], "Classify", Code::Unauthenticated, "TOKEN_EXPIRED");
    check(&with_token(&narrow.token), &[], "Classify", Code::Ok, "narrow");
    check(&with_token(&narrow.token), &[], "ClassifyBatch", Code::PermissionDenied, "METHOD_NOT_ALLOWED");
    check(&none, &["y.example", "x.example"], "Classify", Code::Ok, "cert");
    check(&none, &["y.example"], "Classify", Code::Unauthenticated, "NO_TOKEN");
    // A wrong token is not made right by a certificate.
    check(&with_token("junk"), &["x.example"], "Classify", Code::Unauthenticated, "UNKNOWN_TOKEN");
    let mut basic = HeaderMap::new();
    basic.insert("authorization", "Basic abc".parse().unwrap());
    check(&basic, &[], "Classify", Code::Unauthenticated, "UNKNOWN_TOKEN");
}

#[test]
fn a_rotation_has_two_tokens_of_one_name_and_one_account() {
    let (first, second) = (new_token("team").unwrap(), new_token("team").unwrap());
    assert_ne!(first.token, second.token);
    let limit = "comments_per_day = 10\n";
    let made = Made::new(&format!("{}{limit}\n{}{limit}", first.entry, second.entry));
    let tokens = made.load().unwrap();
    let admit = |token: &NewToken| tokens.admit(&with_token(&token.token), &[], "Classify");
    admit(&first).unwrap().spend(6).unwrap();
    admit(&second).unwrap().spend(4).unwrap();
    // The old one goes, and what was used stays used.
    made.write(&format!("{}{limit}", second.entry));
    tokens.reload().unwrap();
    assert_eq!(admit(&first).unwrap_err().code(), Code::Unauthenticated);
    assert!(admit(&second).unwrap().spend(1).is_err());
    // A file that cannot be used changes nothing.
    made.write("junk");
    tokens.reload().unwrap_err();
    admit(&second).unwrap();
}

#[test]
fn faults_are_named_and_values_are_not() {
    let entry = new_token("a").unwrap().entry;
    let check = |text: &str, expect: &str| {
        let error = Made::new(text).load().err().unwrap().to_string();
        assert!(error.contains(expect), "{error:?} does not say {expect:?}");
        assert!(!error.contains("kos_secret"), "{error:?} tells the secret");
    };
    check(&format!("{entry}token = \"kos_secret\"\n"), "line 4: unknown field `token`");
    check(&format!("{entry}concurrent = \"kos_secret\"\n"), "line 4: invalid type");
    check("[[token]]\nname = \"a\"\nkos_secret = 1\n", "line 3: unknown field `kos_…`");
    check("[[tokenkos_secret]]\n", "line 1: unknown field `tokenkos_…`");
    check("\"\\eb\" = 1\n", "line 1: unknown field `\\u{1b}b`");
    check(&format!("{} = 1\n", "k".repeat(1000)), "kkk…");
    check(&format!("{entry}methods = [\"kos_secret\"]\n"), "no method `kos_…`");
    check("[[token]]\nname = \"a\"\nsha256 = \"kos_secret\"\n", "token 1: `sha256` is not 64");
    check("[[token]]\nname = \"a\"\n", "exactly one of");
    check("[[token]]\nname = \"a b\"\nsha256 = \"\"\n", "1 to 64 letters");
    check(&format!("{entry}requests_per_second = 0\n"), "`requests_per_second` is not above 0");
    check(&format!("{entry}expires = 3\n"), "`expires` is no date");
    check(&format!("{entry}methods = [\"Clasify\"]\n"), "no method `Clasify`");
}

#[test]
fn dates_are_read_in_utc() {
    let check = |text: &str, expect: i64| {
        let value: toml::Table = format!("expires = {text}").parse().unwrap();
        assert_eq!(expiry(&value["expires"]), at(expect), "{text}");
    };
    check("2026-11-26", 20_783 * 86_400);
    check("\"2026-11-26\"", 20_783 * 86_400);
    check("2026-11-26T09:00:00+09:00", 20_783 * 86_400);
    check("2026-11-26T01:00:30Z", 20_783 * 86_400 + 3_630);
}
