//! The access log of the minimal proxy: one JSON object a line, written in blocks like the peers do.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::{Context, Result};
use pingora_proxy::Session;

/// Bytes that are collected before one write.
const BLOCK_BYTES: usize = 64 * 1024;

/// An open log file.
pub(super) struct AccessLog(Mutex<BufWriter<File>>);

impl AccessLog {
    /// Makes the file, or empties it.
    pub(super) fn create(file: &Path) -> Result<Self> {
        let open = File::create(file).with_context(|| file.display().to_string())?;
        Ok(Self(Mutex::new(BufWriter::with_capacity(BLOCK_BYTES, open))))
    }

    /// One line for the request that has ended.
    pub(super) fn write(&self, session: &Session) {
        let request = session.req_header();
        let host = request.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("-");
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let time_ms =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis());
        let Ok(mut writer) = self.0.lock() else { return };
        // A full disk loses lines, not requests.
        let _ = writeln!(
            writer,
            "{{\"time\":{time_ms},\"method\":\"{}\",\"host\":{host:?},\"path\":{:?},\"status\":{status},\"bytes\":{}}}",
            request.method,
            request.uri.path(),
            session.body_bytes_sent(),
        );
    }
}
