//! Who may change the nodes: with an identity, only it; everyone may read them. There are no secrets and no keys of events
//! in them, and so the API needs no identity, and no other one can delete a lock, a checkpoint or a marker.

use std::collections::BTreeSet;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zookeeper_client as zk;

use stitch_common::ports::ZkError;
use stitch_config::Credentials;

use crate::{ZooKeeperSession, classify};

/// Who may change a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everyone who reaches the servers.
    Anyone,
    /// This program's identity alone.
    Ours,
    /// These identities, as ZooKeeper names them, without hashes.
    Others(Vec<String>),
}

/// The ACL of the nodes that a session with this identity creates.
pub(crate) fn of_created_nodes(identity: Option<&Credentials>) -> Vec<zk::Acl> {
    let Some(Credentials { user, password }) = identity else {
        return zk::Acls::anyone_all().to_vec();
    };
    // As DigestAuthenticationProvider of ZooKeeper does: base64(sha1("user:password")).
    let hash = digest::digest(
        &digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{user}:{}", password.expose()).as_bytes(),
    );
    let own = format!("{user}:{}", STANDARD.encode(hash));
    vec![
        zk::Acl::new(zk::Permission::ALL, zk::AuthId::new("digest", &own)),
        zk::Acl::new(zk::Permission::READ, zk::AuthId::anyone()),
    ]
}

/// An entry as it can be compared.
fn entry(acl: &zk::Acl) -> (String, String, String) {
    (
        acl.scheme().to_owned(),
        acl.id().to_owned(),
        acl.permission().to_string(),
    )
}

fn entries(acl: &[zk::Acl]) -> BTreeSet<(String, String, String)> {
    acl.iter().map(entry).collect()
}

/// Whether a permission is more than that to read.
fn changes(permission: zk::Permission) -> bool {
    [
        zk::Permission::WRITE,
        zk::Permission::CREATE,
        zk::Permission::DELETE,
        zk::Permission::ADMIN,
    ]
    .into_iter()
    .any(|right| permission.has(right))
}

/// Who may change a node with this ACL.
fn access(acl: &[zk::Acl], own: &[zk::Acl]) -> Access {
    let mighty = acl.iter().filter(|acl| changes(acl.permission()));
    let mighty: Vec<_> = mighty.collect();
    if mighty.iter().any(|acl| acl.scheme() == "world") {
        return Access::Anyone;
    }
    if entries(acl) == entries(own) {
        return Access::Ours;
    }
    let name = |acl: &&zk::Acl| {
        let user = acl.id().split(':').next().unwrap_or_default();
        format!("{}:{user}", acl.scheme())
    };
    let names: BTreeSet<_> = mighty.iter().map(name).collect();
    Access::Others(names.into_iter().collect())
}

impl ZooKeeperSession {
    /// Who may change the node at `path`; `None` if there is no such node.
    ///
    /// # Errors
    /// An error of any request.
    pub async fn access(&self, path: &str) -> Result<Option<Access>, ZkError> {
        match self.client.get_acl(path).await {
            Ok((acl, _)) => Ok(Some(access(&acl, &self.acl))),
            Err(zk::Error::NoNode) => Ok(None),
            Err(error) => Err(classify(error)),
        }
    }

    /// Gives the node at `path` the ACL of the nodes that this session creates. False if it has it already, or is gone.
    ///
    /// # Errors
    /// An error of any request: refused, if this identity may not administer the node.
    pub async fn protect(&self, path: &str) -> Result<bool, ZkError> {
        let (acl, _) = match self.client.get_acl(path).await {
            Ok(found) => found,
            Err(zk::Error::NoNode) => return Ok(false),
            Err(error) => return Err(classify(error)),
        };
        if entries(&acl) == entries(&self.acl) {
            return Ok(false);
        }
        match self.client.set_acl(path, &self.acl, None).await {
            Ok(_) => Ok(true),
            Err(zk::Error::NoNode) => Ok(false),
            Err(error) => Err(classify(error)),
        }
    }

    /// As whom the server knows this session: schemes and names. `None`, if it cannot say so (before ZooKeeper 3.7).
    ///
    /// # Errors
    /// An error of any request.
    pub async fn known_as(&self) -> Result<Option<Vec<String>>, ZkError> {
        match self.client.list_auth_users().await {
            Ok(users) => {
                let name = |user: &zk::AuthUser| format!("{}:{}", user.scheme(), user.user());
                let named = users.iter().filter(|user| user.scheme() != "ip");
                Ok(Some(named.map(name).collect()))
            }
            Err(zk::Error::Unimplemented) => Ok(None),
            Err(error) => Err(classify(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stitch_common::secret::Secret;

    fn own() -> Vec<zk::Acl> {
        let login = |user: &str, password: &str| Credentials {
            user: user.to_owned(),
            password: Secret::new(password.to_owned()),
        };
        of_created_nodes(Some(&login("super", "admin")))
    }

    #[test]
    fn an_identity_is_hashed_as_zookeeper_does_it() {
        // From ZooKeeper's own documentation of the super user: DigestAuthenticationProvider super:admin.
        assert_eq!(own()[0].id(), "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=");
        assert_eq!(own()[1].permission(), zk::Permission::READ);
    }

    #[test]
    fn access_is_what_lets_somebody_change_a_node() {
        assert_eq!(access(&own(), &own()), Access::Ours);
        let mut reversed = own();
        reversed.reverse();
        assert_eq!(access(&reversed, &own()), Access::Ours);
        let anyone = zk::Acls::anyone_all().to_vec();
        assert_eq!(access(&anyone, &own()), Access::Anyone);
        assert_eq!(access(&anyone, &anyone), Access::Anyone);
        for right in [
            zk::Permission::WRITE,
            zk::Permission::CREATE,
            zk::Permission::DELETE,
            zk::Permission::ADMIN,
        ] {
            let mut more = own();
            more.push(zk::Acl::new(right, zk::AuthId::anyone()));
            assert_eq!(access(&more, &own()), Access::Anyone, "{right}");
        }
        let mut more = own();
        more.push(zk::Acl::new(
            zk::Permission::DELETE,
            zk::AuthId::new("digest", "x:hash"),
        ));
        let names = vec!["digest:super".to_owned(), "digest:x".to_owned()];
        assert_eq!(access(&more, &own()), Access::Others(names));
        assert_eq!(access(&own()[1..], &own()), Access::Others(Vec::new()));
    }
}
