use super::intervals::{CountedFile, check};
use super::*;
use stitch_common::ports::Bounds;

#[test]
fn names_are_those_of_the_default_layout() {
    let parsed = |path: &str| parse(path, "events.v1");
    let fine = parsed("partition=12/events.v1+12+0000000345.bin").unwrap();
    let bytes = (ConnectFormat::Bytes, Compression::None);
    assert_eq!(fine, (Partition(12), Offset(345), bytes.0, bytes.1));
    let compressed = |name| {
        let (.., format, compression) = parsed(name).unwrap();
        (format, compression)
    };
    assert_eq!(
        compressed("partition=0/events.v1+0+0000000000.bin.gz"),
        (ConnectFormat::Bytes, Compression::Gzip)
    );
    assert_eq!(
        compressed("partition=0/events.v1+0+0000000000.json.gz"),
        (ConnectFormat::Json, Compression::Gzip)
    );
    let long = parsed("partition=0/events.v1+0+12345678901.json").unwrap();
    assert_eq!(
        long,
        (
            Partition(0),
            Offset(12_345_678_901),
            ConnectFormat::Json,
            Compression::None
        )
    );
    for (wrong, why) in [
        ("events.v1+0+0000000000.bin", "its path is not"),
        ("year=2026/events.v1+0+0000000000.bin", "its path is not"),
        ("partition=x/events.v1+0+0000000000.bin", "its path is not"),
        ("partition=0/events.v1+0+.bin", "its path is not"),
        ("partition=0/events.v1+0+0000000000", "its path is not"),
        (
            "partition=0/events.v2+0+0000000000.bin",
            "of the topic events.v2",
        ),
        (
            "partition=0/events.v1+1+0000000000.bin",
            "its name says partition 1",
        ),
        (
            "partition=0/events.v1+0+0000000000.avro",
            "the format .avro",
        ),
        (
            "partition=0/events.v1+0+0000000000.bin.zst",
            "the format .bin.zst",
        ),
    ] {
        let error = parsed(wrong).unwrap_err();
        assert!(error.contains(why), "{wrong}: {error}");
    }
    // Without a dot in the topic.
    assert!(parse("partition=0/events+0+0000000000.bin", "events").is_ok());
}

fn file(start: i64, rows: u64) -> CountedFile {
    CountedFile {
        file: ConnectFile {
            name: ObjectName(format!("{start}")),
            bytes: 1,
            partition: Partition(0),
            start: Offset(start),
            format: ConnectFormat::Bytes,
            compression: Compression::None,
        },
        rows,
        seal: None,
    }
}

fn checked(files: &[CountedFile], begin: i64, end: i64) -> Result<(usize, i64), ConnectError> {
    let log = Bounds {
        begin: Offset(begin),
        end: Offset(end),
    };
    let intervals = check(Partition(0), files, log)?;
    Ok((intervals.files.len(), intervals.to.0))
}

#[test]
fn files_chain_where_each_begins_at_the_end_of_the_one_before() {
    let files = [file(5, 3), file(8, 2), file(10, 4)];
    // As far as the log begins.
    assert_eq!(checked(&files, 14, 20).unwrap(), (3, 14));
    assert_eq!(checked(&files, 12, 20).unwrap(), (3, 12));
    assert_eq!(checked(&files, 10, 20).unwrap(), (2, 10));
    assert_eq!(
        checked(&files, 0, 20).unwrap(),
        (0, 0),
        "Kafka has all of it"
    );
    assert_eq!(checked(&[], 9, 20).unwrap(), (0, 9));
}

/// Whether the last file that is needed is confirmed.
#[test]
fn a_file_that_ends_where_the_log_begins_is_confirmed_by_the_next_one_or_an_empty_log() {
    let is_confirmed = |files: &[CountedFile], begin, end| {
        let log = Bounds {
            begin: Offset(begin),
            end: Offset(end),
        };
        let intervals = check(Partition(0), files, log).unwrap();
        intervals.unconfirmed.is_none()
    };
    let files = [file(5, 3), file(8, 2)];
    assert!(!is_confirmed(&files, 10, 20));
    assert!(is_confirmed(&files, 10, 10), "there is no record beside it");
    assert!(is_confirmed(&files, 9, 20), "the log is compared");
    assert!(is_confirmed(&files, 8, 20), "by the second");
    let gap = checked(&[file(5, 3), file(9, 2)], 8, 20).unwrap_err();
    assert!(
        gap.to_string()
            .starts_with("5 ends at offset 8, but 9 begins at 9"),
        "{gap}"
    );
    // The log, which is compared, says where it ends.
    assert_eq!(checked(&[file(5, 3), file(9, 2)], 7, 20).unwrap(), (1, 7));
}

#[test]
fn files_that_do_not_chain_are_refused_by_name() {
    let overlap = checked(&[file(0, 4), file(3, 2)], 5, 9).unwrap_err();
    let text = "0 has records up to offset 4, but 3 begins at 3";
    assert!(overlap.to_string().starts_with(text), "{overlap}");
    let gap = checked(&[file(0, 2), file(3, 2)], 5, 9).unwrap_err();
    assert!(
        gap.to_string()
            .starts_with("0 ends at offset 2, but 3 begins at 3"),
        "{gap}"
    );
    let twice = checked(&[file(0, 4), file(0, 4)], 4, 9).unwrap_err();
    assert!(matches!(twice, ConnectError::Overlap { .. }), "{twice}");
    let later = checked(&[file(0, 4)], 5, 9).unwrap_err();
    assert!(matches!(later, ConnectError::LogLater { .. }), "{later}");
    let shorter = checked(&[file(0, 4)], 2, 3).unwrap_err();
    assert!(
        matches!(shorter, ConnectError::LogShorter { .. }),
        "{shorter}"
    );
    let mut json = file(0, 4);
    json.file.format = ConnectFormat::Json;
    let rewritten = checked(&[json.clone()], 4, 9).unwrap_err();
    assert!(
        matches!(rewritten, ConnectError::Rewritten { .. }),
        "{rewritten}"
    );
    assert_eq!(
        checked(&[json], 0, 9).unwrap(),
        (0, 0),
        "Kafka has its records"
    );
}
