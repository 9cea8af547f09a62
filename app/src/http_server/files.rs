//! The limit of open files: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Open files besides the connections: those to the three servers, and the runtime's.
const OTHER_FILES: u64 = 256;

/// Raises the soft limit to the hard limit. The usual soft limit is 1024, for the sake of programs that use `select`,
/// which this one does not; connections beyond it could not be accepted.
pub(super) fn raise_limit(connections_max: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    let needed = u64::try_from(connections_max).unwrap_or(u64::MAX);
    let needed = needed.saturating_add(OTHER_FILES);
    if let Some(allowed) = limit.maximum.filter(|allowed| *allowed < needed) {
        tracing::warn!(
            allowed,
            needed,
            "connections need more open files than the system allows: raise its hard limit"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_limit() {
        let limit = getrlimit(Resource::Nofile);
        // One less than the hard limit: enough for the other tests of this process.
        let lowered = Rlimit {
            current: limit.maximum.map(|maximum| maximum - 1),
            ..limit
        };
        setrlimit(Resource::Nofile, lowered).unwrap();
        raise_limit(10);
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, limit.maximum);
    }
}
