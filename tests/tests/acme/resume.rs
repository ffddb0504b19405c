//! Engines that end in the middle, and engines that meet: the authority sees one order for each certificate.

use sluice_acme::{Data, Item, SolverKind};
use sluice_tests::acme::{Hook, Orders, Pebble, PebbleOptions, World, key_of, set, settings, start, wanted};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The certificate in the store.
pub(crate) async fn certificate(world: &World, key: &str) -> Option<Data> {
    world.store().read(&Item::Certificate(key_of(key))).await.unwrap().map(|it| it.data)
}

/// How many moments an order has: found by running one to its end.
async fn moments(world: &World, solvers: &[SolverKind]) -> usize {
    let hook = Arc::new(Hook::default());
    let wish = set(&world.issuer(solvers), vec![wanted("whole", &["whole.example.test"])]);
    let engine =
        start(hook.store(world.store()), hook.challenges(world.challenges()), settings("whole"), wish);
    engine.issued("whole").await;
    hook.names().len()
}

/// Ends an engine at each moment of an order, and lets another one go on.
async fn interrupted_everywhere(solvers: impl Fn(&World) -> Vec<SolverKind>) {
    let world = World::start(PebbleOptions::default()).await;
    let solvers = solvers(&world);
    let moments = moments(&world, &solvers).await;
    assert!(moments > 12, "{moments}");
    for moment in 0..moments {
        let (key, name) = (format!("cut-{moment}"), format!("cut-{moment}.example.test"));
        let wish = set(&world.issuer(&solvers), vec![wanted(&key, &[&name])]);
        let (hook, before) = (Arc::new(Hook::default()), world.pebble.orders());
        hook.stop_at(moment);
        let (store, challenges) = (hook.store(world.store()), hook.challenges(world.challenges()));
        let first = start(store, challenges, settings("first"), wish.clone());
        tokio::select! {
            () = hook.stopped() => {}
            // The account is there already, so there are fewer moments than the first time.
            _ = first.issued(&key) => {}
        }
        drop(first);
        let second = world.engine(wish);
        second.issued(&key).await;
        let last = hook.names().last().cloned();
        assert_eq!(world.pebble.orders() - before, 1, "ended at {moment}: {last:?}");
        assert_eq!(world.responder.shown(), [], "ended at {moment}: {last:?}");
        assert!(
            world.store().read(&Item::Order(key_of(&key))).await.unwrap().is_none(),
            "{moment}: {last:?}"
        );
    }
    assert_eq!(world.pebble.accounts(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_ended_at_any_write_or_challenge_is_gone_on_with_and_never_made_again() {
    interrupted_everywhere(|_| vec![SolverKind::Http01]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_by_dns_ended_at_any_write_is_gone_on_with_and_leaves_no_record() {
    let world = World::start(PebbleOptions::default()).await;
    let solvers = [world.rfc2136()];
    for moment in 2..12 {
        let (key, name) = (format!("cut-{moment}"), format!("cut-{moment}.example.test"));
        let wish = set(&world.issuer(&solvers), vec![wanted(&key, &[&name])]);
        let (hook, before) = (Arc::new(Hook::default()), world.pebble.orders());
        hook.stop_at(moment);
        let first = start(hook.store(world.store()), world.challenges(), settings("first"), wish.clone());
        tokio::select! {
            () = hook.stopped() => {}
            _ = first.issued(&key) => {}
        }
        drop(first);
        world.engine(wish).issued(&key).await;
        assert_eq!(world.pebble.orders() - before, 1, "{moment}: {:?}", hook.names().last());
        let left = world.named.texts(&format!("_acme-challenge.{name}")).await;
        assert_eq!(left, Vec::<String>::new(), "{moment}: {:?}", hook.names().last());
    }
}

/// Polls the engine's future a number of times and drops it: the engine ends wherever it was.
async fn cut_after(polls: usize, run: impl Future<Output = ()>, until: impl Future<Output = ()>) -> bool {
    let (mut run, mut until, mut left) = (pin!(run), pin!(until), polls);
    std::future::poll_fn(|context| {
        if until.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        run.as_mut().poll(context).map(|()| true)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_dropped_after_any_number_of_steps_is_followed_by_one_that_makes_no_second_order() {
    let world = World::start(PebbleOptions { refused_nonces: 0, ..PebbleOptions::default() }).await;
    let issuer = world.issuer(&[SolverKind::Http01]);
    let (mut polls, mut was_whole) = (1, false);
    while !was_whole {
        assert!(polls < 2000, "it never ends");
        let (key, name) = (format!("poll-{polls}"), format!("poll-{polls}.example.test"));
        let wish = set(&issuer, vec![wanted(&key, &[&name])]);
        let before = world.pebble.orders();
        let engine = sluice_acme::Engine::new(world.store(), world.challenges(), settings("first"));
        let (mut statuses, (_wish, wishes)) =
            (engine.handle().statuses(), watch::channel(Arc::new(wish.clone())));
        let issued = async {
            while statuses.borrow_and_update().get(&key_of(&key)).is_none_or(|it| it.current.is_none()) {
                statuses.changed().await.unwrap();
            }
        };
        was_whole = cut_after(polls, engine.run(wishes, CancellationToken::new()), issued).await;
        world.engine(wish).issued(&key).await;
        assert_eq!(world.pebble.orders() - before, 1, "after {polls} polls");
        assert_eq!(world.responder.shown(), [], "after {polls} polls");
        polls += 1 + polls / 12;
    }
}

#[tokio::test]
async fn an_order_whose_answer_never_came_is_found_in_the_accounts_list() {
    let world = World::start(PebbleOptions::default()).await;
    let wish = set(&world.issuer(&[SolverKind::Http01]), vec![wanted("web", &["lost.example.test"])]);
    world.front.orders(Orders::Swallowed);
    let first = world.engine(wish.clone());
    world.front.swallowed().await;
    drop(first);
    world.engine(wish).issued("web").await;
    assert_eq!(world.pebble.orders(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_on_one_store_never_order_the_same_name_twice() {
    let world = World::start(PebbleOptions { reused_authorizations: 0, ..PebbleOptions::default() }).await;
    let issuer = world.issuer(&[SolverKind::Http01]);
    let keys: Vec<String> = (0..12).map(|n| format!("pair-{n}")).collect();
    let names: Vec<String> = keys.iter().map(|it| format!("{it}.example.test")).collect();
    let wishes = keys.iter().zip(&names).map(|(key, name)| wanted(key, &[name])).collect::<Vec<_>>();
    let engines = ["a", "b"]
        .map(|it| start(world.store(), world.challenges(), settings(it), set(&issuer, wishes.clone())));
    for key in &keys {
        let [a, b] = [engines[0].issued(key).await, engines[1].issued(key).await];
        assert_eq!(a.current, b.current, "{key}");
    }
    assert_eq!((world.pebble.orders(), world.pebble.accounts()), (keys.len(), 1));
}

#[tokio::test]
async fn what_is_not_wanted_any_more_is_taken_down_and_its_certificate_stays() {
    let options = PebbleOptions { slow_look: Some(Duration::from_secs(15)), ..PebbleOptions::default() };
    let world = World::start(options).await;
    let issuer = world.issuer(&[SolverKind::Http01]);
    let engine = world.engine(set(&issuer, vec![wanted("web", &["gone.example.test"])]));
    sluice_tests::eventually("the challenge is shown", || async {
        world.pebble.orders() == 1 && !world.responder.shown().is_empty()
    })
    .await;
    engine.wanted.send_replace(Arc::new(set(&issuer, Vec::new())));
    sluice_tests::eventually("nothing is shown", || async { world.responder.shown().is_empty() }).await;
    sluice_tests::eventually("the record is gone", || async {
        world.store().read(&Item::Order(key_of("web"))).await.unwrap().is_none()
    })
    .await;
    sluice_tests::eventually("there is no status", || async { engine.handle.statuses().borrow().is_empty() })
        .await;
}

#[tokio::test]
async fn an_authority_that_has_forgotten_account_and_order_gets_new_ones() {
    let options = PebbleOptions { slow_look: Some(Duration::from_secs(15)), ..PebbleOptions::default() };
    let world = World::start(options).await;
    let wish = set(&world.issuer(&[SolverKind::Http01]), vec![wanted("web", &["forgotten.example.test"])]);
    let first = world.engine(wish.clone());
    sluice_tests::eventually("there is an order", || async { world.pebble.orders() == 1 }).await;
    drop(first);
    let other = Pebble::start(world.named.address(), &PebbleOptions::default()).await;
    world.front.lead_to(other.address());
    world.engine(wish).issued("web").await;
    assert_eq!((other.orders(), other.accounts()), (1, 1));
    assert_eq!(world.responder.shown(), []);
}
