//! Diagnostics of the process itself: structured events on standard error, apart from the access log.
//!
//! What is shown follows the variable `SLUICE_LOG`, a filter such as `info` or `sluice_proxy::upstream=debug,warn`.
//! Pingora reports ordinary client mistakes as warnings and formats them while it serves; it is kept to errors unless
//! the filter names it.

use anyhow::{Context as _, Result};
use std::fmt;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// Variable that replaces the default filter.
const VARIABLE: &str = "SLUICE_LOG";

/// Crates that speak on the request path, or of what is no trouble. A filter applies to every target that begins with
/// its name.
const QUIET: &str = "pingora=error,pingora_proxy::proxy_cache=off,pingora_cache=off,h2=error,hyper=error,rustls=error,hickory=error,notify=error";

/// The form of messages, as the command line has it: `text` or `json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is no form of messages; write text or json")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Sends events of this process to standard error, filtered by `SLUICE_LOG` or else by `default_filter`. Once for each
/// process.
///
/// # Errors
/// When the filter can't be read, or when a subscriber is installed already.
pub fn init_tracing(format: LogFormat, default_filter: &str) -> Result<()> {
    let own = std::env::var(VARIABLE).ok().filter(|filter| !filter.trim().is_empty());
    let filter = match &own {
        Some(filter) => parse(VARIABLE, filter)?,
        None => parse("the default filter", default_filter)?,
    };
    // Colours are for terminals, not for files and journals.
    let colours = io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    let set = match format {
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
        LogFormat::Text => builder.finish().try_init(),
    };
    set.context("diagnostics are set up already")
}

/// The filter with the quiet crates in front, so that what the operator says about them replaces it.
fn parse(origin: &'static str, filter: &str) -> Result<EnvFilter> {
    EnvFilter::builder().parse(format!("{QUIET},{filter}")).with_context(|| {
        format!("{origin} {filter:?} is not a log filter such as \"info\" or \"sluice_proxy=debug,warn\"")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::{LogFormat, parse};
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use tracing::{error, info, warn};

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(filter: &str) -> String {
        let memory = Memory::default();
        let of_writer = memory.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(parse("test", filter).unwrap())
            .with_writer(move || of_writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            info!("of ours");
            warn!(target: "pingora_proxy", "a client mistake");
            error!(target: "pingora_core::server", "a fault");
        });
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn pingora_shows_errors_only() {
        let text = shown("debug");
        assert!(text.contains("of ours") && text.contains("a fault"), "{text}");
        assert!(!text.contains("a client mistake"), "{text}");
    }

    #[test]
    fn a_filter_that_names_pingora_is_obeyed() {
        assert!(shown("info,pingora_proxy=warn").contains("a client mistake"));
        assert!(shown("info,pingora=warn").contains("a client mistake"));
    }

    #[test]
    fn a_form_is_text_or_json() {
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse::<LogFormat>(), Ok(format));
        }
        assert!("JSON".parse::<LogFormat>().is_err());
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let text = parse("SLUICE_LOG", "sluice=loud").map(|_| ()).unwrap_err().to_string();
        assert!(text.starts_with("SLUICE_LOG \"sluice=loud\" is not a log filter"), "{text}");
    }
}
