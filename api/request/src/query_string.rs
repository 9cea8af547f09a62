//! Strict query-string parsing: a parameter that is unknown, repeated or not UTF-8 is a problem. If it were ignored, the
//! client would not notice.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::problem::{Kind, Problem};

/// The parameters of a request, and the address of one that works.
#[derive(Clone, Debug)]
pub struct Query {
    pairs: Vec<(String, String)>,
    example: String,
}

impl Query {
    /// Parses `raw`. Each of `allowed` may occur once, each of `repeated` any number of times.
    pub fn parse(
        raw: Option<&str>,
        allowed: &[&str],
        repeated: &[&str],
        example: String,
    ) -> Result<Self, Problem> {
        let pairs = Vec::new();
        let mut query = Self { pairs, example };
        let parts = raw.unwrap_or_default().split('&');
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (Some(name), Some(value)) = (decoded(name), decoded(value)) else {
                let detail = format!("\"{part}\" is not percent-encoded UTF-8");
                return Err(query.invalid(name, detail));
            };
            let repeats = repeated.contains(&name.as_str());
            if !repeats && !allowed.contains(&name.as_str()) {
                let allowed: Vec<_> = allowed.iter().chain(repeated).copied().collect();
                let detail = match allowed.as_slice() {
                    [] => "this address takes no parameters".to_owned(),
                    allowed => format!("this address takes {}", allowed.join(", ")),
                };
                return Err(query.problem(Kind::UnknownParameter, &name, detail));
            }
            if !repeats && query.get(&name).is_some() {
                return Err(query.invalid(&name, "the parameter is given twice"));
            }
            query.pairs.push((name, value));
        }
        Ok(query)
    }

    /// Parses the values of `name` for a page, and ignores all other parameters: what mail programs and other sites add to
    /// a link must not keep a person from what it shows.
    pub fn parse_for_page(raw: Option<&str>, name: &str, example: String) -> Result<Self, Problem> {
        let is_known = |part: &&str| {
            let other = part.split_once('=').map_or(*part, |(other, _)| other);
            decoded(other).is_some_and(|other| other == name)
        };
        let parts: Vec<&str> = raw
            .unwrap_or_default()
            .split('&')
            .filter(is_known)
            .collect();
        Self::parse(Some(&parts.join("&")), &[], &[name], example)
    }

    /// Takes parameters that did not come in an address; those without a value are missing.
    pub fn from_parameters<const N: usize>(
        parameters: [(&str, Option<String>); N],
        example: String,
    ) -> Self {
        let pairs = parameters.into_iter();
        Self {
            pairs: pairs
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect(),
            example,
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let pairs = self.pairs.iter().filter(move |(other, _)| other == name);
        pairs.map(|(_, value)| value.as_str())
    }

    /// The address of a request that works.
    pub fn example(&self) -> &str {
        &self.example
    }

    pub fn invalid(&self, name: &str, detail: impl Into<String>) -> Problem {
        self.problem(Kind::InvalidParameter, name, detail)
    }

    pub fn missing(&self, name: &str, detail: impl Into<String>) -> Problem {
        self.problem(Kind::MissingParameter, name, detail)
    }

    fn problem(&self, kind: Kind, name: &str, detail: impl Into<String>) -> Problem {
        Problem::new(kind, detail)
            .about(name)
            .with_example(&self.example)
    }
}

/// Decodes `+` to a blank and `%41` to A; `None` if the result is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let blanks = text.replace('+', " ");
    let decoded = percent_decode_str(&blanks).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// Percent-encodes a part of an address.
pub fn encoded(text: &str) -> String {
    const PLAIN: &percent_encoding::AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~')
        .remove(b':');
    utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<Query, Problem> {
        Query::parse(Some(raw), &["at", "from"], &["key"], "/works".to_owned())
    }

    #[test]
    fn values_are_decoded() {
        let query = parse("at=2026-05-01T00%3A00&key=a+b&key=%C3%A4&from=").unwrap();
        assert_eq!(query.get("at"), Some("2026-05-01T00:00"));
        assert_eq!(query.get("from"), Some(""));
        assert_eq!(query.all("key").collect::<Vec<_>>(), ["a b", "ä"]);
        assert_eq!(parse("").unwrap().get("at"), None);
        assert_eq!(decoded(&encoded("a b/ä?&+")).unwrap(), "a b/ä?&+");
    }

    #[test]
    fn a_page_ignores_parameters_that_are_not_its_own() {
        let raw = Some("utm_source=mail&key=a&%ff=%ff&key=b%20c&fbclid&&=");
        let query = Query::parse_for_page(raw, "key", "/works".to_owned()).unwrap();
        assert_eq!(query.all("key").collect::<Vec<_>>(), ["a", "b c"]);
        assert_eq!(query.pairs.len(), 2);
        let invalid = Query::parse_for_page(Some("key=%ff"), "key", "/works".to_owned());
        assert_eq!(invalid.unwrap_err().kind, Kind::InvalidParameter);
    }

    #[test]
    fn unknown_repeated_and_malformed_parameters_are_problems() {
        for (raw, kind, words) in [
            ("att=1", Kind::UnknownParameter, "takes at, from, key"),
            ("at=1&at=2", Kind::InvalidParameter, "given twice"),
            ("key=%ff", Kind::InvalidParameter, "UTF-8"),
        ] {
            let problem = parse(raw).unwrap_err();
            assert_eq!(problem.kind, kind, "{raw}");
            let text = serde_json::to_string(&problem).unwrap();
            assert!(text.contains(words) && text.contains("/works"), "{text}");
        }
    }
}
