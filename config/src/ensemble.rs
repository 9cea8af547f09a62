//! The ensemble of `[zookeeper]`, and the node below which Stitch keeps everything.

use std::fmt;

use crate::section::{Given, Section};
use stitch_common::address::Addresses;
use stitch_common::user_error::UserError;

/// The default of `root`.
pub const ROOT_DEFAULT: &str = "/stitch";

/// The servers of an ensemble, and the node that they are seen from: `a:2181,b:2181/chroot`, as ZooKeeper's own clients
/// write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensemble {
    pub servers: Addresses,
    /// Empty, or as in `/chroot`.
    chroot: String,
}

/// Without a chroot.
impl From<Addresses> for Ensemble {
    fn from(servers: Addresses) -> Self {
        Self {
            servers,
            chroot: String::new(),
        }
    }
}

/// As ZooKeeper's clients read it, without the chroot: it is part of every path instead.
impl fmt::Display for Ensemble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.servers.fmt(f)
    }
}

impl Section<'_> {
    /// The servers of an ensemble, separated by commas, and a chroot.
    pub(super) fn ensemble(&mut self, key: &str, example: &str) -> Result<Ensemble, UserError> {
        let Given { value, source } = self
            .string(key)?
            .ok_or_else(|| self.missing(key, example))?;
        let value = value.trim();
        let (servers, chroot) = match value.find('/') {
            Some(at) => value.split_at(at),
            None => (value, ""),
        };
        let servers = servers.parse();
        let servers = servers.map_err(|error| self.no_address(key, source, &error, example))?;
        let chroot = chroot.strip_suffix('/').unwrap_or(chroot).to_owned();
        let problem = match chroot.contains(',') {
            true => Some(" has an address after a slash"),
            false => problem(&chroot),
        };
        if let Some(problem) = problem {
            let help = format!("write the chroot after all servers, like {example}");
            return Err(self.wrong(key, source, problem, help));
        }
        Ok(Ensemble { servers, chroot })
    }

    /// The path of the node below which the namespaces are: empty, or one that begins with a slash.
    pub(super) fn zookeeper_root(
        &mut self,
        key: &str,
        ensemble: &Ensemble,
    ) -> Result<String, UserError> {
        let Some(Given { value, source }) = self.string(key)? else {
            return Ok(format!("{}{ROOT_DEFAULT}", ensemble.chroot));
        };
        let help = format!("write it like {key} = \"{ROOT_DEFAULT}\"");
        if !value.starts_with('/') {
            return Err(self.wrong(key, source, " does not begin with a slash", help));
        }
        let root = value.strip_suffix('/').unwrap_or(&value);
        match problem(root) {
            Some(problem) => Err(self.wrong(key, source, problem, help)),
            None => Ok(format!("{}{root}", ensemble.chroot)),
        }
    }
}

/// Why this is no path of ZooKeeper.
fn problem(path: &str) -> Option<&'static str> {
    let plain = |c: char| !matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{f8ff}' | '\u{fff0}'..='\u{ffff}');
    let name = |name: &str| !matches!(name, "" | "." | "..") && name.chars().all(plain);
    let names = path.strip_prefix('/').unwrap_or_default();
    let is_path = path.is_empty() || names.split('/').all(name);
    (!is_path).then_some(" is no path of ZooKeeper")
}
