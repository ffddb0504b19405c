//! TXT records by a service of the user: `POST {"action":"present"|"cleanup","fqdn":…,"value":…,"zone":…}`.

use super::rfc2136::Change;
use crate::Webhook;
use crate::client::fetch::{Fetcher, USER_AGENT};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT as USER_AGENT_HEADER};
use http::{HeaderValue, Request};
use http_body_util::Full;
use serde::Serialize;
use std::time::Duration;

/// How often it is tried, and the pause before the second time; later ones double it.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// The body. `fqdn` and `zone` have no dot at the end.
#[derive(Serialize)]
struct Call<'a> {
    action: &'static str,
    fqdn: &'a str,
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
}

/// Asks the service to add or remove a value. Any 2xx is success; 5xx, 429 and no answer are tried again.
pub(crate) async fn update(
    settings: &Webhook,
    fqdn: &str,
    value: &str,
    change: Change,
) -> Result<(), String> {
    let fault = |text: String| format!("DNS webhook {}: {text}", settings.url);
    if !settings.url.starts_with("https://") {
        return Err(fault("the URL must be https".to_owned()));
    }
    let action = if change == Change::Add { "present" } else { "cleanup" };
    let body = serde_json::to_vec(&Call { action, fqdn, value, zone: settings.zone.as_deref() });
    let body = Bytes::from(body.map_err(|error| fault(error.to_string()))?);
    let fetcher = Fetcher::new(settings.authorities.as_deref()).map_err(fault)?;
    let mut tries = 0;
    loop {
        let error = match fetcher.fetch(request(settings, body.clone()).map_err(fault)?).await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) if answer.status().is_client_error() && answer.status().as_u16() != 429 => {
                return Err(fault(format!("{action} of {fqdn} is refused with {}", answer.status())));
            }
            Ok(answer) => format!("{action} of {fqdn} is answered {}", answer.status()),
            Err(error) => error,
        };
        tries += 1;
        if tries == TRIES {
            return Err(fault(error));
        }
        tokio::time::sleep(PAUSE * 2_u32.pow(tries - 1)).await;
    }
}

fn request(settings: &Webhook, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::post(&settings.url)
        .header(USER_AGENT_HEADER, USER_AGENT)
        .header(CONTENT_TYPE, "application/json");
    if let Some((name, secret)) = &settings.header {
        let mut value = HeaderValue::from_bytes(secret.expose())
            .map_err(|_| format!("the secret of header {name} has bytes that a header can't have"))?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    request.body(Full::new(body)).map_err(|error| error.to_string())
}
