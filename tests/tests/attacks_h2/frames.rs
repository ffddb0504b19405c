//! Frames that break the rules of the connection (RFC 9113 §§4 to 6): the connection ends, the gateway goes on.

use crate::{Target, good, request};
use sluice_tests::Wire;
use sluice_tests::client::frames::{flag, frame, kind};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_out_of_place_ends_the_connection() {
    const PUSH_PROMISE: u8 = 5;
    let target = Target::start().await;
    let block = good();
    let padded = [&[200][..], &block].concat();
    for (what, bytes) in [
        ("DATA of the connection", frame(kind::DATA, 0, 0, b"x")),
        ("DATA of a stream that was never opened", frame(kind::DATA, 0, 1, b"x")),
        ("HEADERS of the connection", frame(kind::HEADERS, flag::END_HEADERS, 0, &block)),
        ("HEADERS of an even stream", request(2, &block)),
        ("HEADERS of a stream that is past", [request(5, &block), request(3, &block)].concat()),
        ("more padding than payload", frame(kind::HEADERS, flag::END_HEADERS | 8, 1, &padded)),
        ("CONTINUATION without HEADERS", frame(kind::CONTINUATION, flag::END_HEADERS, 1, &block)),
        (
            "a frame between HEADERS and CONTINUATION",
            [frame(kind::HEADERS, 0, 1, &block), frame(kind::PING, 0, 0, &[0; 8])].concat(),
        ),
        ("RST_STREAM of the connection", frame(kind::RST_STREAM, 0, 0, &[0; 4])),
        ("RST_STREAM of a stream that was never opened", frame(kind::RST_STREAM, 0, 7, &[0; 4])),
        ("RST_STREAM of a wrong size", frame(kind::RST_STREAM, 0, 1, &[0; 3])),
        ("SETTINGS of a stream", frame(kind::SETTINGS, 0, 1, &[])),
        ("SETTINGS of a wrong size", frame(kind::SETTINGS, 0, 0, &[0; 5])),
        ("SETTINGS with ACK and payload", frame(kind::SETTINGS, flag::ACK, 0, &[0; 6])),
        ("a window above 2^31", frame(kind::SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff])),
        ("a frame size below 2^14", frame(kind::SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1])),
        ("PUSH_PROMISE of a client", frame(PUSH_PROMISE, flag::END_HEADERS, 1, &[0, 0, 0, 2])),
        ("PING of a stream", frame(kind::PING, 0, 1, &[0; 8])),
        ("PING of a wrong size", frame(kind::PING, 0, 0, &[0; 7])),
        ("GOAWAY of a stream", frame(kind::GOAWAY, 0, 1, &[0; 8])),
        ("WINDOW_UPDATE of 0", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("WINDOW_UPDATE of a wrong size", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 3])),
        ("a frame above the size", frame(kind::DATA, 0, 1, &[0; 20_000])),
        ("an index that is not there", request(1, &[0xff, 0xff, 0xff, 0x7f])),
        ("an index of 0", request(1, &[0x80])),
        ("an integer without end", request(1, &[0xff; 100])),
        ("a string that is cut", request(1, &[0x00, 0x05, b'a'])),
        ("a table larger than allowed", request(1, &[0x3f, 0xff, 0xff, 0xff, 0x0f])),
        ("a broken Huffman code", request(1, &[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x01, b'x'])),
    ] {
        let flood = target.frames().await.flood(1, |_| bytes.clone()).await;
        assert!(flood.closed, "{what}: {flood:?}");
        assert_ne!(flood.error_code, Some(0), "{what}: {flood:?}");
        target.unharmed(what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preface_that_is_none_is_refused() {
    let target = Target::start().await;
    for (what, bytes) in [
        ("a wrong end", &b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"[..]),
        ("no end", b"PRI * HTTP/2.0\r\n\r\n\r\n\r\n"),
        (
            "in the middle of HTTP/1.1",
            b"GET /public HTTP/1.1\r\nHost: a.example\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ),
        ("twice", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let mut wire = Wire::connect(target.stand.address(80)).await;
        wire.send(bytes).await;
        wire.finish().await;
        let answer = wire.rest().await;
        assert!(!answer.ends_with(b"HTTP/1.1 101"), "{what}");
        target.unharmed(what).await;
    }
}
