//! The HTTP/2 part of the attack matrix: frames that no client would send, against a real gateway.
//!
//! Every attack is bounded here by a count; the gateway must refuse it or bear it, serve others meanwhile and after,
//! and not grow.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod floods;
mod frames;
mod headers;
mod injection;
mod stalls;

use sluice_ir as ir;
use sluice_tests::client::frames::{self as raw, Frame, Frames, get, kind};
use sluice_tests::client::plain;
use sluice_tests::{Ask, H2, Received, Recorder, Reply, Stand, Wire, ir_samples};

/// RFC 9113 §7.
const FLOW_CONTROL_ERROR: u32 = 3;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A gateway, and the backend behind `/public`.
struct Target {
    stand: Stand,
    backend: Recorder,
}

impl Target {
    async fn start() -> Self {
        Self::with(|request| Reply::ok(request.line()), |_| {}).await
    }

    async fn with(
        script: impl Fn(&Received) -> Reply + Send + Sync + 'static,
        edit: impl FnOnce(&mut ir::Settings),
    ) -> Self {
        let backend = Recorder::scripted(script).await;
        let mut snapshot = ir_samples::with_settings(ir_samples::everything_to(backend.address()), edit);
        let public = ir::Match { path: ir::PathMatch::Prefix("/public".into()), ..ir::Match::default() };
        let route = ir_samples::route("all", vec![ir_samples::rule(0, public, "main")]);
        snapshot.routes.insert(route.key.clone(), route);
        Self { stand: Stand::of_snapshot(snapshot).await, backend }
    }

    async fn frames(&self) -> Frames {
        self.frames_with(&[]).await
    }

    async fn frames_with(&self, settings: &[(u16, u32)]) -> Frames {
        Frames::connect(self.stand.address(80), settings).await
    }

    /// Others are served, in both versions, and nothing reached the backend past the routes.
    async fn unharmed(&self, what: &str) {
        let ask = Ask::get("http://a.example/public/after");
        let answer = Wire::connect(self.stand.address(80)).await.ask(&ask).await;
        assert_eq!(answer.text(), "GET /public/after HTTP/1.1", "{what}: {answer:?}");
        let (h2, connection) = H2::over(plain(self.stand.address(80)).await).await;
        assert_eq!(h2.ask(&ask).await.text(), "GET /public/after HTTP/1.1", "{what}");
        connection.abort();
        let smuggled: Vec<_> =
            self.backend.lines().into_iter().filter(|line| !line.contains(" /public")).collect();
        assert!(smuggled.is_empty(), "{what}: smuggled {smuggled:?}");
    }

    /// Sends one header block as a request of its own connection: the stream or the connection must be refused, and
    /// nothing may reach the backend.
    async fn refuses_block(&self, what: &str, block: &[u8]) {
        let before = self.backend.lines().len();
        let mut frames = self.frames().await;
        frames.headers(1, block, true).await.unwrap();
        let outcome = frames.outcome(1).await;
        assert!(is_refusal(outcome.as_ref()), "{what}: {outcome:?}");
        assert_eq!(self.backend.lines().len(), before, "{what}: {:?}", self.backend.lines());
        self.unharmed(what).await;
    }
}

/// RST_STREAM, GOAWAY, a closed connection, or an answer of 4xx.
fn is_refusal(outcome: Option<&Frame>) -> bool {
    match outcome {
        None => true,
        Some(frame) if frame.kind == kind::HEADERS => is_client_error(&frame.payload),
        Some(frame) => matches!(frame.kind, kind::RST_STREAM | kind::GOAWAY),
    }
}

/// Whether a header block begins with a status of 4xx: 400 and 404 are indexed (RFC 7541 appendix A), others are
/// literals with the name `:status` (index 8).
fn is_client_error(block: &[u8]) -> bool {
    let block = match block {
        // A change of the dynamic table's size may come first.
        [first, rest @ ..] if first & 0xe0 == 0x20 => rest,
        _ => block,
    };
    match block {
        [0x8c | 0x8d, ..] => true,
        // Huffman code of `4` is 011010.
        [0x48 | 0x08, length, first, ..] => (length & 0x80 != 0 && first >> 2 == 0b01_1010) || *first == b'4',
        _ => false,
    }
}

/// A GET of `/public`.
fn good() -> Vec<u8> {
    get("a.example", "/public", &[])
}

/// Resident memory of this process in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Other tests of this process run meanwhile, so the bound is generous: what an attack sends is far above it or grows
/// without end.
#[track_caller]
fn assert_not_grown(before: u64) {
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 256 * 1024 * 1024, "grown by {} MiB", grown / 1024 / 1024);
}

/// Frames of one request that ends with its head.
fn request(stream: u32, block: &[u8]) -> Vec<u8> {
    raw::frame(kind::HEADERS, raw::flag::END_HEADERS | raw::flag::END_STREAM, stream, block)
}

/// The number of the n-th stream of a client.
fn stream(number: usize) -> u32 {
    u32::try_from(number * 2 + 1).unwrap()
}
