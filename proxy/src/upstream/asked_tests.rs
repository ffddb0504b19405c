#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::{Asked, NAMES, Unreachable};
use crate::upstream::lookup::{Lookups, NoAddress};
use crate::upstream::{Answer, Pace, ResolveError, Resolver};
use sluice_ir::{AskedHosts, EndpointSet, EndpointSetKey, HostPattern, Origin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Every name has the address that stands in its first label, and names that begin with `no` have none.
fn resolver() -> (Resolver, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let ask = move |host: Arc<str>| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            let first = host.split('.').next().unwrap().replace('-', ".");
            let addresses = first.split('_').filter_map(|it| it.parse().ok()).collect::<Vec<_>>();
            if addresses.is_empty() {
                return Err(ResolveError::NoSuchName { ttl: None });
            }
            Ok(Answer { addresses, ttl: Duration::from_secs(60) })
        }
    };
    (Resolver::new(ask, Pace::default()), asked)
}

fn set(names: Option<&str>, networks: &[&str]) -> EndpointSet {
    EndpointSet {
        key: EndpointSetKey::new("Hostname/*.example.com:443"),
        origin: Origin::new("ServiceEntry", "egress", "any"),
        endpoints: Vec::new(),
        is_external: true,
        takes_first: false,
        asked: Some(Box::new(AskedHosts {
            names: names.map(HostPattern::parse),
            networks: networks.iter().map(|it| it.parse().unwrap()).collect(),
            port: 443,
            original: false,
        })),
    }
}

fn asked(set: &EndpointSet) -> (Arc<Asked>, Arc<AtomicUsize>) {
    let (resolver, count) = resolver();
    (Asked::of(set, &Arc::new(Lookups::new(resolver))).unwrap(), count)
}

async fn addresses(asked: &Asked, said: &str) -> Result<Vec<String>, Unreachable> {
    let name = asked.find(said, true).await?.expect("a name of its own");
    Ok(name.pool().snapshot().endpoints.iter().map(|it| it.address.to_string()).collect())
}

#[tokio::test]
async fn only_names_below_the_wildcard_are_looked_up_each_once() {
    let (asked, count) = asked(&set(Some("*.example.com"), &[]));
    for _ in 0..3 {
        assert_eq!(addresses(&asked, "1-1-1-1.example.com").await.unwrap(), ["1.1.1.1:443"]);
    }
    assert_eq!(addresses(&asked, "2-2-2-2.a.example.com").await.unwrap(), ["2.2.2.2:443"]);
    assert_eq!(count.load(Ordering::SeqCst), 2);
    for other in [
        "example.com",
        "1-1-1-1.example.org",
        "1-1-1-1.example.com.",
        "1-1-1-1.EXAMPLE.com",
        "a..example.com",
        ".example.com",
        "",
        "1.1.1.1",
        "[::1]",
        "a/b.example.com",
        "*.example.com",
    ] {
        assert_eq!(addresses(&asked, other).await, Err(Unreachable::NotNamed), "{other:?}");
    }
    assert_eq!((count.load(Ordering::SeqCst), asked.len()), (2, 2));
}

#[tokio::test]
async fn a_name_that_leads_inside_or_nowhere_is_refused() {
    let (asked, _) = asked(&set(Some("*.example.com"), &[]));
    assert_eq!(addresses(&asked, "10-0-0-1.example.com").await, Err(Unreachable::Inside));
    assert_eq!(addresses(&asked, "169-254-169-254.example.com").await, Err(Unreachable::Inside));
    assert_eq!(addresses(&asked, "1-1-1-1_10-0-0-1.example.com").await.unwrap(), ["1.1.1.1:443"]);
    let gone = Err(Unreachable::NoAddress(NoAddress::NoSuchName));
    assert_eq!(addresses(&asked, "none.example.com").await, gone);
}

#[tokio::test]
async fn addresses_within_the_networks_are_called_as_they_are() {
    let (asked, count) = asked(&set(None, &["10.1.0.0/16", "fd00::/8"]));
    assert_eq!(addresses(&asked, "10.1.2.3").await.unwrap(), ["10.1.2.3:443"]);
    assert_eq!(addresses(&asked, "[fd00::7]").await.unwrap(), ["[fd00::7]:443"]);
    assert_eq!(addresses(&asked, "::ffff:10.1.2.4").await.unwrap(), ["10.1.2.4:443"]);
    // Everything else is for the endpoints that the set lists; nobody but a client of a forward proxy names an address.
    assert!(asked.find("10.2.0.1", true).await.unwrap().is_none());
    assert!(asked.find("10.1.2.3", false).await.unwrap().is_none());
    assert!(asked.find("db.example.com", true).await.unwrap().is_none());
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn of_dns_round_robin_the_first_address_counts() {
    let (asked, _) = asked(&EndpointSet { takes_first: true, ..set(Some("*.example.com"), &[]) });
    assert_eq!(addresses(&asked, "2-2-2-2_1-1-1-1.example.com").await.unwrap(), ["2.2.2.2:443"]);
    assert_eq!(addresses(&asked, "10-0-0-1_1-1-1-1.example.com").await.unwrap(), ["1.1.1.1:443"]);
}

#[tokio::test]
async fn invented_names_push_out_no_good_one_and_never_grow_the_table() {
    let (asked, _) = asked(&set(Some("*.example.com"), &[]));
    let good = asked.find("1-1-1-1.example.com", true).await.unwrap().unwrap();
    for number in 0..3 * NAMES {
        assert!(asked.find(&format!("no{number}.example.com"), true).await.is_err());
    }
    assert_eq!(asked.len(), NAMES);
    let again = asked.find("1-1-1-1.example.com", true).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&good, &again));
}

#[tokio::test]
async fn where_the_port_is_the_clients_too_only_names_of_the_internet_are_reached() {
    let mut any = set(Some("*"), &[]);
    any.asked.as_mut().unwrap().port = 0;
    let (asked, count) = asked(&any);
    for port in [80, 8443] {
        let said = format!("1-1-1-1.example.com:{port}");
        assert_eq!(addresses(&asked, &said).await.unwrap(), [format!("1.1.1.1:{port}")]);
    }
    assert_eq!(count.load(Ordering::SeqCst), 1, "one name, one question");
    assert_eq!(addresses(&asked, "10-0-0-1.example.com:80").await, Err(Unreachable::Inside));
    for nobody in [
        "localhost:80",
        "app.localhost:80",
        "127.0.0.1:80",
        "[::1]:80",
        "1-1-1-1.example.com:0",
        "1-1-1-1.example.com",
        "1-1-1-1.example.com:65536",
        "1-1-1-1.EXAMPLE.com:80",
    ] {
        assert_eq!(addresses(&asked, nobody).await, Err(Unreachable::NotNamed), "{nobody}");
    }
}

#[test]
fn a_captured_connection_goes_where_it_was_going_to_the_workload_that_is_known_to_be_there() {
    let mut set = set(None, &[]);
    set.asked = Some(Box::new(AskedHosts { names: None, networks: Vec::new(), port: 0, original: true }));
    let workload = Arc::new(sluice_ir::Workload {
        namespace: "shop".to_owned(),
        service_account: "db".to_owned(),
        name: "db".to_owned(),
        app: String::new(),
        version: String::new(),
        canonical_service: "db".to_owned(),
        canonical_revision: "latest".to_owned(),
        mutual_tls: true,
    });
    let known: std::net::SocketAddr = "10.0.0.1:5432".parse().unwrap();
    set.endpoints = vec![sluice_ir::Endpoint {
        address: sluice_ir::EndpointAddress::Socket(known),
        state: sluice_ir::EndpointState::Ready,
        weight: 1,
        topology: None,
        workload: Some(workload.clone()),
    }];
    let (asked, _) = asked(&set);
    let at = |address: &str| {
        let name = asked.original(Some(address.parse().unwrap()), "").unwrap();
        let picked = name.pool().pick(sluice_ir::Balancing::Random, &[], None).unwrap();
        (picked.address.to_string(), picked.workload().cloned())
    };
    assert_eq!(at("10.0.0.1:5432"), ("10.0.0.1:5432".to_owned(), Some(workload)));
    assert_eq!(at("10.0.0.2:5432"), ("10.0.0.2:5432".to_owned(), None));
}

#[tokio::test]
async fn a_host_of_resolution_none_is_where_a_captured_connection_was_going_and_looked_up_for_all_others() {
    let mut set = set(Some("*.example.com"), &[]);
    set.asked.as_mut().unwrap().original = true;
    let (asked, count) = asked(&set);
    let going = Some("10.9.9.9:80".parse().unwrap());
    let name = asked.original(going, "a.example.com").unwrap();
    let picked = name.pool().pick(sluice_ir::Balancing::Random, &[], None).unwrap();
    assert_eq!(picked.address.to_string(), "10.9.9.9:443", "at the port of the entry");
    // TLS is for the name, so that each has endpoints of its own.
    assert!(!Arc::ptr_eq(&name, &asked.original(going, "b.example.com").unwrap()));
    assert!(Arc::ptr_eq(&name, &asked.original(going, "a.example.com").unwrap()));
    assert_eq!(count.load(Ordering::SeqCst), 0);
    assert!(asked.original(None, "1-1-1-1.example.com").is_none(), "it was not captured");
    assert_eq!(addresses(&asked, "1-1-1-1.example.com").await.unwrap(), ["1.1.1.1:443"]);
}
