//! What holds where no Telemetry and no configuration of the mesh says anything: the environment, by OpenTelemetry's names.

use super::ALL;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use sluice_ir::Collector;
use std::path::PathBuf;

/// Where collectors take spans over HTTP, below an endpoint for all signals.
const TRACES_PATH: &str = "/v1/traces";

/// What holds where nobody says anything else, and how collectors are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceOptions {
    /// Where spans go; `None`: nowhere.
    pub collector: Option<Collector>,
    /// File with the certificates that vouch for collectors in TLS; `None`: the system's.
    pub authorities: Option<PathBuf>,
    /// Fields of requests to collectors over HTTP. Their values do not print.
    pub headers: HeaderMap,
    /// Share of requests that nobody has decided about, in hundredths of a percent; `None`: 1 %.
    pub sampling: Option<u32>,
    /// Name of the service in its spans; `None`: `CANONICAL-SERVICE.NAMESPACE`, or that of the Gateway.
    pub service: Option<String>,
}

impl TraceOptions {
    /// From variables: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT` (`http://HOST:4317`, `https://...`),
    /// `..._PROTOCOL` (`grpc` or `http/protobuf`), `..._CERTIFICATE` (a file), `..._HEADERS`, `OTEL_TRACES_SAMPLER_ARG` (a share from 0 to 1),
    /// `OTEL_SERVICE_NAME`. `name`: looks a variable up. What can't be used is told in the log; a protocol that is not known
    /// sends spans nowhere.
    pub fn of(name: impl Fn(&str) -> Option<String>) -> Self {
        let said = |variable: &str| name(variable).filter(|it| !it.is_empty());
        let otlp = |what: &str| {
            said(&format!("OTEL_EXPORTER_OTLP_TRACES_{what}"))
                .or_else(|| said(&format!("OTEL_EXPORTER_OTLP_{what}")))
        };
        let own = said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        let of_all = said("OTEL_EXPORTER_OTLP_ENDPOINT");
        let collector = match otlp("PROTOCOL").as_deref() {
            None | Some("grpc") => own.or(of_all).map(Collector::grpc),
            Some("http/protobuf") => {
                let below = of_all.map(|it| format!("{}{TRACES_PATH}", it.trim_end_matches('/')));
                own.or(below).map(Collector::http)
            }
            Some(protocol) => {
                tracing::warn!(
                    protocol,
                    "OTEL_EXPORTER_OTLP_PROTOCOL is neither grpc nor http/protobuf: no spans are sent by it"
                );
                None
            }
        };
        let share = said("OTEL_TRACES_SAMPLER_ARG").and_then(|it| it.parse::<f64>().ok());
        Self {
            collector,
            authorities: otlp("CERTIFICATE").map(PathBuf::from),
            headers: otlp("HEADERS").map(|it| headers(&it)).unwrap_or_default(),
            sampling: share.filter(|it| (0.0..=1.0).contains(it)).map(|it| (it * f64::from(ALL)) as u32),
            service: said("OTEL_SERVICE_NAME"),
        }
    }

    /// From the environment of the process.
    pub fn from_env() -> Self {
        Self::of(|name| std::env::var(name).ok())
    }
}

/// `NAME=VALUE,NAME=VALUE`, with values as in a URL (OpenTelemetry: Specifying headers via environment variables).
fn headers(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let pair = pair
            .split_once('=')
            .map(|(name, value)| (name.trim(), percent_decode_str(value.trim()).collect::<Vec<u8>>()));
        let name = pair.as_ref().and_then(|it| it.0.parse::<HeaderName>().ok());
        let value = pair.and_then(|it| HeaderValue::from_bytes(&it.1).ok());
        match (name, value) {
            (Some(name), Some(mut value)) => {
                value.set_sensitive(true);
                headers.append(name, value);
            }
            _ => tracing::warn!(
                "OTEL_EXPORTER_OTLP_HEADERS has an entry that is no NAME=VALUE; it is left out"
            ),
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::TraceOptions;
    use sluice_ir::Collector;
    use std::path::Path;

    fn of(variables: &[(&str, &str)]) -> TraceOptions {
        TraceOptions::of(|name| {
            variables.iter().find(|it| it.0 == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn options_have_opentelemetrys_names() {
        let options =
            of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4317"), ("OTEL_TRACES_SAMPLER_ARG", "0.25")]);
        assert_eq!(options.collector, Some(Collector::grpc("http://otel:4317")));
        assert_eq!((options.sampling, options.service), (Some(2_500), None));
        assert_eq!(of(&[("OTEL_TRACES_SAMPLER_ARG", "2")]).sampling, None);
    }

    #[test]
    fn over_http_an_endpoint_of_all_signals_gets_the_path_of_traces_and_one_of_traces_none() {
        let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let all = of(&[protocol, ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otel:4318/")]);
        assert_eq!(all.collector, Some(Collector::http("https://otel:4318/v1/traces")));
        let own = of(&[protocol, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://otel/own")]);
        assert_eq!(own.collector, Some(Collector::http("https://otel/own")));
        let json = of(&[
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel"),
        ]);
        assert_eq!(json.collector, None);
    }

    #[test]
    fn fields_are_decoded_and_do_not_print() {
        let options = of(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20s3cret, x-a = 1%,nonsense,=2"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/etc/otel.pem"),
        ]);
        assert_eq!(options.headers.len(), 2);
        assert_eq!(options.headers["authorization"], "Bearer s3cret");
        assert_eq!(options.headers["x-a"], "1%");
        assert!(!format!("{options:?}").contains("s3cret"));
        assert_eq!(options.authorities.as_deref(), Some(Path::new("/etc/otel.pem")));
    }
}
