//! What may still change the store, and the calm that waits it out: marks and tombstones are read, a calm begins after
//! that, and only then they are deleted, by name (rules R1, R2, R6).

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use futures_util::future::try_join_all;
use stitch_common::clock::{Clock, Moment};
use stitch_common::member::MemberId;
use stitch_common::mutation::{Rule, out};
use stitch_common::range::RangeId;
use stitch_protocol::calm::{CalmError, Hindrance, Request, Word, await_calm};
use stitch_protocol::marks::{self, Mark};
use stitch_protocol::membership::{self, Forgot};

use crate::error::Error;
use crate::site::{Site, World};

/// Signs that something may still change the store: read, and not yet waited out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unrest {
    tombstones: Vec<MemberId>,
    marks: Vec<Mark>,
}

impl Unrest {
    /// Reads tombstones, and the marks of these ranges.
    ///
    /// # Errors
    /// ZooKeeper could not be asked.
    pub async fn read<W: World>(
        site: &Site<'_, W>,
        ranges: impl IntoIterator<Item = RangeId>,
    ) -> Result<Self, Error> {
        let members = membership::list(site.coordinator).await?;
        let tombstones = members
            .tombstones()
            .map(|member| member.id.clone())
            .collect();
        let reads = ranges
            .into_iter()
            .map(|range| marks::of_range(site.coordinator, range));
        let marks = try_join_all(reads).await?;
        Ok(Self {
            tombstones,
            marks: marks.into_iter().flatten().collect(),
        })
    }

    /// Whether there is nothing to wait out.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.tombstones.is_empty() && self.marks.is_empty()
    }

    /// [`Unrest::wait_out`], unless this rule is taken out.
    ///
    /// # Errors
    /// As there.
    pub async fn wait_out_unless<W: World>(
        self,
        site: &Site<'_, W>,
        without: Rule,
    ) -> Result<(), Error> {
        match out(without) {
            true => Ok(()),
            false => self.wait_out(site).await,
        }
    }

    /// Awaits a calm, which so begins after this was read, and deletes what it has settled. Waits for nothing if
    /// there is nothing.
    ///
    /// # Errors
    /// No calm came; what was read stays.
    pub async fn wait_out<W: World>(self, site: &Site<'_, W>) -> Result<(), Error> {
        if self.is_none() {
            return Ok(());
        }
        site.progress.note(&format!(
            "something may still be on its way to the store ({} tombstones, {} marks): awaiting a calm",
            self.tombstones.len(),
            self.marks.len()
        ));
        calm(site).await?;
        for mark in &self.marks {
            marks::delete(site.coordinator, mark).await?;
        }
        for member in &self.tombstones {
            match membership::forget(site.coordinator, member).await? {
                Forgot::Gone => {}
                Forgot::Alive => tracing::warn!(%member, "a tombstone came to life"),
            }
        }
        Ok(())
    }
}

/// Awaits a calm that begins now: what was sent before it cannot change the store any more.
///
/// # Errors
/// No calm came within its bound.
pub async fn calm<W: World>(site: &Site<'_, W>) -> Result<(), Error> {
    let members = membership::list(site.coordinator).await?;
    let (cassandra, timeout) = (&site.config.cassandra, site.config.restorator.calm_timeout);
    let request = Request::for_members(&members, cassandra, timeout);
    let word = Word {
        node_gone: &|node| site.gone.iter().any(|gone| gone.is_node(node)),
        member_gone: &|member| site.gone.iter().any(|gone| gone.is_member(member)),
    };
    let mut known = site.known.borrow().clone();
    let mut teller = Teller::new(site);
    let tell = |hindrances: &[Hindrance]| teller.tell(hindrances);
    let (nodes, watch, clock) = (site.nodes, site.coordinator, site.clock);
    let came = await_calm(nodes, watch, clock, &mut known, &request, word, tell).await;
    // Another range's calm may have ended meanwhile; both only ever add nodes to what was known before.
    if known.iter().count() >= site.known.borrow().iter().count() {
        *site.known.borrow_mut() = known;
    }
    let calm = came.map_err(not_calm)?;
    tracing::info!(took_ms = calm.took().as_millis(), "calm");
    Ok(())
}

fn not_calm(error: CalmError) -> Error {
    let way_out = match &error {
        CalmError::NotInTime { .. } => {
            "do what is said of each thing that is waited for, then run it again; raise [restorator] calm_timeout_ms \
             if nothing but time was missing"
        }
        CalmError::Refused(_) => "see what `stitch-restorator check` says of the Cassandra nodes",
        CalmError::Over(_) => "see whether ZooKeeper is up, then run it again",
    };
    Error::NotCalm {
        what: error.to_string(),
        way_out: way_out.to_owned(),
    }
}

/// Tells what a calm waits for: at once, when it is something else, and now and then.
struct Teller<'a, 'b, W: World> {
    site: &'a Site<'b, W>,
    told: Option<(Moment, Vec<Discriminant<Hindrance>>)>,
}

const TELL_EVERY: Duration = Duration::from_secs(10);

impl<'a, 'b, W: World> Teller<'a, 'b, W> {
    const fn new(site: &'a Site<'b, W>) -> Self {
        Self { site, told: None }
    }

    fn tell(&mut self, hindrances: &[Hindrance]) {
        let now = self.site.clock.now();
        let kinds: Vec<_> = hindrances.iter().map(discriminant).collect();
        if let Some((at, told)) = &self.told
            && *told == kinds
            && now.since(*at) < TELL_EVERY
        {
            return;
        }
        for hindrance in hindrances {
            self.site
                .progress
                .note(&format!("awaiting a calm: {hindrance}"));
        }
        self.told = Some((now, kinds));
    }
}
