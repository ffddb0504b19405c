#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::system::{ask, set_options};
use super::{Answer, GONE_AFTER, History, Pace, ResolveError, Resolver, Step, backoff};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn good(texts: &[&str], ttl_s: u64) -> Result<Answer, ResolveError> {
    Ok(Answer { addresses: ips(texts), ttl: Duration::from_secs(ttl_s) })
}

#[test]
fn the_time_to_live_is_kept_between_a_second_and_an_hour() {
    let (pace, mut history) = (Pace::default(), History::default());
    let mut wait = |ttl_s| history.step(&pace, good(&["10.0.0.1"], ttl_s), "a").wait.as_secs();
    assert_eq!([wait(0), wait(1), wait(30), wait(3600), wait(86_400)], [1, 1, 30, 3600, 3600]);
}

#[test]
fn addresses_stay_in_the_order_of_the_answer() {
    let step = History::default().step(&Pace::default(), good(&["::1", "10.0.0.2", "10.0.0.1"], 5), "a");
    assert_eq!(step.addresses, Some(ips(&["::1", "10.0.0.2", "10.0.0.1"])));
}

#[test]
fn a_name_is_given_up_only_after_several_answers_say_so() {
    let (pace, mut history) = (Pace::default(), History::default());
    let gone = || Err(ResolveError::NoSuchName { ttl: Some(Duration::from_secs(300)) });
    for _ in 1..GONE_AFTER {
        assert_eq!(history.step(&pace, gone(), "a"), Step { addresses: None, wait: pace.longest_retry });
    }
    assert_eq!(history.step(&pace, gone(), "a").addresses, Some(Vec::new()));
    history.step(&pace, good(&["10.0.0.1"], 5), "a");
    assert_eq!(history.step(&pace, gone(), "a").addresses, None);
}

#[test]
fn failures_are_retried_ever_later_but_never_later_than_the_limit() {
    let (pace, mut history) = (Pace::default(), History::default());
    let mut longest = Duration::ZERO;
    for failures in 1..40 {
        let step = history.step(&pace, Err(ResolveError::Failed("x".to_owned())), "a");
        assert_eq!(step.addresses, None);
        let whole = pace.shortest.saturating_mul(1 << (failures - 1).min(10)).min(pace.longest_retry);
        assert!(step.wait <= whole && step.wait >= whole / 2, "{failures}: {:?}", step.wait);
        longest = longest.max(step.wait);
    }
    assert!(longest > pace.longest_retry / 2);
    assert!(backoff(&pace, u32::MAX) <= pace.longest_retry);
}

#[test]
fn a_name_that_is_absent_for_an_unknown_time_is_asked_for_ever_less_often() {
    let (pace, mut history) = (Pace::default(), History::default());
    let gone = || Err(ResolveError::NoSuchName { ttl: None });
    let waits: Vec<_> = (0..8).map(|_| history.step(&pace, gone(), "a").wait).collect();
    assert!(waits[0] <= pace.shortest && waits[7] >= pace.longest_retry / 2, "{waits:?}");
}

#[tokio::test]
async fn an_address_is_never_asked_for() {
    let resolver = Resolver::new(|_| async { panic!("asked") }, Pace::default());
    for text in ["192.0.2.1", "2001:db8::1", "[2001:db8::1]"] {
        let answer = resolver.resolve(text.into()).await.unwrap();
        assert_eq!(answer.addresses, ips(&[text.trim_matches(['[', ']'])]));
    }
}

#[tokio::test]
async fn a_question_that_hangs_fails_in_time() {
    let pace = Pace { timeout: Duration::from_millis(5), ..Pace::default() };
    let resolver = Resolver::new(|_| std::future::pending(), pace);
    assert!(matches!(resolver.resolve("a".into()).await, Err(ResolveError::Failed(_))));
}

/// Answers A with 192.0.2.7 and AAAA with 2001:db8::7 for `good.test`, with times to live of 40 and 20 seconds; all
/// other names do not exist.
async fn serve(socket: UdpSocket) {
    let mut buffer = [0; 512];
    while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
        let reply = reply_to(&buffer[..len]);
        socket.send_to(&reply, from).await.unwrap();
    }
}

/// RFC 1035 §4.1, by hand: header, the question again, at most one answer.
fn reply_to(query: &[u8]) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &query[12..name_end + 4];
    let known = question.to_ascii_lowercase().starts_with(b"\x04good\x04test\x00");
    let (ttl, data): (u8, &[u8]) = match question[question.len() - 3] {
        1 => (40, &[192, 0, 2, 7]),
        _ => (20, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
    };
    let code = if known { 0 } else { 3 };
    let mut reply =
        [&query[..2], &[0x81, 0x80 | code, 0, 1, 0, u8::from(known), 0, 0, 0, 0], question].concat();
    if known {
        reply.extend([0xc0, 12, 0, question[question.len() - 3], 0, 1, 0, 0, 0, ttl, 0, data.len() as u8]);
        reply.extend(data);
    }
    reply
}

fn client(server: SocketAddr) -> TokioResolver {
    let mut udp = ConnectionConfig::udp();
    udp.port = server.port();
    let server = NameServerConfig::new(server.ip(), true, vec![udp]);
    let config = ResolverConfig::from_parts(None, vec![], vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    set_options(builder.options_mut());
    builder.build().unwrap()
}

#[tokio::test]
async fn a_real_server_is_asked_for_both_families_and_its_shortest_time_counts() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let server = tokio::spawn(serve(socket));
    let client = client(address);
    let answer = ask(&client, "good.test").await.unwrap();
    assert_eq!(answer.addresses, ips(&["192.0.2.7", "2001:db8::7"]));
    assert!((15..=20).contains(&answer.ttl.as_secs()), "{:?}", answer.ttl);
    assert!(matches!(ask(&client, "bad.test").await, Err(ResolveError::NoSuchName { .. })));
    server.abort();
}
