//! Who may read: the file of tokens, which operators write, and the signatures of links, which anyone may send.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use stitch_access::{
    AccessScope, AccessTokens, LinkError, LinkTarget, SignedLink, SigningKey, token_file,
};
use stitch_common::user_error::UserError;

const FILE: &str = "fuzz.tokens";
const TARGET: LinkTarget<'static> = LinkTarget {
    namespace: "music",
    counter: "plays",
    key: "abc",
};

fn parse(text: &str) -> Result<AccessTokens, UserError> {
    token_file::parse(FILE, text, AccessTokens::default())
}

/// What a line grants, by a reading of its own.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    /// A token, and whether it opens each of [`AccessScope::EVERY`].
    Token([bool; 3], &'a str),
    Key(&'a str),
}

/// The lines of a file that is to be accepted, by their names; `None` if it is to be refused.
fn lines(text: &str) -> Option<BTreeMap<String, Line<'_>>> {
    let mut lines = BTreeMap::new();
    let (mut tokens, mut keys) = (BTreeSet::new(), BTreeSet::new());
    for (number, line) in (1..).zip(text.split('\n')) {
        let words: Vec<&str> = line
            .split(char::is_whitespace)
            .filter(|word| !word.is_empty())
            .collect();
        if words.is_empty() || words[0].starts_with('#') {
            continue;
        }
        let (name, line) = match words[..] {
            [secret] => (format!("line-{number}"), Line::Token([true; 3], secret)),
            [name, "sign", secret] => (name.to_owned(), Line::Key(secret)),
            [name, scopes, secret] => (name.to_owned(), Line::Token(opened(scopes)?, secret)),
            _ => return None,
        };
        let is_new = match line {
            Line::Token(_, secret) => tokens.insert(secret) && !keys.contains(secret),
            Line::Key(secret) => {
                keys.insert(secret);
                secret.len() >= 32 && !tokens.contains(secret)
            }
        };
        let (Line::Token(_, secret) | Line::Key(secret)) = line;
        let all_of = |word: &str, others: &[u8]| {
            word.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
        };
        let is_right = (1..=64).contains(&name.len())
            && all_of(&name, b"-_")
            && (16..=512).contains(&secret.len())
            && all_of(secret, b"-._~+/=");
        if !is_right || !is_new || lines.insert(name, line).is_some() {
            return None;
        }
    }
    (!lines.is_empty()).then_some(lines)
}

fn opened(scopes: &str) -> Option<[bool; 3]> {
    let mut opened = [false; 3];
    for name in scopes.split(',') {
        let at = ["read", "operate", "metrics"]
            .into_iter()
            .position(|scope| scope == name)?;
        if std::mem::replace(&mut opened[at], true) {
            return None;
        }
    }
    Some(opened)
}

/// A file is refused, and nothing of it is shown; or it grants what each of its lines says, and nothing else.
pub(crate) fn file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match (parse(text), lines(text)) {
        (Ok(tokens), Some(lines)) => {
            grants(&tokens, &lines);
            shows_no_secret(&tokens, text, &lines);
        }
        (Err(error), None) => shows_nothing_of_the_file(&error),
        (Ok(_), None) => panic!("a file is accepted that is wrong"),
        (Err(error), Some(_)) => panic!("a file is refused that is right: {error}"),
    }
}

fn grants(tokens: &AccessTokens, lines: &BTreeMap<String, Line<'_>>) {
    assert!(!tokens.are_open());
    let names: BTreeSet<&str> = tokens.names().collect();
    assert!(names.iter().copied().eq(lines.keys().map(String::as_str)));
    assert_eq!(tokens.names().count(), names.len());
    let is_token = |secret: &[u8]| {
        let mut secrets = lines.values();
        secrets.any(|line| matches!(line, Line::Token(_, own) if own.as_bytes() == secret))
    };
    for (name, line) in lines {
        match line {
            Line::Token(opened, secret) => {
                let token = tokens.find(secret.as_bytes()).expect("its secret opens");
                assert_eq!(&token.name, name);
                assert_eq!(AccessScope::EVERY.map(|s| token.scopes.has(s)), *opened);
                for near in near(secret.as_bytes()) {
                    assert_eq!(tokens.find(&near).is_some(), is_token(&near));
                }
                assert!(!opens_by_link(secret, name, tokens), "a token signs links");
            }
            Line::Key(secret) => {
                assert_eq!(tokens.find(secret.as_bytes()), None, "a key is a token");
                assert!(opens_by_link(secret, name, tokens));
                for near in near(secret.as_bytes()) {
                    let near = String::from_utf8_lossy(&near);
                    assert!(!opens_by_link(&near, name, tokens));
                }
            }
        }
    }
}

/// Secrets that are nearly this one.
fn near(secret: &[u8]) -> Vec<Vec<u8>> {
    let (Some((last, shorter)), Some((_, later))) = (secret.split_last(), secret.split_first())
    else {
        return Vec::new();
    };
    let changed = [shorter, &[last ^ 1]].concat();
    vec![
        shorter.to_vec(),
        later.to_vec(),
        changed,
        [secret, b"0"].concat(),
        Vec::new(),
    ]
}

/// Whether a link opens that is signed with `secret` by the name `name`.
fn opens_by_link(secret: &str, name: &str, tokens: &AccessTokens) -> bool {
    let Ok(own) = parse(&format!("{name} sign {secret}")) else {
        return false;
    };
    let signature = own.signing_keys()[0].sign(&TARGET, 10);
    SignedLink::verify(&signature, &TARGET, 9, tokens.signing_keys()).is_ok()
}

/// With other secrets all that is shown is the same, so nothing of a secret is.
fn shows_no_secret(tokens: &AccessTokens, text: &str, lines: &BTreeMap<String, Line<'_>>) {
    let mut other = String::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_line = words.first().is_some_and(|word| !word.starts_with('#'));
        if let Some((_, before)) = words.split_last().filter(|_| is_line) {
            other += &format!("{} {number:0>32}", before.join(" "));
        }
        other.push('\n');
    }
    let other = parse(&other).expect("other secrets change nothing");
    assert_eq!(format!("{tokens:?}"), format!("{other:?}"));
    assert!(tokens.names().eq(other.names()));
    assert_eq!(lines.len(), other.names().count());
}

/// A text without its numbers.
fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// One file for each thing that can be wrong with a line.
const WRONG: [&str; 10] = [
    "",
    "a b",
    "a. read 0123456789abcdef",
    "a read 0123456789abcdef\na read fedcba9876543210",
    "short",
    "0123456789abcdef!",
    "a sign 0123456789abcdef",
    "a write 0123456789abcdef",
    "0123456789abcdef\n0123456789abcdef",
    "a sign 0123456789abcdef0123456789abcdef\n0123456789abcdef0123456789abcdef",
];

/// An error is one of those of other files, but for the number of a line and of words.
fn shows_nothing_of_the_file(error: &UserError) {
    static KNOWN: LazyLock<BTreeSet<(String, String)>> = LazyLock::new(|| {
        let error = |text: &&str| parse(text).expect_err("it is wrong");
        let shown = |error: UserError| (without_digits(&error.message), error.help);
        WRONG.iter().map(error).map(shown).collect()
    });
    let shown = (without_digits(&error.message), error.help.clone());
    assert!(KNOWN.contains(&shown), "{shown:?}");
    assert!(error.message.starts_with(FILE));
}

/// The keys of a server. Two share a secret, as no careful operator has it.
fn keys() -> &'static [SigningKey] {
    static KEYS: LazyLock<AccessTokens> = LazyLock::new(|| {
        parse(
            "new sign 0123456789abcdef0123456789abcdef\nold sign 0123456789abcdef0123456789abcdef\n\
             other sign fedcba9876543210fedcba9876543210",
        )
        .expect("three keys")
    });
    KEYS.signing_keys()
}

/// A link to what the input names opens that until its end; changed in a byte, or for anything else, it opens nothing.
///
/// The input is the end and a moment of time (eight bytes each), an edit of a letter (a place, a byte, a kind), and then
/// namespace, counter, key and a signature that was never made, separated by zero bytes.
pub(crate) fn link(bytes: &[u8]) {
    let Some((head, rest)) = bytes.split_first_chunk::<19>() else {
        return;
    };
    let number = |at: usize| {
        let bytes: [u8; 8] = head[at..at + 8].try_into().expect("eight bytes");
        i64::from_be_bytes(bytes)
    };
    let (until_s, moment_s) = (number(0), number(8));
    let edit = Edit(usize::from(head[16]), char::from(head[17]), head[18]);
    let rest = String::from_utf8_lossy(rest);
    let mut parts = rest.splitn(4, '\0');
    let mut part = || parts.next().unwrap_or_default();
    let target = LinkTarget {
        namespace: part(),
        counter: part(),
        key: part(),
    };
    let forged = part();
    // A moment at which nothing has ended.
    let verify = |signature: &str, target: &LinkTarget<'_>, keys: &[SigningKey]| {
        SignedLink::verify(signature, target, i64::MIN, keys)
    };
    assert_eq!(verify(forged, &target, keys()), Err(LinkError::Unknown));
    for (at, key) in keys().iter().enumerate() {
        let signature = key.sign(&target, until_s);
        for now_s in [
            moment_s,
            until_s,
            until_s.saturating_sub(1),
            until_s.saturating_add(1),
        ] {
            let expected = if now_s < until_s {
                Ok(SignedLink { until_s })
            } else {
                Err(LinkError::Ended(until_s))
            };
            let verified = SignedLink::verify(&signature, &target, now_s, keys());
            assert_eq!(verified, expected);
        }
        if until_s == i64::MIN {
            continue;
        }
        let others: Vec<SigningKey> = [&keys()[..at], &keys()[at + 1..]].concat();
        assert_eq!(
            verify(&signature, &target, &others),
            Err(LinkError::Unknown)
        );
        for other in &others {
            let renamed = signature.replacen(key.name(), other.name(), 1);
            assert_eq!(verify(&renamed, &target, keys()), Err(LinkError::Unknown));
        }
        let changed = edit.of(&signature);
        if changed != signature {
            assert_eq!(verify(&changed, &target, keys()), Err(LinkError::Unknown));
        }
        for other in changed_targets(&target, &edit) {
            let (namespace, counter, key) = (&*other[0], &*other[1], &*other[2]);
            let other = LinkTarget {
                namespace,
                counter,
                key,
            };
            if other != target {
                assert_eq!(verify(&signature, &other, keys()), Err(LinkError::Unknown));
            }
        }
    }
}

/// One letter of a text inserted, removed or replaced.
struct Edit(usize, char, u8);

impl Edit {
    fn of(&self, text: &str) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        let at = self.0 % (letters.len() + 1);
        match self.2 % 3 {
            0 => letters.insert(at, self.1),
            1 if at < letters.len() => drop(letters.remove(at)),
            _ if at < letters.len() => letters[at] = self.1,
            _ => letters.push(self.1),
        }
        letters.into_iter().collect()
    }
}

/// Other targets with nearly the same words: one changed, two exchanged, and the same letters divided elsewhere.
fn changed_targets(target: &LinkTarget<'_>, edit: &Edit) -> Vec<[String; 3]> {
    let words = [target.namespace, target.counter, target.key].map(str::to_owned);
    let mut changed = Vec::new();
    for at in 0..words.len() {
        let mut one = words.clone();
        one[at] = edit.of(&words[at]);
        changed.push(one);
        let (next, mut exchanged) = ((at + 1) % words.len(), words.clone());
        exchanged.swap(at, next);
        changed.push(exchanged);
        let mut divided = words.clone();
        if let Some(letter) = divided[at].pop() {
            divided[next].insert(0, letter);
            changed.push(divided);
        }
    }
    changed
}
