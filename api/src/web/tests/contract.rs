//! The description against the addresses that there are; `api/tests/contract` tries what it says by the hundred.

use super::*;

fn description() -> Value {
    serde_json::from_str(super::super::pages::OPENAPI).unwrap()
}

#[test]
fn every_address_is_described_and_no_other() {
    let described = description();
    let described: BTreeSet<&str> = described["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let counted = counted();
    let mut there: BTreeSet<&str> = counted
        .iter()
        .map(|(address, ..)| *address)
        .filter(|address| address.starts_with("/v1/"))
        .collect();
    there.extend([
        crate::operator::OBJECT,
        "/openapi.json",
        "/problems/{name}",
        "/health",
        "/ready",
        "/metrics",
    ]);
    assert_eq!(described, there);
}

#[tokio::test]
async fn every_example_of_the_description_works() {
    let here = Here::new("");
    let description = description();
    let parameter = |reference: &Value| {
        let name = reference["$ref"]
            .as_str()
            .unwrap()
            .rsplit('/')
            .next()
            .unwrap();
        description["components"]["parameters"][name].clone()
    };
    let mut tried = 0;
    for (address, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let mut path = address.clone();
            let mut query = Vec::new();
            for given in operation["parameters"].as_array().into_iter().flatten() {
                let given = if given["$ref"].is_string() {
                    parameter(given)
                } else {
                    given.clone()
                };
                let name = given["name"].as_str().unwrap();
                let example = &given["example"];
                let examples = example
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![example.clone()]);
                for example in examples {
                    let text = example
                        .as_str()
                        .map_or_else(|| example.to_string(), str::to_owned);
                    match given["in"].as_str() {
                        Some("path") => path = path.replace(&format!("{{{name}}}"), &text),
                        _ => query.push(format!("{name}={}", crate::query_string::encoded(&text))),
                    }
                }
            }
            let body = &operation["requestBody"]["content"]["application/json"]["example"];
            let got = match method.as_str() {
                "post" => here.post(&path, body.to_string()).await,
                _ => here.get(&format!("{path}?{}", query.join("&"))).await,
            };
            assert_eq!(
                got.status,
                200,
                "{method} {path} {query:?}: {}",
                String::from_utf8_lossy(&got.body)
            );
            tried += 1;
        }
    }
    assert!(tried > 8);
}

#[test]
fn every_problem_is_described() {
    let description = description();
    let names = &description["paths"]["/problems/{name}"]["get"]["parameters"][0]["schema"]["enum"];
    let described: Vec<&str> = names
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let there: Vec<&str> = crate::problem::Kind::EVERY
        .iter()
        .map(|kind| kind.name())
        .collect();
    assert_eq!(described, there);
}
