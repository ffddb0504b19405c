//! Draining: what is idle closes, what is in flight finishes, what hangs is cut.

use crate::support::{Server, get, read_response, read_to_end, within};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_is_answered_and_its_connection_closed() {
    let server = Server::plain().await;
    let mut idle = server.connect().await;
    idle.write_all(get("/").as_bytes()).await.unwrap();
    read_response(&mut idle).await;
    let mut busy = server.connect().await;
    busy.write_all(get("/gate").as_bytes()).await.unwrap();
    server.app.someone_waits().await;

    let (cut, ()) = tokio::join!(server.ports.drain(Duration::from_secs(8)), async {
        assert_eq!(read_to_end(&mut idle).await, "", "idle connections close soon");
        assert!(TcpStream::connect(server.address).await.is_err(), "no new connection is accepted");
        server.app.gate.add_permits(1);
        assert!(read_to_end(&mut busy).await.contains("GET /gate"));
    });
    assert_eq!(cut, 0);
    assert!(server.ports.bound().is_empty());
}

/// A client that has just got an answer does not know yet: what it sends next is answered, and told to be the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_may_send_one_more_request() {
    let server = Server::plain().await;
    let mut kept = server.connect().await;
    kept.write_all(get("/").as_bytes()).await.unwrap();
    read_response(&mut kept).await;
    let (cut, ()) = tokio::join!(server.ports.drain(Duration::from_secs(8)), async {
        while !server.ports.bound().is_empty() {
            tokio::task::yield_now().await;
        }
        kept.write_all(get("/last").as_bytes()).await.unwrap();
        assert!(read_to_end(&mut kept).await.contains("GET /last"));
    });
    assert_eq!(cut, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_never_ends_is_cut_at_the_deadline() {
    let server = Server::plain().await;
    let mut busy = server.connect().await;
    busy.write_all(get("/gate").as_bytes()).await.unwrap();
    server.app.someone_waits().await;
    let start = Instant::now();
    assert_eq!(within(server.ports.drain(Duration::from_millis(200))).await, 1);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(read_to_end(&mut busy).await, "");
    server.log.wait_for("closed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_made_just_before_may_still_send_its_first_request() {
    let server = Server::plain().await;
    let mut fresh = server.connect().await;
    let (cut, ()) = tokio::join!(server.ports.drain(Duration::from_secs(8)), async {
        fresh.write_all(get("/late").as_bytes()).await.unwrap();
        assert!(read_to_end(&mut fresh).await.contains("GET /late"));
    });
    assert_eq!(cut, 0);
}
