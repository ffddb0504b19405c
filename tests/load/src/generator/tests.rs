//! The generator against small servers that behave well and badly.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::*;

fn plan(address: SocketAddr, until: Until) -> Plan {
    Plan {
        target: Target::plain(address),
        requests: Rc::new([Bytes::from_static(b"GET / HTTP/1.1\r\nhost: one.load.test\r\n\r\n")]),
        body_bytes: 5,
        connections: 4,
        pace: Pace::Closed,
        until,
        reconnect: false,
        server_names: None,
        may_refuse: false,
    }
}

/// Serves `answer` to each request and closes the connection after `requests_each` of them.
async fn server(answer: &'static [u8], requests_each: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let mut buffer = [0; 1024];
                for _ in 0..requests_each {
                    if stream.read(&mut buffer).await.unwrap_or(0) == 0
                        || stream.write_all(answer).await.is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn on_a_local_set(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn a_fixed_number_of_requests_is_sent_and_answered() {
    on_a_local_set(async {
        let address = crate::backend::start(5).await.unwrap();
        let tally = Load::run(plan(address, Until::Requests(1_000))).await;
        assert_eq!((tally.answered(), tally.failed(), tally.reconnects()), (1_000, 0, 0));
        assert!(tally.percentile_us(0.99) > 0.0);
    });
}

#[test]
fn an_open_loop_sends_at_its_rate() {
    on_a_local_set(async {
        let address = crate::backend::start(5).await.unwrap();
        let until = Until::Elapsed(Duration::from_millis(500));
        let tally = Load::run(Plan { pace: Pace::PerSecond(1_000), ..plan(address, until) }).await;
        assert_eq!(tally.failed(), 0);
        assert!((490..=510).contains(&tally.answered()), "{}", tally.answered());
    });
}

#[test]
fn another_length_and_another_status_are_failures() {
    on_a_local_set(async {
        let short = server(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nxxxx", 1_000).await;
        let tally = Load::run(plan(short, Until::Requests(8))).await;
        assert_eq!((tally.answered(), tally.failures()["wrong body length"]), (0, 8));
        let busy = server(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", 1_000).await;
        let tally = Load::run(plan(busy, Until::Requests(8))).await;
        assert_eq!((tally.answered(), tally.failures()["status 503"]), (0, 8));
    });
}

#[test]
fn a_kept_connection_that_closes_is_replaced_without_a_failure() {
    on_a_local_set(async {
        let address = server(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 3).await;
        let tally = Load::run(plan(address, Until::Requests(40))).await;
        assert_eq!((tally.answered(), tally.failed()), (40, 0));
        assert!(tally.reconnects() > 0);
    });
}

#[test]
fn a_fresh_connection_without_an_answer_is_a_failure() {
    on_a_local_set(async {
        let address = server(b"", 1).await;
        let tally = Load::run(plan(address, Until::Requests(6))).await;
        assert_eq!((tally.answered(), tally.failed()), (0, 6));
    });
}

#[test]
fn a_drain_ends_when_connections_are_refused() {
    on_a_local_set(async {
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let load = Load::start(plan(address, Until::Told));
        load.expect_drain();
        let tally = load.finish(Duration::from_secs(1)).await;
        assert_eq!((tally.answered(), tally.failed()), (0, 0));
    });
}
