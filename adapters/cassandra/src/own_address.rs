//! The addresses that a node says it listens on itself. Where its address for clients is another one, something else (a
//! load balancer, a Kubernetes service, a firewall) may answer, and refuse, in its place.

use std::net::IpAddr;

use scylla::client::session::Session;
use scylla::statement::Statement;

use crate::{statements, table};
use stitch_common::ports::StoreError;

/// The addresses of the node that answers; `target` is applied to each query.
pub(super) async fn of(
    session: &Session,
    target: impl Fn(&mut Statement),
) -> Result<Vec<IpAddr>, StoreError> {
    let query = |cql: &str| {
        let mut statement = Statement::new(cql);
        target(&mut statement);
        statement
    };
    let listens: Vec<(Option<IpAddr>,)> =
        table::rows(session, query(statements::LISTEN_ADDRESS), ()).await?;
    let binds: Vec<(Option<String>,)> =
        table::rows(session, query(statements::BIND_ADDRESS), ()).await?;
    Ok(addresses(listens, binds))
}

/// An address of all interfaces names none.
fn addresses(listens: Vec<(Option<IpAddr>,)>, binds: Vec<(Option<String>,)>) -> Vec<IpAddr> {
    let listens = listens.into_iter().filter_map(|(address,)| address);
    let binds = binds
        .into_iter()
        .filter_map(|(address,)| address?.parse().ok());
    listens
        .chain(binds)
        .filter(|address| !address.is_unspecified())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_between_nodes_and_for_clients_count_and_all_interfaces_do_not() {
        let listen = IpAddr::from([10, 0, 0, 1]);
        for (bind, expected) in [
            (Some("10.1.0.1"), vec![listen, IpAddr::from([10, 1, 0, 1])]),
            (Some("0.0.0.0"), vec![listen]),
            (Some("localhost"), vec![listen]),
            (None, vec![listen]),
        ] {
            let binds = vec![(bind.map(str::to_owned),)];
            assert_eq!(
                addresses(vec![(Some(listen),)], binds),
                expected,
                "{bind:?}"
            );
        }
    }
}
