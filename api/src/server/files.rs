//! How many files this process may have open: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Beside the connections: those to the three servers, and what the runtime has open.
const OTHERS: u64 = 256;

/// Takes as many as the system allows. What a shell gives at first is 1024 nearly everywhere, for the sake of programs
/// that this is none of; connections beyond it would be accepted by nobody.
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
    let needed = needed.saturating_add(OTHERS);
    if let Some(allowed) = limit.maximum.filter(|allowed| *allowed < needed) {
        tracing::warn!(
            allowed,
            needed,
            "api.connections_max needs more open files than the system allows: raise its hard limit"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_are_taken_as_the_system_allows() {
        let limit = getrlimit(Resource::Nofile);
        // One less than all of them: whoever else runs in this process has enough.
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
