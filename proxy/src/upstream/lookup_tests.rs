#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Lookups, NoAddress, PATIENCE};
use crate::upstream::{Answer, Pace, ResolveError, Resolver};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

type Reply = Result<Answer, ResolveError>;

/// Answers from a list, the last one again and again, after letting others run.
fn lookups(replies: Vec<Reply>, pace: Pace) -> (Arc<Lookups>, Arc<AtomicUsize>) {
    let (replies, asked) = (Arc::new(Mutex::new(replies)), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let resolver = Resolver::new(
        move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            let mut replies = replies.lock();
            let reply = if replies.len() > 1 { replies.remove(0) } else { replies[0].clone() };
            async move {
                tokio::task::yield_now().await;
                reply
            }
        },
        pace,
    );
    (Arc::new(Lookups::new(resolver)), asked)
}

fn good(texts: &[&str], ttl_ms: u64) -> Reply {
    let addresses = texts.iter().map(|text| text.parse().unwrap()).collect();
    Ok(Answer { addresses, ttl: Duration::from_millis(ttl_ms) })
}

fn down() -> Reply {
    Err(ResolveError::Failed("down".to_owned()))
}

fn pace(shortest_ms: u64) -> Pace {
    let shortest = Duration::from_millis(shortest_ms);
    Pace { shortest, longest_retry: shortest, ..Pace::default() }
}

#[tokio::test]
async fn all_who_want_a_name_wait_for_one_answer_and_keep_it_for_its_time() {
    let (lookups, asked) = lookups(vec![good(&["192.0.2.2", "192.0.2.1", "192.0.2.2"], 60_000)], pace(1000));
    let lookup = lookups.of(&"a.test".into());
    let waiting = (0..50).map(|_| {
        let (lookups, lookup) = (lookups.clone(), lookup.clone());
        tokio::spawn(async move { lookups.known(&lookup).await })
    });
    for known in futures::future::join_all(waiting.collect::<Vec<_>>()).await {
        let known = known.unwrap();
        assert_eq!(
            known.addresses,
            ["192.0.2.2", "192.0.2.1"].map(|it| it.parse::<std::net::IpAddr>().unwrap())
        );
    }
    lookups.known(&lookup).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_name_that_is_not_there_is_not_asked_for_again_at_once() {
    let gone = Err(ResolveError::NoSuchName { ttl: Some(Duration::from_secs(300)) });
    let (lookups, asked) = lookups(vec![gone], pace(1000));
    let lookup = lookups.of(&"a.test".into());
    for _ in 0..10 {
        assert_eq!(lookups.known(&lookup).await.fault, Some(NoAddress::NoSuchName));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn last_good_addresses_serve_while_nobody_answers() {
    let (lookups, asked) = lookups(vec![good(&["192.0.2.1"], 1), down()], pace(1));
    let lookup = lookups.of(&"a.test".into());
    let begun = std::time::Instant::now();
    while asked.load(Ordering::SeqCst) < 4 {
        assert_eq!(lookups.known(&lookup).await.addresses.len(), 1);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(begun.elapsed() < Duration::from_secs(10), "it is asked for again and again");
    }
}

#[tokio::test]
async fn whom_a_last_good_address_serves_waits_for_no_further_question() {
    let count = Arc::new(AtomicUsize::new(0));
    let asked = count.clone();
    // A good answer, a failure, and then silence.
    let ask = move |_: Arc<str>| {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        async move {
            match number {
                0 => good(&["192.0.2.1"], 1),
                1 => down(),
                _ => std::future::pending().await,
            }
        }
    };
    let lookups = Arc::new(Lookups::new(Resolver::new(ask, pace(1))));
    let lookup = lookups.of(&"a.test".into());
    let begun = std::time::Instant::now();
    while count.load(Ordering::SeqCst) < 3 {
        assert_eq!(lookups.known(&lookup).await.addresses.len(), 1);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for _ in 0..10 {
        assert_eq!(lookups.known(&lookup).await.addresses.len(), 1);
    }
    assert!(begun.elapsed() < PATIENCE, "nobody waited for the silence");
    assert_eq!(count.load(Ordering::SeqCst), 3, "one question at a time");
}

#[tokio::test]
async fn a_name_that_moved_inside_or_went_is_not_served_from_the_past() {
    let gone = Err(ResolveError::NoSuchName { ttl: None });
    let (lookups, _) = lookups(vec![good(&["192.0.2.1"], 1), gone], pace(1));
    let lookup = lookups.of(&"a.test".into());
    assert_eq!(lookups.known(&lookup).await.fault, None);
    tokio::time::sleep(Duration::from_millis(3)).await;
    let known = lookups.known(&lookup).await;
    assert!(known.addresses.is_empty() && known.fault == Some(NoAddress::NoSuchName));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_patience() {
    let pace = Pace { timeout: PATIENCE * 10, ..Pace::default() };
    let lookups = Arc::new(Lookups::new(Resolver::new(|_| std::future::pending(), pace)));
    let lookup = lookups.of(&"a.test".into());
    let begun = tokio::time::Instant::now();
    assert_eq!(lookups.known(&lookup).await.fault, Some(NoAddress::NoAnswer));
    assert_eq!(begun.elapsed(), PATIENCE);
}

#[tokio::test]
async fn names_that_nobody_holds_are_forgotten() {
    let (lookups, _) = lookups(vec![good(&["192.0.2.1"], 1)], pace(1));
    for number in 0..1000 {
        drop(lookups.of(&format!("{number}.test").into()));
    }
    assert!(lookups.all.lock().len() < 20, "{}", lookups.all.lock().len());
    let (a, b) = (lookups.of(&"a.test".into()), lookups.of(&"a.test".into()));
    assert!(Arc::ptr_eq(&a, &b));
}
