//! What is written, and that nothing is lost but what is counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::istio::ISTIO_FIELDS;
use super::record::{Extra, FIELDS};
use super::{AccessLogger, AccessRecord};
use crate::telemetry::Outcome;
use parking_lot::{Condvar, Mutex};
use serde_json::{Map, Value};
use sluice_ir::AccessLog;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const LONG: Duration = Duration::from_secs(30);

fn full() -> AccessRecord<'static> {
    AccessRecord {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_397_715_123),
        gateway: "edge/web",
        listener: Some("https"),
        route: Some("HTTPRoute shop/cart"),
        rule: Some("main"),
        method: "GET",
        host: "shop.example.com",
        path: "/cart",
        protocol: "HTTP/2",
        status: 200,
        outcome: Outcome::Served,
        reason: Some("too many"),
        request_bytes: 12,
        response_bytes: 3_456,
        duration: Duration::from_micros(1_234),
        upstream: Some("10.1.2.3:8080".parse().unwrap()),
        upstream_duration: Some(Duration::from_micros(900)),
        attempts: 2,
        client: "[2001:db8::1]:40000".parse().unwrap(),
        client_subject: Some("CN=client,O=Shop"),
        client_identity: Some("spiffe://td.example/ns/shop/sa/web"),
        port: Some(443),
        server_name: Some("shop.example.com"),
        tls_version: Some("1.3"),
        user_agent: Some(b"curl/8.5"),
        request_id: Some(b"abc-1"),
        traceparent: Some(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        extra: Extra {
            cluster: Some("outbound|8080||cart.shop.svc.cluster.local".into()),
            local: Some("192.0.2.1:443".parse().unwrap()),
            forwarded_for: Some(b"192.0.2.7"),
            ..Extra::default()
        },
    }
}

fn bare() -> AccessRecord<'static> {
    AccessRecord {
        gateway: "",
        listener: None,
        route: None,
        rule: None,
        host: "",
        status: 0,
        outcome: Outcome::ClientGone,
        reason: None,
        client_subject: None,
        client_identity: None,
        port: None,
        upstream: None,
        upstream_duration: None,
        attempts: 0,
        server_name: None,
        tls_version: None,
        user_agent: None,
        request_id: None,
        traceparent: None,
        extra: Extra::default(),
        ..full()
    }
}

/// Everything that was written to it.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: AccessLog, record: &AccessRecord<'_>) -> String {
    let memory = Memory::default();
    let log = AccessLogger::to_writer(Box::new(memory.clone()));
    log.write(format, record);
    assert!(log.flush_within(LONG));
    memory.text()
}

fn json(record: &AccessRecord<'_>) -> Map<String, Value> {
    let text = logged(AccessLog::Json, record);
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_full_record_has_the_documented_fields_in_order() {
    let text = logged(AccessLog::Json, &full());
    let mut position = 0;
    for (name, _, _) in FIELDS {
        let field = format!("\"{name}\":");
        position +=
            text[position..].find(&field).unwrap_or_else(|| panic!("{name} misses or is late: {text}"));
    }
    assert_eq!(json(&full()).len(), FIELDS.len());
}

#[test]
fn a_bare_record_has_the_fields_that_are_always_there() {
    let record = json(&bare());
    let always: Vec<_> = FIELDS.iter().filter(|(_, always, _)| *always).map(|(name, _, _)| *name).collect();
    // A request has a method and a path besides, a stream has neither.
    assert_eq!(record.len(), always.len() + 2, "{record:?}");
    assert!(always.iter().all(|name| record.contains_key(*name)), "{record:?}");
    let stream = json(&AccessRecord { method: "", path: "", protocol: "TCP", ..bare() });
    assert_eq!(stream.len(), always.len(), "{stream:?}");
}

#[test]
fn json_holds_the_values() {
    let record = json(&full());
    for (name, value) in [
        ("time", Value::from("2026-11-23T01:35:15.123Z")),
        ("path", "/cart".into()),
        ("status", 200.into()),
        ("outcome", "served".into()),
        ("response_bytes", 3_456.into()),
        ("duration_ms", 1.234.into()),
        ("upstream_duration_ms", 0.9.into()),
        ("client_address", "[2001:db8::1]:40000".into()),
        ("upstream_address", "10.1.2.3:8080".into()),
        ("attempts", 2.into()),
    ] {
        assert_eq!(record[name], value, "{name}");
    }
}

#[test]
fn text_is_one_line_for_people() {
    assert_eq!(
        logged(AccessLog::Text, &full()),
        "2026-11-23T01:35:15.123Z 200 served 1.234ms \"GET shop.example.com/cart HTTP/2\" in=12 out=3456 \
         client=[2001:db8::1]:40000 upstream=10.1.2.3:8080 upstream_duration=0.900ms attempts=2 \
         reason=\"too many\" subject=\"CN=client,O=Shop\" identity=\"spiffe://td.example/ns/shop/sa/web\" route=\"HTTPRoute shop/cart\" rule=\"main\" listener=\"https\" sni=\"shop.example.com\" \
         tls=\"1.3\" agent=\"curl/8.5\" id=\"abc-1\" trace=\"0af7651916cd43dd8448eb211c80319c\"\n"
    );
    assert_eq!(
        logged(AccessLog::Text, &bare()),
        "2026-11-23T01:35:15.123Z - client_gone 1.234ms \"GET /cart HTTP/2\" in=12 out=3456 \
         client=[2001:db8::1]:40000\n"
    );
}

#[test]
fn off_writes_nothing() {
    assert_eq!(logged(AccessLog::Off, &full()), "");
}

#[test]
fn a_query_is_never_logged() {
    for path in ["/login?token=hunter2", "/login#hunter2", "/login?a=1?b=hunter2"] {
        for format in [AccessLog::Text, AccessLog::Json] {
            let text = logged(format, &AccessRecord { path, ..full() });
            assert!(text.contains("/login") && !text.contains("hunter2"), "{text}");
        }
    }
}

#[test]
fn a_client_can_forge_neither_line_nor_field() {
    let evil = b"x\"\n{\"status\":200}\r\n\x1b[2J\" status=200\xff";
    let text = &String::from_utf8_lossy(evil);
    let record = AccessRecord {
        method: text,
        host: text,
        path: text,
        user_agent: Some(evil),
        request_id: Some(evil),
        status: 500,
        ..full()
    };
    let read = json(&record);
    assert_eq!(read["status"], 500);
    assert_eq!(read["user_agent"], **text);
    let line = logged(AccessLog::Text, &record);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(!line.trim_end().chars().any(char::is_control), "{line}");
    assert!(!line.contains("x\" "), "a quote was closed: {line}");
}

/// Istio's `EnvoyJSONLogFormatIstio`: 24 fields, all of them always there.
#[test]
fn istios_form_has_its_24_fields_whatever_is_known() {
    let names: Vec<_> = ISTIO_FIELDS.iter().map(|(name, _)| *name).collect();
    for record in [full(), bare(), AccessRecord { protocol: "TCP", method: "", path: "", ..bare() }] {
        let line = logged(AccessLog::IstioJson, &record);
        let mut at = 0;
        for name in &names {
            let field = format!("\"{name}\":");
            at += line[at..].find(&field).unwrap_or_else(|| panic!("{name}, in its place, in {line}"));
        }
        let parsed: Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert_eq!(parsed.len(), 24, "{line}");
    }
    let parsed: Map<String, Value> = serde_json::from_str(&logged(AccessLog::IstioJson, &full())).unwrap();
    for (name, value) in [
        ("start_time", Value::from("2026-11-23T01:35:15.121Z")),
        ("response_code", Value::from(200)),
        ("response_flags", Value::from("-")),
        ("response_code_details", Value::from("via_upstream")),
        ("bytes_sent", Value::from(3_456)),
        ("duration", Value::from(1)),
        ("upstream_service_time", Value::from("0")),
        ("upstream_cluster", Value::from("outbound|8080||cart.shop.svc.cluster.local")),
        ("downstream_remote_address", Value::from("[2001:db8::1]:40000")),
        ("requested_server_name", Value::from("shop.example.com")),
        ("upstream_local_address", Value::Null),
    ] {
        assert_eq!(parsed[name], value, "{name}");
    }
    let failed = AccessRecord { outcome: Outcome::NoEndpoint, status: 503, path: "/a?secret=1", ..full() };
    let failed: Map<String, Value> = serde_json::from_str(&logged(AccessLog::IstioJson, &failed)).unwrap();
    assert_eq!((failed["response_flags"].as_str(), failed["path"].as_str()), (Some("UH"), Some("/a")));
    let hostile = AccessRecord { user_agent: Some(b"a\"},{\"response_code\":1\n\xff"), ..full() };
    let hostile = logged(AccessLog::IstioJson, &hostile);
    assert_eq!(hostile.lines().count(), 1);
    let hostile: Map<String, Value> = serde_json::from_str(&hostile).unwrap();
    assert_eq!(hostile["response_code"], 200);
}

#[test]
fn a_long_value_is_cut() {
    let long = "a".repeat(100_000);
    let record = AccessRecord { path: &long, host: &long, user_agent: Some(long.as_bytes()), ..full() };
    let line = logged(AccessLog::Json, &record);
    assert!(line.len() < 4_000, "{}", line.len());
    assert!(line.contains("a…\""));
}

#[test]
fn flush_loses_nothing_of_many_threads_and_keeps_each_thread_in_order() {
    const THREADS: u64 = 6;
    const RECORDS: u64 = 3_000;
    let memory = Memory::default();
    let log = AccessLogger::to_writer(Box::new(memory.clone()));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = log.clone();
            scope.spawn(move || {
                for number in 0..RECORDS {
                    // A full buffer drops: wait for the writer now and then, as no request would.
                    if number % 500 == 0 {
                        assert!(log.flush_within(LONG));
                    }
                    let (request_bytes, response_bytes) = (thread, number);
                    log.write(AccessLog::Json, &AccessRecord { request_bytes, response_bytes, ..full() });
                }
            });
        }
    });
    assert!(log.flush_within(LONG));
    let mut next = [0; THREADS as usize];
    for line in memory.text().lines() {
        let record: Map<String, Value> = serde_json::from_str(line).unwrap();
        let thread = usize::try_from(record["request_bytes"].as_u64().unwrap()).unwrap();
        assert_eq!(record["response_bytes"], next[thread]);
        next[thread] += 1;
    }
    assert_eq!(next, [RECORDS; THREADS as usize]);
    assert_eq!((log.counts().written(), log.counts().dropped()), (THREADS * RECORDS, 0));
}

#[test]
fn records_are_written_without_a_flush() {
    let (sender, receiver) = std::sync::mpsc::channel();
    struct Channel(std::sync::mpsc::Sender<Vec<u8>>);
    impl Write for Channel {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(|_| ErrorKind::BrokenPipe)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = AccessLogger::to_writer(Box::new(Channel(sender)));
    log.write(AccessLog::Text, &full());
    assert!(receiver.recv_timeout(LONG).unwrap().ends_with(b"\n"));
    log.write(AccessLog::Text, &full());
    drop(log);
    assert!(receiver.recv_timeout(LONG).unwrap().ends_with(b"\n"), "dropping the logger lost a record");
    assert!(receiver.recv_timeout(LONG).is_err(), "the writer did not end");
}

/// An output that blocks until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>, Memory);

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut open = self.0.0.lock();
        while !*open {
            self.0.1.wait(&mut open);
        }
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_blocked_output_drops_whole_records_and_stops_nobody() {
    let gate = Gate::default();
    let log = AccessLogger::to_writer(Box::new(gate.clone()));
    let mut taken = 0;
    while log.counts().dropped() < 100 {
        log.write(AccessLog::Json, &full());
        taken += 1;
        assert!(taken < 1_000_000, "memory is not bounded");
    }
    assert!(!log.flush_within(Duration::from_millis(1)), "nothing can be written yet");
    *gate.0.0.lock() = true;
    gate.0.1.notify_all();
    assert!(log.flush_within(LONG));
    let counts = log.counts();
    assert_eq!(counts.written() + counts.dropped(), taken);
    let text = gate.1.text();
    assert_eq!(text.lines().count() as u64, counts.written());
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

/// Takes a few bytes, then answers as a non-blocking pipe does, is interrupted, fails once, and goes on.
#[derive(Clone, Default)]
struct Flaky(Memory, usize);

impl Write for Flaky {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1 += 1;
        match self.1 {
            2 => Err(ErrorKind::WouldBlock.into()),
            3 => Err(ErrorKind::Interrupted.into()),
            5 => Err(ErrorKind::StorageFull.into()),
            _ => self.0.write(&bytes[..bytes.len().min(10)]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_fails_loses_only_the_records_of_that_moment() {
    let memory = Memory::default();
    let log = AccessLogger::to_writer(Box::new(Flaky(memory.clone(), 0)));
    log.write(AccessLog::Json, &full());
    assert!(log.flush_within(LONG));
    assert_eq!((log.counts().written(), log.counts().lost()), (0, 1));
    log.write(AccessLog::Json, &full());
    assert!(log.flush_within(LONG));
    assert_eq!((log.counts().written(), log.counts().lost()), (1, 1));
    let text = memory.text();
    let last = text.lines().last().unwrap();
    assert!(serde_json::from_str::<Value>(last).is_ok(), "the torn line spoiled the next: {text}");
}
