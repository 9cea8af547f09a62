//! Requests to the API, which anyone sends: query strings, bodies, and what their parameters say.

use std::sync::LazyLock;

use stitch_api_request::command_request::{self, CommandRequest};
use stitch_api_request::params::{self, Window};
use stitch_api_request::problem::Problem;
use stitch_api_request::query_request::{QueryBody, QueryRequest, Select};
use stitch_api_request::query_string::{Query, encoded};
use stitch_calendar::time::Time;
use stitch_common::cell::{CounterName, Granularity, Key};
use stitch_common::definition::{AmountSource, CounterDefinition};

const EXAMPLE: &str = "/works";
const ONCE: [&str; 2] = ["at", "from"];
const REPEATED: [&str; 1] = ["key"];

/// A problem shows a request that works, and its body is JSON.
fn is_told(problem: &Problem) {
    assert_eq!(problem.example(), Some(EXAMPLE));
    assert!(!problem.detail().is_empty());
    let body: serde_json::Value = serde_json::from_slice(&problem.body()).expect("JSON");
    assert_eq!(body["example"], EXAMPLE);
}

/// Names and values of the parameters, encoded again.
fn written(query: &Query) -> String {
    let pairs = ONCE.iter().chain(&REPEATED).flat_map(|name| {
        let values = query.all(name);
        values.map(move |value| format!("{}={}", encoded(name), encoded(value)))
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// A query string is refused, or written again it says the same.
pub(crate) fn query_string(bytes: &[u8]) {
    let raw = String::from_utf8_lossy(bytes);
    let parse = |raw: &str| Query::parse(Some(raw), &ONCE, &REPEATED, EXAMPLE.to_owned());
    match parse(&raw) {
        Ok(query) => {
            assert!(ONCE.iter().all(|name| query.all(name).count() <= 1));
            let again = parse(&written(&query)).expect("it was accepted");
            assert_eq!(written(&again), written(&query));
        }
        Err(problem) => is_told(&problem),
    }
    // A page has only values of its own parameter, whatever else is there.
    match Query::parse_for_page(Some(&raw), "key", EXAMPLE.to_owned()) {
        Ok(query) => assert!(ONCE.iter().all(|name| query.get(name).is_none())),
        Err(problem) => is_told(&problem),
    }
    let text = encoded(&raw);
    let query = parse(&format!("at={text}")).expect("it is encoded");
    assert_eq!(query.get("at"), Some(&*raw));
}

/// How many counters times keys a request may have.
const PARTS_MAX: usize = 20;

/// A request is within its bound, and its address is that of the same request.
fn has_one_address(request: &QueryRequest) {
    let parts = request.counters.len() * request.keys.len();
    assert!((1..=PARTS_MAX).contains(&parts));
    let address = request.address();
    let (path, raw) = address.split_once('?').expect("a query string");
    assert_eq!(path, "/v1/query");
    let again = QueryRequest::from_address(Some(raw), PARTS_MAX, EXAMPLE.to_owned());
    let again = again.expect("the address of a request");
    assert_eq!(
        (&again.counters, &again.keys),
        (&request.counters, &request.keys)
    );
    for select in [Select::Count, Select::Series, Select::Totals] {
        assert_eq!(again.selects(select), request.selects(select));
    }
    assert_eq!(again.address(), address);
}

/// A query in an address.
pub(crate) fn query(bytes: &[u8]) {
    let raw = String::from_utf8_lossy(bytes);
    let request = QueryRequest::from_address(Some(&raw), PARTS_MAX, EXAMPLE.to_owned());
    match request {
        Ok(request) => has_one_address(&request),
        Err(problem) => is_told(&problem),
    }
    let (counter, key) = ("plays".to_owned(), "abc".to_owned());
    if let Ok(request) = QueryRequest::from_key(counter, key, Some(&raw), 1, EXAMPLE.to_owned()) {
        has_one_address(&request);
    }
}

/// The same in a body.
pub(crate) fn query_body(bytes: &[u8]) {
    let Ok(body) = serde_json::from_slice::<QueryBody>(bytes) else {
        return;
    };
    match QueryRequest::from_body(body, PARTS_MAX, EXAMPLE.to_owned()) {
        Ok(request) => has_one_address(&request),
        Err(problem) => is_told(&problem),
    }
}

const NAMES: [&str; 5] = [
    params::GRANULARITY,
    params::AT,
    params::TIME_ZONE,
    params::UTC_OFFSET,
    params::LAYER,
];

/// A counter that is kept by everything.
fn definition() -> &'static CounterDefinition {
    static DEFINITION: LazyLock<CounterDefinition> = LazyLock::new(|| CounterDefinition {
        name: CounterName("plays".into()),
        on: vec!["play".to_owned()],
        key: "track".to_owned(),
        granularities: Granularity::EVERY.to_vec(),
        amount: AmountSource::Fixed(1),
    });
    &DEFINITION
}

/// The moment of a request: 2026-05-01, 12:34 at UTC.
const NOW: Time = Time(1_777_638_840_000);

/// A period has its moment in it, and is added up from cells; whatever else a request asks for is a problem.
pub(crate) fn window(bytes: &[u8]) {
    let raw = String::from_utf8_lossy(bytes);
    let Ok(query) = Query::parse(Some(&raw), &NAMES, &[], EXAMPLE.to_owned()) else {
        return;
    };
    if let Err(problem) = params::layer(&query) {
        is_told(&problem);
    }
    let zone = match params::zone(&query) {
        Ok(zone) => zone,
        Err(problem) => return is_told(&problem),
    };
    let parameter = params::zone_parameter(&zone);
    let of_parameter = Query::parse(Some(&parameter), &NAMES, &[], EXAMPLE.to_owned());
    let again = params::zone(&of_parameter.expect("a parameter"));
    assert!(again.is_ok_and(|again| again == zone), "{parameter}");
    match Window::parse(&query, definition(), &zone, NOW) {
        Ok((Window::All, cells)) => assert_eq!(cells.len(), 1),
        Ok((Window::Period { start, end, .. }, cells)) => {
            let at = params::time(&query, params::AT, &zone).expect("it was accepted");
            let at = at.unwrap_or(NOW);
            assert!(start <= at && at < end && !cells.is_empty());
        }
        Err(problem) => is_told(&problem),
    }
}

/// A command has a reason that fits into a line.
pub(crate) fn command(bytes: &[u8]) {
    let raw = String::from_utf8_lossy(bytes);
    let query = Query::parse(Some(&raw), &command_request::NAMES, &[], EXAMPLE.to_owned());
    let Ok(query) = query else {
        return;
    };
    match CommandRequest::parse(&query) {
        Ok(request) => {
            let reason = &request.reason;
            assert!(reason.len() <= 500 && !reason.chars().any(char::is_control));
        }
        Err(problem) => is_told(&problem),
    }
    // A key of any length is one, or a problem.
    let key = query.get(command_request::REASON).unwrap_or_default();
    let counter = params::counter(definition(), key, EXAMPLE);
    assert_eq!(counter.is_ok(), (1..=Key::BYTES_MAX).contains(&key.len()));
}
