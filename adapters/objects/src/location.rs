//! The URL of a store: which client it needs, and the place in it.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreScheme, RetryConfig};
use percent_encoding::percent_decode_str;
use stitch_common::user_error::UserError;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use url::Url;

/// How long one request may take: an object of 256 MiB at 1 MiB a second.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// The client repeats requests that failed this often at most. Its callers have retries of their own, which are reported.
const RETRIES_MAX: usize = 2;

const EXAMPLES: &str = "write it like file:///var/lib/stitch, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix";

/// Where a URL is.
pub(super) struct Location {
    pub(super) client: Arc<dyn ObjectStore>,
    /// The same client, if it is that of a folder of this machine.
    pub(super) local: Option<Arc<LocalFileSystem>>,
    /// The path that the URL names in the store.
    pub(super) root: Path,
}

impl Location {
    /// The folder `root` of this machine.
    pub(super) fn local(root: Path) -> Self {
        let client = Arc::new(LocalFileSystem::new().with_fsync(true));
        Self {
            client: Arc::clone(&client) as Arc<dyn ObjectStore>,
            local: Some(client),
            root,
        }
    }
}

/// The client for `url`.
pub(super) fn open(
    key: &str,
    url: &str,
    variables: &[(String, String)],
) -> Result<Location, UserError> {
    // Before anything shows the URL, also one that cannot be parsed for what is in it.
    if has_credentials(url) {
        let why = "credentials do not belong into the URL, because it is shown";
        let message = format!("{key}: {why}");
        return Err(UserError::new(message, "put them into the environment"));
    }
    if url.contains(['?', '#']) {
        let message = format!("{key}: the URL has a query or a fragment, which no store takes");
        return Err(UserError::new(message, EXAMPLES));
    }
    let wrong = |why: &str| UserError::new(format!("{key} = \"{url}\": {why}"), EXAMPLES);
    let parsed = Url::parse(url).map_err(|error| wrong(&format!("no URL: {error}")))?;
    if parsed.scheme() == "file" && parsed.host_str().is_some() {
        return Err(wrong(
            "a file's URL has three slashes and a path from the root",
        ));
    }
    if meaning(parsed.as_str()) != meaning(url) {
        let why = format!("it would be read as {parsed}, so write that");
        return Err(wrong(&why));
    }
    let (scheme, path) = ObjectStoreScheme::parse(&parsed)
        .map_err(|_| wrong("the store is none of file, s3, gs and az"))?;
    let client: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::Local if path.as_ref().is_empty() => {
            return Err(wrong("it names no folder"));
        }
        ObjectStoreScheme::Local => return Ok(Location::local(path)),
        ObjectStoreScheme::AmazonS3 => {
            Arc::new(s3(&parsed, variables).map_err(|error| unset(key, url, &error))?)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            Arc::new(gcs(&parsed, variables).map_err(|error| unset(key, url, &error))?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            Arc::new(azure(&parsed, variables).map_err(|error| unset(key, url, &error))?)
        }
        ObjectStoreScheme::Memory | ObjectStoreScheme::Http | _ => {
            return Err(wrong("the store is none of file, s3, gs and az"));
        }
    };
    Ok(Location {
        client,
        local: None,
        root: path,
    })
}

/// The URL without what may be written in several ways: slashes at its end, and percent-encoding.
fn meaning(url: &str) -> Vec<u8> {
    percent_decode_str(url.trim_end_matches('/')).collect()
}

/// Whether `url` has an `@` where a host is: what is before it may be a password. Also of one that is no URL.
fn has_credentials(url: &str) -> bool {
    let (scheme, rest) = url.split_once(':').unwrap_or(("", url));
    // Three slashes: a path from the root, in which it is part of a name.
    let host = match rest.strip_prefix("//") {
        Some(host) if scheme.eq_ignore_ascii_case("file") => host,
        Some(_) | None => rest.trim_start_matches(['/', '\\']),
    };
    let host = host.split(['/', '\\']).next().unwrap_or_default();
    host.contains('@')
}

fn unset(key: &str, url: &str, error: &object_store::Error) -> UserError {
    let error = without_quotations(&error.to_string());
    let message = format!("{key} = \"{url}\": {error}");
    let help = "set what is missing in the environment; docs/operations/archive.md, \"Where the archive lives\", lists the variables";
    UserError::new(message, help)
}

/// The client's words without what they quote, which may be part of a key or of its file; the names of missing fields remain.
fn without_quotations(words: &str) -> String {
    let mut rest = words;
    let mut result = String::with_capacity(words.len());
    while let Some(at) = rest.find(['"', '`']) {
        let (before, quoted) = rest.split_at(at);
        let quote = &quoted[..1];
        let (inside, after) = quoted[1..].rsplit_once(quote).unwrap_or((&quoted[1..], ""));
        let (inside, after) = match before.ends_with("missing field ") {
            true => quoted[1..].split_once(quote).unwrap_or((inside, after)),
            false => ("…", after),
        };
        result.push_str(before);
        result.push_str(quote);
        result.push_str(inside);
        result.push_str(quote);
        rest = after;
    }
    result.push_str(rest);
    result
}

/// The variables whose names begin with `prefix`, in lower case. Only these: a client also knows keys without a prefix,
/// such as `token`, which are variables of other programs.
fn with_prefix<'a>(
    variables: &'a [(String, String)],
    prefix: &'a str,
) -> impl Iterator<Item = (String, String)> + 'a {
    variables.iter().filter_map(move |(name, value)| {
        let name = name.to_ascii_lowercase();
        name.starts_with(prefix).then(|| (name, value.clone()))
    })
}

fn client_options() -> ClientOptions {
    // TLS by the provider that the rest of the program has. Another one may be installed already.
    aws_lc_rs::default_provider().install_default().ok();
    ClientOptions::new().with_timeout(REQUEST_TIMEOUT)
}

fn retries() -> RetryConfig {
    RetryConfig {
        max_retries: RETRIES_MAX,
        ..RetryConfig::default()
    }
}

fn s3(url: &Url, variables: &[(String, String)]) -> object_store::Result<impl ObjectStore + use<>> {
    let builder = AmazonS3Builder::new()
        .with_url(url.as_str())
        .with_client_options(client_options())
        .with_retry(retries());
    let set = |builder: AmazonS3Builder, (name, value): (String, String)| match name.parse() {
        Ok(key) => builder.with_config(key, value),
        Err(_) => builder,
    };
    with_prefix(variables, "aws_").fold(builder, set).build()
}

fn gcs(
    url: &Url,
    variables: &[(String, String)],
) -> object_store::Result<impl ObjectStore + use<>> {
    let builder = GoogleCloudStorageBuilder::new()
        .with_url(url.as_str())
        .with_client_options(client_options())
        .with_retry(retries());
    let set =
        |builder: GoogleCloudStorageBuilder, (name, value): (String, String)| match name.parse() {
            Ok(key) => builder.with_config(key, value),
            Err(_) => builder,
        };
    with_prefix(variables, "google_").fold(builder, set).build()
}

fn azure(
    url: &Url,
    variables: &[(String, String)],
) -> object_store::Result<impl ObjectStore + use<>> {
    let builder = MicrosoftAzureBuilder::new()
        .with_url(url.as_str())
        .with_client_options(client_options())
        .with_retry(retries());
    let set = |builder: MicrosoftAzureBuilder, (name, value): (String, String)| match name.parse() {
        Ok(key) => builder.with_config(key, value),
        Err(_) => builder,
    };
    with_prefix(variables, "azure_").fold(builder, set).build()
}
