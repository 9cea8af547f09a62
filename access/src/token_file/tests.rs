use super::*;
use crate::access_scope::AccessScope;

const A: &str = "0123456789abcdef";
const B: &str = "fedcba9876543210";
const KEY: &str = "0123456789abcdef0123456789abcdef";

fn parsed(text: &str) -> Result<AccessTokens, String> {
    added(text, AccessTokens::default())
}

#[test]
fn a_line_is_a_token_with_name_and_scopes_or_a_secret_alone() {
    let text = format!("# comment {A}\n\n  cdn\tread   {A}\r\n{B}\nops read,operate ops-{A}\n");
    let tokens = parsed(&text).unwrap();
    let of = |secret: &str| {
        let token = tokens.find(secret.as_bytes()).unwrap();
        (token.name.clone(), token.scopes.to_string())
    };
    assert_eq!(of(A), ("cdn".to_owned(), "read".to_owned()));
    assert_eq!(
        of(B),
        ("line-4".to_owned(), "read,operate,metrics".to_owned())
    );
    assert_eq!(of(&format!("ops-{A}")).1, "read,operate");
    for wrong in [
        "",
        "0123456789abcde",
        "0123456789abcdef0",
        "0123456789abcdeg",
    ] {
        assert_eq!(tokens.find(wrong.as_bytes()), None, "{wrong}");
    }
    assert!(!tokens.are_open());
}

#[test]
fn a_key_for_links_is_no_token_and_closes_a_server() {
    let tokens = parsed(&format!("b sign {KEY}x\na sign {KEY}\n")).unwrap();
    let names: Vec<_> = tokens.signing_keys().iter().map(SigningKey::name).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(tokens.find(KEY.as_bytes()), None);
    assert!(!tokens.are_open());
}

#[test]
fn tokens_of_the_configuration_are_kept_beside_those_of_the_file() {
    let configured = AccessTokens::unnamed(&[Secret::new(A.to_owned())]);
    assert!(AccessTokens::unnamed(&[]).are_open());
    let tokens = added(&format!("cdn read {B}"), configured).unwrap();
    assert!(
        tokens
            .find(A.as_bytes())
            .unwrap()
            .scopes
            .has(AccessScope::Operate)
    );
    assert_eq!(tokens.names().collect::<Vec<_>>(), ["tokens[0]", "cdn"]);
}

#[test]
fn a_wrong_line_is_named_by_its_number_and_no_word_of_it_is_shown() {
    for (text, problem) in [
        (String::new(), "no token"),
        ("# nothing\n\n".to_owned(), "no token"),
        ("short".to_owned(), "line 1 has an entry that is too short"),
        (format!("\ncdn {A}"), "line 2 has 2 words"),
        (format!("cdn read {A} {B}"), "has 4 words"),
        (format!("cdn write {A}"), "names no scopes"),
        (format!("{B} {A} read"), "is too short"),
        (format!("cdn {A} {B}"), "names no scopes"),
        (format!("cdn read,sign {KEY}"), "names no scopes"),
        (format!("a.b read {A}"), "letters, digits"),
        (format!("cdn read {A}é"), "cannot be sent"),
        (
            format!("cdn read {A}\ncdn read {B}"),
            "line 2 has a name that",
        ),
        (
            format!("{A}\ncdn read {A}"),
            "line 2 has the secret of another",
        ),
        (format!("links sign {A}"), "less than 32"),
        (
            format!("links sign {KEY}\nops metrics {KEY}"),
            "line 2 has the secret of another",
        ),
        (
            format!("{KEY}\nlinks sign {KEY}"),
            "line 2 has the secret of another",
        ),
    ] {
        let error = parsed(&text).unwrap_err();
        assert!(error.contains(problem), "{text:?}: {error}");
        for secret in [A, B] {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[test]
fn an_unusable_file_is_named_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    for content in [None, Some("hunter2\n"), Some("hunter2 hunter2"), Some("")] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let error = read(&path, AccessTokens::default()).unwrap_err();
        assert!(
            error.message.contains(&path.display().to_string()),
            "{error}"
        );
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    std::fs::write(&path, format!("cdn read {A}\n")).unwrap();
    let tokens = read(&path, AccessTokens::default()).unwrap();
    assert_eq!(tokens.names().collect::<Vec<_>>(), ["cdn"]);
    assert!(!format!("{tokens:?}").contains(A), "{tokens:?}");
    let keys = parsed(&format!("links sign {KEY}")).unwrap();
    assert!(!format!("{keys:?}").contains(KEY), "{keys:?}");
}
