//! Scans of token intervals, and tokens themselves.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use stitch_common::cell::{CellSlot, Count, Counter, CounterName, Granularity};
use stitch_common::ports::{Level, Store};
use stitch_common::range::{RangeBits, TokenInterval};
use stitch_common::token::Token;

use crate::support::{Keyspace, add, bare_session, hour, slot};

type Scanned = Vec<(Token, Counter, CellSlot, Count)>;

async fn scanned(store: &impl Store, tokens: TokenInterval) -> (Scanned, usize) {
    let (mut cells, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let page = store.scan(tokens, Level::All, after).await.unwrap();
        cells.extend(page.cells);
        pages += 1;
        match page.next {
            Some(next) => after = Some(next),
            None => return (cells, pages),
        }
    }
}

#[tokio::test]
async fn scans_of_all_ranges_yield_every_cell_once_in_order() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let mut written = BTreeMap::new();
    let mut write = async |counter: Counter, cells: Vec<(CellSlot, i64)>| {
        for part in cells.chunks(100) {
            add(&store, &counter, part).await;
        }
        for (slot, amount) in cells {
            written.insert((counter.token(), counter.clone(), slot), Count(amount));
        }
    };
    for key in 0..300 {
        let cells = vec![(hour(key), key + 1), (slot(Granularity::All, 0), -key - 1)];
        write(Counter::new("plays", key.to_string()), cells.clone()).await;
        write(Counter::new("skips", key.to_string()), cells).await;
    }
    // More than a page of one counter.
    let many = (0..6000).map(|n| (hour(n), n + 1)).collect();
    write(Counter::new("plays", "many"), many).await;

    for bits in [0, 3] {
        let bits = RangeBits::new(bits).unwrap();
        let (mut read, mut pages) = (Vec::new(), 0);
        for range in bits.ranges() {
            let interval = bits.interval(range);
            let (cells, more) = scanned(&store, interval).await;
            assert!(cells.iter().all(|(token, ..)| interval.contains(*token)));
            read.extend(cells);
            pages += more;
        }
        assert!(
            pages > usize::from(bits.count()),
            "several pages in some range"
        );
        assert!(read.is_sorted_by_key(|(token, ..)| *token));
        assert!(
            read.iter()
                .all(|(token, counter, ..)| *token == counter.token())
        );
        let slots_in_order = read
            .windows(2)
            .all(|pair| pair[0].1 != pair[1].1 || pair[0].2 < pair[1].2);
        assert!(slots_in_order);
        assert_eq!(read.len(), written.len());
        let read: BTreeMap<_, _> = read
            .into_iter()
            .map(|(token, counter, slot, count)| ((token, counter, slot), count))
            .collect();
        assert!(read == written, "at {} ranges", bits.count());
    }
}

#[tokio::test]
async fn an_interval_includes_both_its_ends() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let counter = Counter::new("plays", "a");
    add(&store, &counter, &[(hour(0), 1)]).await;
    let token = counter.token();
    let only = TokenInterval {
        first: token,
        last: token,
    };
    assert_eq!(
        scanned(&store, only).await.0,
        [(token, counter, hour(0), Count(1))]
    );
    for adjacent in [
        TokenInterval {
            first: Token(i64::MIN),
            last: Token(token.0 - 1),
        },
        TokenInterval {
            first: Token(token.0 + 1),
            last: Token(i64::MAX),
        },
    ] {
        assert_eq!(scanned(&store, adjacent).await.0, []);
    }
}

#[tokio::test]
async fn tokens_equal_those_of_the_server() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let long = "x".repeat(1024);
    let odd = [
        " ",
        "\0",
        "a",
        "ab",
        "0",
        "-1",
        "ünï",
        "曲曲曲曲曲曲曲曲",
        "😀",
        "\u{10FFFF}",
        "\n",
        &long,
    ];
    let wide = "曲".repeat(341);
    for key in odd.iter().chain([&wide.as_str()]) {
        add(&store, &Counter::new("plays", *key), &[(hour(0), 1)]).await;
        add(&store, &Counter::new(*key, "plays"), &[(hour(0), 1)]).await;
    }
    for n in 0..200 {
        add(
            &store,
            &Counter::new("n", "n".repeat(n + 1)),
            &[(hour(0), 1)],
        )
        .await;
    }
    let select = format!(
        "SELECT token(counter, key), counter, key FROM {}.counts",
        keyspace.name
    );
    let rows = bare_session()
        .await
        .query_iter(select, ())
        .await
        .unwrap()
        .rows_stream::<(i64, String, String)>()
        .unwrap();
    let rows: Vec<_> = rows.try_collect().await.unwrap();
    assert_eq!(rows.len(), 2 * 13 + 200);
    for (token, name, key) in rows {
        assert_eq!(
            Counter::new(&*name, &*key).token(),
            Token(token),
            "{name:?} {key:?}"
        );
    }
}

#[tokio::test]
async fn rows_of_an_unknown_granularity_are_counted_and_left_out() {
    let keyspace = Keyspace::ready().await;
    let store = keyspace.store().await;
    let foreign = format!(
        "UPDATE {}.counts SET value = value + 1 WHERE counter = 'plays' AND key = 'a' AND granularity = 'week' \
         AND bucket = 0",
        keyspace.name
    );
    bare_session()
        .await
        .query_unpaged(foreign, ())
        .await
        .unwrap();
    let everything = RangeBits::new(0).unwrap();
    let interval = everything.interval(everything.ranges().next().unwrap());
    let page = store.scan(interval, Level::All, None).await.unwrap();
    let name = CounterName("plays, granularity week".into());
    assert_eq!(page.foreign, [(name, 1)].into());
    assert_eq!((page.cells, page.next), (Vec::new(), None));
}
