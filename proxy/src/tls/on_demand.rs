//! Names that clients ask for at handshakes and nobody has a certificate for yet: asked of whoever orders certificates,
//! each once for all who wait, with bounds on all of it.
//!
//! In: a server name that a listener with [`Tls::on_demand`](sluice_ir::Tls::on_demand) answers for. Out: whether its
//! certificate is on its way, which then comes with the configuration. A stream of names that are refused costs a
//! question each and no memory: as many are remembered as the table holds, as many are under way as there are places.

use ahash::AHashMap;
use futures::future::BoxFuture;
use lru::LruCache;
use parking_lot::Mutex;
use sluice_ir::GatewayKey;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Names that are asked for at one time; further ones are refused.
const MOST_ASKED: usize = 64;
/// Handshakes that wait at one time; further ones are refused.
const MOST_WAITING: usize = 1024;
/// Names that are remembered as refused.
const MOST_REFUSED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);
/// How long a name stays refused, and how long when only the way there failed.
const REFUSED_FOR: Duration = Duration::from_secs(60);
const UNAVAILABLE_FOR: Duration = Duration::from_secs(2);
/// Longest time that a question is waited for. The handshake that asked may have given up long before: the next one
/// finds the certificate.
const ASK_TIME: Duration = Duration::from_secs(150);
/// Longest name (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;

/// Whoever has certificates ordered: the controller, or the engine of the same process.
pub trait Obtain: Send + Sync + 'static {
    /// Has the certificate of a name made for a Gateway's listener; ends when it is kept, or will not be soon.
    fn obtain(&self, gateway: GatewayKey, name: String) -> BoxFuture<'static, Result<(), NotObtained>>;
}

/// Why there will be no certificate soon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotObtained {
    /// The name is refused, or its order failed.
    #[error("{0}")]
    Refused(String),
    /// Nobody can be asked now.
    #[error("{0}")]
    Unavailable(String),
}

/// What is known of names, and who can be asked. A clone is the same.
#[derive(Clone, Default)]
pub struct OnDemand(Arc<Inner>);

#[derive(Default)]
struct Inner {
    source: OnceLock<Arc<dyn Obtain>>,
    known: Mutex<Option<Known>>,
}

type Name = (GatewayKey, Box<str>);
type Answer = Option<Result<(), NotObtained>>;

/// Made with the first question.
struct Known {
    refused: LruCache<Name, (NotObtained, Instant)>,
    asked: AHashMap<Name, watch::Receiver<Answer>>,
    waiting: usize,
}

impl Default for Known {
    fn default() -> Self {
        Self { refused: LruCache::new(MOST_REFUSED), asked: AHashMap::new(), waiting: 0 }
    }
}

/// One handshake that waits; it gives its place back when it ends, however that is.
struct Waiting(Arc<Inner>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.with(|known| known.waiting -= 1);
    }
}

impl OnDemand {
    /// Says who is to be asked. Only the first word counts.
    pub fn set_source(&self, source: Arc<dyn Obtain>) {
        let _ = self.0.source.set(source);
    }

    /// Has the certificate of a name obtained: returns when it is kept. Dropping the future lets the question go on.
    /// Cost for a name that was refused a moment ago: one lock and one hash.
    ///
    /// # Errors
    /// When there will be none soon.
    pub async fn obtain(&self, gateway: &GatewayKey, name: &str) -> Result<(), NotObtained> {
        if !is_name(name) {
            return Err(NotObtained::Refused("it is no name that a certificate could have".to_owned()));
        }
        let key = (gateway.clone(), Box::from(name));
        let mut answer = self.0.ask(key)?;
        let _waiting = Waiting(self.0.clone());
        let answered = answer.wait_for(Option::is_some).await.map(|answer| (*answer).clone());
        answered.ok().flatten().unwrap_or_else(|| Err(NotObtained::Unavailable("nobody answers".to_owned())))
    }
}

impl Inner {
    fn with<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(self.known.lock().get_or_insert_default())
    }

    /// The answer to come, for one more who waits.
    fn ask(self: &Arc<Self>, name: Name) -> Result<watch::Receiver<Answer>, NotObtained> {
        let busy = |what: &str| Err(NotObtained::Unavailable(format!("too many {what}")));
        let nobody = || NotObtained::Unavailable("nobody orders certificates".to_owned());
        let source = self.source.get().ok_or_else(nobody)?;
        let mut guard = self.known.lock();
        let known = guard.get_or_insert_default();
        let now = Instant::now();
        if let Some((refusal, _)) = known.refused.get(&name).filter(|(_, until)| *until > now) {
            return Err(refusal.clone());
        }
        if known.waiting >= MOST_WAITING {
            return busy("handshakes wait for certificates");
        }
        let receiver = match known.asked.get(&name) {
            Some(receiver) => receiver.clone(),
            None if known.asked.len() >= MOST_ASKED => return busy("names are asked for"),
            None => {
                let (sender, receiver) = watch::channel(None);
                known.asked.insert(name.clone(), receiver.clone());
                tokio::spawn(self.clone().question(source.clone(), name, sender));
                receiver
            }
        };
        known.waiting += 1;
        Ok(receiver)
    }

    async fn question(self: Arc<Self>, source: Arc<dyn Obtain>, name: Name, to: watch::Sender<Answer>) {
        let (gateway, host) = (name.0.clone(), name.1.to_string());
        let answer = tokio::time::timeout(ASK_TIME, source.obtain(gateway, host)).await;
        let answer = answer.unwrap_or_else(|_| Err(NotObtained::Unavailable("no answer in time".to_owned())));
        if let Err(refusal) = &answer {
            tracing::debug!(gateway = %name.0, name = %name.1, reason = %refusal, "no certificate for a name of a handshake");
        }
        self.with(|known| {
            known.asked.remove(&name);
            if let Err(refusal) = &answer {
                let holds_for = match refusal {
                    NotObtained::Refused(_) => REFUSED_FOR,
                    NotObtained::Unavailable(_) => UNAVAILABLE_FOR,
                };
                known.refused.put(name, (refusal.clone(), Instant::now() + holds_for));
            } else {
                known.refused.pop(&name);
            }
        });
        to.send_replace(Some(answer));
    }
}

/// Whether it looks like a host of the public DNS: labels of letters, digits and hyphens, more than one of them, the last
/// no number.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= LONGEST_NAME
        && name.contains('.')
        && name.split('.').all(is_label)
        && !last.bytes().all(|it| it.is_ascii_digit())
}

impl fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::{
        MOST_ASKED, MOST_REFUSED, MOST_WAITING, NotObtained, Obtain, OnDemand, REFUSED_FOR, is_name,
    };
    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use sluice_ir::GatewayKey;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    /// Allows what begins with `good`; answers as many questions as there are permits.
    struct Authority {
        questions: AtomicUsize,
        answers: Semaphore,
    }

    impl Obtain for Arc<Authority> {
        fn obtain(&self, _: GatewayKey, name: String) -> BoxFuture<'static, Result<(), NotObtained>> {
            let authority = self.clone();
            async move {
                authority.questions.fetch_add(1, Ordering::SeqCst);
                authority.answers.acquire().await.unwrap().forget();
                match name.starts_with("good") {
                    true => Ok(()),
                    false => Err(NotObtained::Refused(format!("{name} is unknown"))),
                }
            }
            .boxed()
        }
    }

    fn start(answers: usize) -> (OnDemand, Arc<Authority>, GatewayKey) {
        let authority =
            Arc::new(Authority { questions: AtomicUsize::new(0), answers: Semaphore::new(answers) });
        let on_demand = OnDemand::default();
        on_demand.set_source(Arc::new(authority.clone()));
        (on_demand, authority, GatewayKey::new("shop/web"))
    }

    #[tokio::test]
    async fn all_who_wait_for_a_name_are_one_question() {
        let (on_demand, authority, gateway) = start(1);
        let asked = (0..100).map(|_| on_demand.obtain(&gateway, "good.example.com"));
        let answers = futures::future::join_all(asked).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(authority.questions.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_name_is_not_asked_for_again_before_its_time() {
        let (on_demand, authority, gateway) = start(2);
        for _ in 0..10 {
            let refused = on_demand.obtain(&gateway, "bad.example.com").await.unwrap_err();
            assert_eq!(refused, NotObtained::Refused("bad.example.com is unknown".to_owned()));
        }
        assert_eq!(authority.questions.load(Ordering::SeqCst), 1);
        tokio::time::advance(REFUSED_FOR).await;
        assert!(on_demand.obtain(&gateway, "bad.example.com").await.is_err());
        assert_eq!(authority.questions.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn an_endless_stream_of_names_fills_no_more_than_its_table() {
        let count = MOST_REFUSED.get() + 500;
        let (on_demand, authority, gateway) = start(count);
        for number in 0..count {
            assert!(on_demand.obtain(&gateway, &format!("n{number}.example.com")).await.is_err());
        }
        assert_eq!(authority.questions.load(Ordering::SeqCst), count);
        on_demand.0.with(|known| {
            assert_eq!((known.refused.len(), known.asked.len(), known.waiting), (MOST_REFUSED.get(), 0, 0));
        });
    }

    #[tokio::test]
    async fn questions_and_handshakes_that_wait_are_bounded_and_give_their_places_back() {
        let (on_demand, authority, gateway) = start(0);
        let mut waiting = Vec::new();
        for number in 0..MOST_ASKED {
            let (on_demand, gateway) = (on_demand.clone(), gateway.clone());
            let ask = async move { on_demand.obtain(&gateway, &format!("good-{number}.example.com")).await };
            let mut ask = Box::pin(ask);
            assert!(ask.as_mut().now_or_never().is_none());
            waiting.push(ask);
        }
        let more = on_demand.obtain(&gateway, "good-more.example.com").await.unwrap_err();
        assert!(
            matches!(&more, NotObtained::Unavailable(it) if it.contains("names are asked for")),
            "{more}"
        );
        drop(waiting);
        on_demand.0.with(|known| assert_eq!(known.waiting, 0));
        authority.answers.add_permits(MOST_ASKED);
        assert_eq!(on_demand.obtain(&gateway, "good-0.example.com").await, Ok(()));
        on_demand.0.with(|known| known.waiting = MOST_WAITING);
        let more = on_demand.obtain(&gateway, "good-x.example.com").await.unwrap_err();
        assert!(matches!(&more, NotObtained::Unavailable(it) if it.contains("handshakes wait")), "{more}");
    }

    #[test]
    fn addresses_and_what_dns_does_not_have_are_no_names() {
        for good in ["example.com", "a-1.b2.example.com", "xn--bcher-kva.example"] {
            assert!(is_name(good), "{good}");
        }
        let long = format!("{}.com", "a.".repeat(126));
        for bad in [
            "",
            "localhost",
            "10.0.0.1",
            "::1",
            "a..com",
            "-a.com",
            "a-.com",
            "*.a.com",
            "A.com",
            "a_b.com",
            long.as_str(),
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
