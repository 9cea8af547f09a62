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

/// The client for `url`, and the path that `url` names in its store.
pub(super) fn open(
    key: &str,
    url: &str,
    variables: &[(String, String)],
) -> Result<(Arc<dyn ObjectStore>, Path), UserError> {
    let wrong = |why: &str| UserError::new(format!("{key} = \"{url}\": {why}"), EXAMPLES);
    let parsed = Url::parse(url).map_err(|error| wrong(&format!("no URL: {error}")))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let why = "credentials do not belong into the URL, because it is shown";
        let message = format!("{key}: {why}");
        return Err(UserError::new(message, "put them into the environment"));
    }
    if parsed.scheme() == "file" && parsed.host_str().is_some() {
        return Err(wrong(
            "a file's URL has three slashes and a path from the root",
        ));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(wrong("a store's URL has no query and no fragment"));
    }
    if meaning(parsed.as_str()) != meaning(url) {
        let why = format!("it would be read as {parsed}, so write that");
        return Err(wrong(&why));
    }
    let (scheme, path) = ObjectStoreScheme::parse(&parsed)
        .map_err(|_| wrong("the store is none of file, s3, gs and az"))?;
    let client: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::Local => Arc::new(local()),
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
    if path.as_ref().is_empty() && matches!(scheme, ObjectStoreScheme::Local) {
        return Err(wrong("it names no folder"));
    }
    Ok((client, path))
}

/// The URL without what may be written in several ways: slashes at its end, and percent-encoding.
fn meaning(url: &str) -> Vec<u8> {
    percent_decode_str(url.trim_end_matches('/')).collect()
}

/// The file system of this machine.
pub(super) fn local() -> LocalFileSystem {
    LocalFileSystem::new().with_fsync(true)
}

fn unset(key: &str, url: &str, error: &object_store::Error) -> UserError {
    let message = format!("{key} = \"{url}\": {error}");
    let help = "set what is missing in the environment; docs/operations/archive.md, \"Where the archive lives\", lists the variables";
    UserError::new(message, help)
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
