//! Compares the API description with the routes; `api/tests/contract` tries it by hundreds of requests.

use super::*;

fn description() -> Value {
    serde_json::from_str(super::super::pages::OPENAPI).unwrap()
}

#[test]
fn exactly_the_routes_are_described() {
    let described = description();
    let described: BTreeSet<&str> = described["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let (_, count_routes) = count_routes();
    let mut routes: BTreeSet<&str> = count_routes
        .iter()
        .map(|(address, ..)| *address)
        .filter(|address| address.starts_with("/v1/"))
        .collect();
    routes.extend([
        crate::operator::STATUS,
        CONTROL,
        "/openapi.json",
        "/problems/{name}",
        "/health",
        "/ready",
        "/metrics",
    ]);
    assert_eq!(described, routes);
}

#[tokio::test]
async fn every_example_of_the_description_works() {
    let mut server = TestServer::new("STITCH_API__TOKENS=[\"0123456789abcdef\"]");
    let token = [("authorization", "Bearer 0123456789abcdef")];
    server.carry_out_commands();
    let description = description();
    let referenced = |reference: &Value| {
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
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let parameter = if parameter["$ref"].is_string() {
                    referenced(parameter)
                } else {
                    parameter.clone()
                };
                let name = parameter["name"].as_str().unwrap();
                let example = &parameter["example"];
                // What cannot be given with the others has none.
                if example.is_null() {
                    continue;
                }
                let examples = example
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![example.clone()]);
                for example in examples {
                    let text = example
                        .as_str()
                        .map_or_else(|| example.to_string(), str::to_owned);
                    match parameter["in"].as_str() {
                        Some("path") => path = path.replace(&format!("{{{name}}}"), &text),
                        _ => query.push(format!("{name}={}", crate::query_string::encoded(&text))),
                    }
                }
            }
            let body = &operation["requestBody"]["content"]["application/json"]["example"];
            // A command has the page forget the status that it was given.
            server.set_status(Ok(healthy()));
            let reply = match method.as_str() {
                "post" => {
                    let request = Request::post(&path).header(token[0].0, token[0].1);
                    server
                        .send(request.body(body.to_string().into()).unwrap())
                        .await
                }
                _ => {
                    let address = format!("{path}?{}", query.join("&"));
                    server.get_with(&address, &token).await
                }
            };
            assert_eq!(
                reply.status,
                200,
                "{method} {path} {query:?}: {}",
                String::from_utf8_lossy(&reply.body)
            );
            tried += 1;
        }
    }
    assert!(tried > 8);
}

/// Whoever may send a token may send one that does not open the address.
#[tokio::test]
async fn whatever_needs_a_token_describes_one_that_is_unknown_and_one_that_opens_something_else() {
    let tokens = "STITCH_API__TOKENS=[\"0123456789abcdef\"]";
    let server = TestServer::new(tokens);
    let description = description();
    let mut tried = 0;
    for (address, operations) in description["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let path = address.replace("{counter}", "plays").replace("{key}", "a");
            let request = match method.as_str() {
                "post" => Request::post(&path),
                _ => Request::get(&path),
            };
            let reply = server.send(request.body(Body::empty()).unwrap()).await;
            let described = |status: &str| !operation["responses"][status].is_null();
            assert_eq!(reply.status == 401, described("401"), "{method} {path}");
            assert_eq!(described("401"), described("403"), "{method} {path}");
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
    let names: Vec<&str> = crate::problem::Kind::EVERY
        .iter()
        .map(|kind| kind.name())
        .collect();
    assert_eq!(described, names);
}
