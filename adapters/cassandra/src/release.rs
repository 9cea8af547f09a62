//! The release of Cassandra that Stitch needs, and the one that a node is of. Pure.

use std::fmt;

/// The server that Stitch needs: earlier ones lack the setting `native_transport_timeout` (CASSANDRA-19534), and still
/// earlier ones `system_views.clients.client_options` and `system_views.gossip_info`. Without these no barrier can be
/// awaited, and connecting is refused. Tests run on this release and on 5.0.
pub const REQUIRED_SERVER: &str = "Apache Cassandra 4.1.6 or later";

/// The first release that [`REQUIRED_SERVER`] names.
const REQUIRED: [u32; 3] = [4, 1, 6];

/// A release, as a node names its own (`release_version` of `system.local`): `5.0.9`, `5.0-rc1`, `4.1.10-SNAPSHOT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release(pub(crate) String);

impl Release {
    /// Whether Stitch can count in it. A server that is not Apache's may call itself whatever it likes.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        let release = self.0.split(['-', '~', '+']).next().unwrap_or_default();
        let mut numbers = [0; 3];
        for (number, part) in numbers.iter_mut().zip(release.split('.')) {
            match part.parse() {
                Ok(parsed) => *number = parsed,
                Err(_) => return false,
            }
        }
        numbers >= REQUIRED
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_from_the_required_one_on_are_supported() {
        for (release, supported) in [
            ("4.1.6", true),
            ("4.1.10", true),
            ("4.1.10-SNAPSHOT", true),
            ("5.0-rc1", true),
            ("5.0.9", true),
            ("10.0", true),
            ("4.1.5", false),
            ("4.1", false),
            ("4.0.19", false),
            ("3.0.8", false),
            ("", false),
            ("five", false),
        ] {
            assert_eq!(
                Release(release.to_owned()).is_supported(),
                supported,
                "{release}"
            );
        }
    }

    #[test]
    fn the_sentence_names_the_first_release_that_is_supported() {
        let [major, minor, patch] = REQUIRED;
        assert!(REQUIRED_SERVER.contains(&format!(
            "Apache Cassandra {major}.{minor}.{patch} or later"
        )));
    }
}
