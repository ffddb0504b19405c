//! Metrics of the workload and of its sidecar on one page, so that a pod is scraped once and past the capture.

use super::ask::{accepting, connect, get};
use super::typed;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use serde::Deserialize;
use sluice_proxy::telemetry::Metrics;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::timeout;

/// Bytes of the workload's page; of a longer one nothing is taken.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Time for it: scrapes have 10 s by default.
const TIME: Duration = Duration::from_secs(8);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The last line of a page in the form of OpenMetrics.
const END: &str = "# EOF\n";
/// Metrics of a process: the workload's count where both have them.
const OF_PROCESS: &str = "process_";

/// Where the workload has metrics (its `prometheus.io` annotations).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AppMetrics {
    /// The port.
    pub port: u16,
    /// The path.
    #[serde(default = "usual_path")]
    pub path: String,
}

fn usual_path() -> String {
    "/metrics".to_owned()
}

impl FromStr for AppMetrics {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

/// The workload's page as it came.
struct Page {
    text: String,
    is_openmetrics: bool,
}

/// Both; our own alone when the workload says nothing.
pub(super) async fn page(
    metrics: &Metrics,
    app: Option<&AppMetrics>,
    addresses: &[IpAddr],
    asked: &HeaderMap,
) -> Response<Full<Bytes>> {
    let of_app = match app {
        None => None,
        Some(app) => match timeout(TIME, fetch(app, addresses, asked)).await {
            Ok(Ok(page)) => Some(page),
            Ok(Err(reason)) => {
                tracing::debug!(reason, "the workload's metrics can't be had");
                None
            }
            Err(_) => {
                tracing::debug!("the workload's metrics take too long");
                None
            }
        },
    };
    let own = metrics.encode();
    let (form, text) = match of_app {
        None => (OPENMETRICS, own),
        Some(page) => (if page.is_openmetrics { OPENMETRICS } else { PROMETHEUS }, merged(&own, &page)),
    };
    typed(StatusCode::OK, HeaderValue::from_static(form), text)
}

async fn fetch(app: &AppMetrics, addresses: &[IpAddr], asked: &HeaderMap) -> Result<Page, String> {
    let stream = connect(addresses, app.port).await.map_err(|error| error.to_string())?;
    let request = Request::get(format!("/{}", app.path.trim_start_matches('/')))
        .header(HOST, format!("localhost:{}", app.port))
        .header(ACCEPT, accepting(asked))
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let response = get(stream, request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("answered {}", response.status()));
    }
    let form = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let is_openmetrics = form.starts_with("application/openmetrics-text");
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    let text = String::from_utf8(body.into()).map_err(|error| error.to_string())?;
    Ok(Page { text, is_openmetrics })
}

/// Ours first; of what only a process has, the workload's.
fn merged(own: &str, app: &Page) -> String {
    let has_process = app.text.lines().any(|line| line.starts_with(OF_PROCESS));
    let is_of_process = |line: &str| {
        let name = line.strip_prefix("# ").and_then(|comment| comment.split(' ').nth(1)).unwrap_or(line);
        name.starts_with(OF_PROCESS)
    };
    let mut text = String::with_capacity(own.len() + app.text.len() + 1);
    for line in own.lines().filter(|line| !line.starts_with("# EOF")) {
        if !(has_process && is_of_process(line)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.push_str(&app.text);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    if app.is_openmetrics && !text.ends_with(END) {
        text.push_str(END);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{AppMetrics, Page, merged};

    const OWN: &str = "# TYPE sluice_requests counter\nsluice_requests_total 1\n# TYPE process_open_fds gauge\n\
                       process_open_fds 9\n# EOF\n";

    #[test]
    fn a_page_has_one_end_and_one_process() {
        let text = "# TYPE up gauge\nup 1\n".to_owned();
        let page = merged(OWN, &Page { text, is_openmetrics: false });
        assert_eq!(
            page,
            "# TYPE sluice_requests counter\nsluice_requests_total 1\n# TYPE process_open_fds gauge\n\
             process_open_fds 9\n# TYPE up gauge\nup 1\n"
        );
        let text = "process_open_fds 5\n# EOF\n".to_owned();
        let page = merged(OWN, &Page { text, is_openmetrics: true });
        assert_eq!(
            page,
            "# TYPE sluice_requests counter\nsluice_requests_total 1\nprocess_open_fds 5\n# EOF\n"
        );
        let page = merged("# EOF\n", &Page { text: "up 1".to_owned(), is_openmetrics: true });
        assert_eq!(page, "up 1\n# EOF\n");
    }

    #[test]
    fn the_place_of_metrics_is_read() {
        let metrics: AppMetrics = r#"{"port":8080}"#.parse().unwrap();
        assert_eq!(metrics, AppMetrics { port: 8080, path: "/metrics".to_owned() });
        assert!("8080".parse::<AppMetrics>().is_err());
    }
}
