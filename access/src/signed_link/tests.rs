use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_800_000_000;
const TARGET: LinkTarget<'static> = LinkTarget {
    namespace: "plays",
    counter: "plays",
    key: "abc",
};

fn key(name: &str) -> SigningKey {
    SigningKey::new(name.to_owned(), "0123456789abcdef0123456789abcdef")
}

fn verify(signature: &str, target: LinkTarget<'_>, now: i64) -> Result<SignedLink, LinkError> {
    SignedLink::verify(signature, &target, now, &[key("2026"), key("2027")])
}

#[test]
fn a_link_opens_its_target_until_its_end() {
    let until_s = NOW + 10;
    let signature = key("2027").sign(&TARGET, until_s);
    for now in [NOW, until_s - 1] {
        assert_eq!(verify(&signature, TARGET, now), Ok(SignedLink { until_s }));
    }
    for now in [until_s, until_s + 1] {
        assert_eq!(
            verify(&signature, TARGET, now),
            Err(LinkError::Ended(until_s))
        );
    }
}

#[test]
fn a_link_opens_nothing_else() {
    let signature = key("2026").sign(&TARGET, NOW + 10);
    for other in [
        LinkTarget {
            namespace: "other",
            ..TARGET
        },
        LinkTarget {
            counter: "likes",
            ..TARGET
        },
        LinkTarget {
            key: "abd",
            ..TARGET
        },
        // The same letters, divided elsewhere.
        LinkTarget {
            counter: "playsa",
            key: "bc",
            ..TARGET
        },
    ] {
        assert_eq!(verify(&signature, other, NOW), Err(LinkError::Unknown));
    }
    // Another end, and the end of another link.
    let longer = signature.replace(&(NOW + 10).to_string(), &(NOW + 20).to_string());
    assert_eq!(verify(&longer, TARGET, NOW), Err(LinkError::Unknown));
    // Of an end that has passed, nothing is said unless it was signed.
    let forged = signature.replace(&(NOW + 10).to_string(), &(NOW - 20).to_string());
    assert_eq!(verify(&forged, TARGET, NOW), Err(LinkError::Unknown));
}

/// A link is one text: a record of links that were given out, or a cache, compares texts.
#[test]
fn an_end_that_is_written_otherwise_opens_nothing() {
    let signature = key("2026").sign(&TARGET, NOW + 10);
    for written in [format!("+{}", NOW + 10), format!("0{}", NOW + 10)] {
        let changed = signature.replace(&(NOW + 10).to_string(), &written);
        assert_eq!(verify(&changed, TARGET, NOW), Err(LinkError::Unknown));
    }
    let signature = key("2026").sign(&TARGET, 0).replace(".0.", ".-0.");
    assert_eq!(verify(&signature, TARGET, -5), Err(LinkError::Unknown));
}

/// The keys of these tests share a secret: with its name alone a link would outlive its key.
#[test]
fn a_link_does_not_go_over_to_another_key() {
    let signature = key("2026").sign(&TARGET, NOW + 10);
    let renamed = signature.replacen("2026", "2027", 1);
    assert_eq!(verify(&renamed, TARGET, NOW), Err(LinkError::Unknown));
}

#[test]
fn a_link_of_a_key_that_is_gone_opens_nothing() {
    let signature = key("2025").sign(&TARGET, NOW + 10);
    assert_eq!(verify(&signature, TARGET, NOW), Err(LinkError::Unknown));
    let other = SigningKey::new("2026".to_owned(), "another secret of at least 32 letters");
    let signature = other.sign(&TARGET, NOW + 10);
    assert_eq!(verify(&signature, TARGET, NOW), Err(LinkError::Unknown));
    assert_eq!(
        SignedLink::verify(&key("2026").sign(&TARGET, NOW + 10), &TARGET, NOW, &[]),
        Err(LinkError::Unknown)
    );
}

/// Computed by Python's `hmac`.
#[test]
fn a_signature_is_what_another_implementation_makes_of_the_same_words() {
    let signature = key("2026").sign(&TARGET, 1_893_456_000);
    assert_eq!(
        signature,
        "2026.1893456000._oe5K0n50WduVVHEU2K5JBePoIEH_mmGgHTTaVyrgI4"
    );
}

proptest! {
    #[test]
    fn no_text_is_a_signature_and_none_panics(text in ".{0,80}", now: i64) {
        prop_assert_eq!(verify(&text, TARGET, now), Err(LinkError::Unknown));
    }

    #[test]
    fn a_changed_letter_spoils_a_signature(at in 0usize..60, letter in "[A-Za-z0-9._=+-]") {
        let signature = key("2026").sign(&TARGET, NOW + 10);
        let at = at % signature.len();
        let changed = format!("{}{letter}{}", &signature[..at], &signature[at + 1..]);
        if changed != signature {
            prop_assert!(verify(&changed, TARGET, NOW).is_err(), "{}", changed);
        }
    }
}
