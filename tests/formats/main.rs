//! What a release has written is read by this version. `0.1.0/` has a record of each kind of node in ZooKeeper, as it stands
//! there, an archive and totals. A release adds a folder of its own, and none is changed. Plan files are not among them: they
//! are refused by their number, and made again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use stitch_archive::reader::Archive;
use stitch_archive::segment::row_group::Columns;
use stitch_batch::record::BatchRecord;
use stitch_common::checkpoint::StoredCheckpoint;
use stitch_common::offset::{Offset, Partition};
use stitch_common::ports::Fingerprint;
use stitch_control::audit_record::AuditRecord;
use stitch_control::control_record::ControlRecord;
use stitch_control::restoration_record::RestorationRecord;
use stitch_objects::ObjectFolder;
use stitch_protocol::backfill::BackfillRecord;
use stitch_protocol::definition_node::NamespaceRecord;
use stitch_protocol::doubt::DoubtRecord;
use stitch_protocol::envelope::{self, Payload};
use stitch_protocol::known_nodes::KnownNodeRecord;

use stitch_protocol::membership::MemberRecord;
use stitch_protocol::origin_node::Origin;
use stitch_protocol::restoration::LockHolder;
use stitch_protocol::suspension::SuspensionRecord;
use stitch_totals::manifest::TotalsId;
use stitch_totals::sorted::counter_names::CounterNames;
use stitch_totals::sorted::merge::Merge;
use stitch_totals::sorted::tokens::TokenSelection;
use stitch_totals::totals_file::reader::TotalsReader;
use stitch_totals::totals_folder::TotalsFolder;

/// Decodes a record, and encodes it again.
type Recode = fn(&[u8]) -> Result<Vec<u8>>;

/// The records of nodes, by the names of their files.
const RECORDS: [(&str, Recode); 14] = [
    ("audit", recode::<AuditRecord>),
    ("backfill", recode::<BackfillRecord>),
    ("batch", recode::<BatchRecord>),
    ("checkpoint", recode_checkpoint),
    ("control", recode::<ControlRecord>),
    ("definition", recode::<NamespaceRecord>),
    ("doubt", recode::<DoubtRecord>),
    ("first-record", recode::<Fingerprint>),
    ("known-node", recode::<KnownNodeRecord>),
    ("lock-holder", recode::<LockHolder>),
    ("member", recode::<MemberRecord>),
    ("origin", recode::<Origin>),
    ("restoration", recode::<RestorationRecord>),
    ("suspended", recode::<SuspensionRecord>),
];

fn recode<T: Payload>(bytes: &[u8]) -> Result<Vec<u8>> {
    Ok(envelope::seal(&envelope::open::<T>("a node", bytes)?))
}

fn recode_checkpoint(bytes: &[u8]) -> Result<Vec<u8>> {
    Ok(StoredCheckpoint::decode(bytes)?.encode())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("formats")
}

/// The releases whose data is kept.
fn releases() -> Result<Vec<PathBuf>> {
    let mut releases = Vec::new();
    for entry in folder().read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            releases.push(path);
        }
    }
    ensure!(!releases.is_empty(), "at least one release");
    Ok(releases)
}

fn format_of(bytes: &[u8]) -> Result<u64> {
    let end = bytes.iter().rposition(|byte| *byte == b' ');
    let json: serde_json::Value = serde_json::from_slice(&bytes[..end.context("a checksum")?])?;
    json["format"].as_u64().context("a format")
}

#[test]
fn records_of_every_release_are_read_and_written_alike_or_with_another_number() -> Result<()> {
    for release in releases()? {
        let mut found = BTreeSet::new();
        for entry in release.read_dir()? {
            let path = entry?.path();
            if path.is_dir() {
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.context("a name")?;
            let recode = RECORDS.iter().find(|(known, _)| *known == name);
            let (known, recode) = recode.with_context(|| format!("what is {name}?"))?;
            let bytes = std::fs::read(&path)?;
            let again = recode(&bytes).with_context(|| path.display().to_string())?;
            // A format that has changed has another number, so that an older program refuses it.
            ensure!(
                again == bytes || format_of(&again)? > format_of(&bytes)?,
                "{} is written differently, and with the same number: {}",
                path.display(),
                String::from_utf8_lossy(&again)
            );
            found.insert(*known);
        }
        let missing: Vec<_> = RECORDS
            .iter()
            .filter(|(name, _)| !found.contains(name))
            .collect();
        ensure!(missing.is_empty(), "{}: {missing:?}", release.display());
    }
    Ok(())
}

/// The objects of a release.
fn objects(release: &str) -> Result<ObjectFolder> {
    let path = folder().join(release).join("objects");
    let url = format!("file://{}", path.display());
    Ok(ObjectFolder::open_with("archive.url", &url, &[])?)
}

#[tokio::test]
async fn an_archive_of_the_first_release_is_read() -> Result<()> {
    let archive = Archive::new(
        objects("0.1.0")?,
        "QI89eZRE0xFBIh2FFEPBWg",
        "torture_9_80836cf8",
    );
    let partition = Partition(2);
    let chain = archive.chain(partition).await?;
    ensure!(chain.segments.len() == 6, "{:?}", chain.segments);
    // The topic had no gap.
    let mut records = 0;
    for segment in &chain.segments {
        let mut reader = archive.open(partition, segment, Columns::All).await?;
        while let Some(rows) = reader.next().await? {
            records += rows.records().count();
        }
    }
    let complete_to = chain.complete_to();
    ensure!(
        (records, complete_to) == (263, Some(Offset(263))),
        "{records} {complete_to:?}"
    );
    Ok(())
}

/// A file has to have the rows and the digest that its manifest says.
#[tokio::test]
async fn totals_of_the_first_release_are_read() -> Result<()> {
    let folder = TotalsFolder::new(objects("0.1.0")?, "torture_2_602ad31f");
    let id = TotalsId("fa4da0d6621db873".to_owned());
    let manifest = folder.manifest(&id).await?.context("a manifest")?;
    let names = CounterNames::new(&manifest.subject.definitions);
    let mut cells = Merge::new(vec![TotalsReader::new(
        &folder,
        &manifest,
        &names,
        TokenSelection::ALL,
    )]);
    let mut sums = vec![0_i64; manifest.accounts.len()];
    while let Some(cell) = cells.next().await? {
        let name = names.name(cell.name);
        let account = manifest
            .accounts
            .iter()
            .position(|one| one.counter == *name);
        sums[account.context("an account")?] += cell.total.0;
    }
    let expected: Vec<_> = manifest.accounts.iter().map(|one| one.sum).collect();
    ensure!(
        sums == expected && sums.iter().any(|sum| *sum != 0),
        "{sums:?} {expected:?}"
    );
    Ok(())
}
