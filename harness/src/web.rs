//! A minimal HTTP client for the servers of processor and API.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests a page; returns its status and body.
pub async fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    exchange(address, path, &request).await
}

/// Posts JSON; returns the status and the body of the answer.
pub async fn post(address: &str, path: &str, json: &str) -> Result<(u16, String)> {
    let length = json.len();
    let request = format!(
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
    );
    exchange(address, path, &request).await
}

async fn exchange(address: &str, path: &str, request: &str) -> Result<(u16, String)> {
    let request = async {
        let mut connection = TcpStream::connect(address).await?;
        connection.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(REPLY_TIMEOUT, request)
        .await
        .with_context(|| format!("http://{address}{path} does not answer"))??;
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer")?;
    let status = head.split(' ').nth(1).context("an HTTP status")?;
    Ok((status.parse()?, body.to_owned()))
}

/// The sum of a metric's samples over all labels; none if there is no such metric.
pub fn metric(page: &str, name: &str) -> Option<f64> {
    let samples: Vec<f64> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter(|line| line.split(['{', ' ']).next() == Some(name))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    (!samples.is_empty()).then(|| samples.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_the_sum_of_its_samples() {
        let page = "# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\n";
        assert_eq!(metric(page, "a"), Some(5.0));
        assert_eq!(metric(page, "b"), None);
    }
}
