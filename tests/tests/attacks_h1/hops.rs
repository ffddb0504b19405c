//! Fields that are for this hop only, and fields that a client must not forge (RFC 9110 §7.6.1).

use crate::{SECRET, Target};
use sluice_tests::Ask;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_can_not_remove_what_others_decide_by() {
    let target = Target::start().await;
    for name in [
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Authorization",
        "Cookie",
        "Content-Type",
        "X-Forwarded-For",
        "x-forwarded-proto",
        "close, X-Forwarded-Host",
    ] {
        let bytes = format!(
            "GET /public HTTP/1.1\r\nHost: a.example\r\nConnection: {name}\r\nAuthorization: x\r\n\r\n{SECRET}"
        );
        target.refuses(name, bytes, 400).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_the_clients_hop_end_here() {
    let target = Target::start().await;
    let ask = Ask::get("http://a.example/public")
        .header("Connection", "keep-alive, x-mine")
        .header("X-Mine", "1")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "gzip")
        .header("Upgrade", "h2c")
        .header("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA")
        .header("Proxy-Authorization", "Basic eDp5")
        .header("X-Other", "2");
    assert_eq!(target.wire().await.ask(&ask).await.status, 200);
    let received = target.backend.requests().remove(0);
    for name in ["x-mine", "keep-alive", "proxy-connection", "upgrade", "http2-settings"] {
        assert!(received.values(name).is_empty(), "{name}: {}", received.head);
    }
    assert_eq!(received.values("x-other"), ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_can_not_forge_where_it_comes_from() {
    let target = Target::start().await;
    let ask = Ask::get("http://a.example/public")
        .header("X-Forwarded-For", "1.2.3.4")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", "evil.example")
        .header("X-Forwarded-Port", "443")
        .header("Forwarded", "for=1.2.3.4");
    assert_eq!(target.wire().await.ask(&ask).await.status, 200);
    let received = target.backend.requests().remove(0);
    assert_eq!(received.values("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received.values("x-forwarded-proto"), ["http"]);
    assert_eq!(received.values("x-forwarded-host"), ["a.example"]);
    assert_eq!(received.values("x-forwarded-port"), ["80"]);
    assert!(!target.backend.saw("1.2.3.4") && !target.backend.saw("evil.example"), "{}", received.head);
}

/// CGI and its heirs read `_` as `-`: a field that we set must not come in a second time under the other spelling.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn underscores_make_no_second_spelling_of_our_fields() {
    let target = Target::start().await;
    let ask = Ask::get("http://a.example/public")
        .header("X_Forwarded_For", "1.2.3.4")
        .header("X-Forwarded_Proto", "https")
        .header("x_forwarded-host", "evil.example")
        .header("X_Forwarded_Port", "443")
        .header("X_Own", "kept");
    assert_eq!(target.wire().await.ask(&ask).await.status, 200);
    let received = target.backend.requests().remove(0);
    assert!(!received.head.to_ascii_lowercase().contains("x_forwarded"), "{}", received.head);
    assert!(!received.head.to_ascii_lowercase().contains("x-forwarded_"), "{}", received.head);
    assert_eq!(received.values("x_own"), ["kept"]);
}
