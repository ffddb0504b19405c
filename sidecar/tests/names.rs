//! Names, with a real server (dnsmasq) behind the sidecar's, and a real client (dig) in front of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tests/src/dnsmasq.rs"]
#[allow(dead_code, unreachable_pub)]
mod dnsmasq;
#[path = "../../tests/src/wait.rs"]
#[allow(dead_code, unreachable_pub)]
mod wait;

use dnsmasq::{Dnsmasq, in_own_network};
use sluice_sidecar::dns::{DnsOptions, DnsProxy, Table};
use sluice_sidecar::resolv_conf::ResolvConf;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::Command;

const TTL_S: u32 = 60;

fn table(names: &[(&str, &str)]) -> Option<Arc<BTreeMap<String, Vec<IpAddr>>>> {
    let known = names.iter().map(|(name, address)| ((*name).to_owned(), vec![address.parse().unwrap()]));
    Some(Arc::new(known.collect()))
}

/// A name server of the sidecar.
struct Names {
    proxy: DnsProxy,
    table: Table,
}

impl Names {
    async fn start(resolv_conf: &str) -> Self {
        let table = Table::default();
        let resolv_conf = ResolvConf::read(resolv_conf);
        let options = DnsOptions { port: 0, resolv_conf, names: table.clone() };
        Self { proxy: DnsProxy::start(options).await.unwrap(), table }
    }

    /// What dig says.
    async fn dig(&self, words: &str) -> String {
        let port = self.proxy.port().to_string();
        let mut command = Command::new("dig");
        command.args(["@127.0.0.1", "-p", &port, "+tries=1", "+time=8"]).args(words.split(' '));
        let output = command.kill_on_drop(true).output().await.expect("bind9-dnsutils");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    async fn short(&self, words: &str) -> String {
        self.dig(&format!("+short {words}")).await
    }
}

fn with_server(test: impl AsyncFnOnce(Dnsmasq, Names) + Send + 'static) {
    in_own_network(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53)), async move || {
        let server = Dnsmasq::start(TTL_S).await;
        let names = Names::start("nameserver 127.0.0.1\nsearch shop.svc.cluster.local\n").await;
        test(server, names).await;
    });
}

#[test]
fn names_of_the_mesh_are_answered_and_nobody_else_is_asked() {
    with_server(async |server, names| {
        server.set("198.51.100.1 api.test\n198.51.100.2 www.wild.test\n").await;
        assert_eq!(names.short("api.test").await, "198.51.100.1", "before there is a configuration");
        names.table.store(table(&[("api.test", "240.240.0.1"), ("*.wild.test", "240.240.0.2")]));
        let asked = server.asked("api.test");
        assert_eq!(names.short("api.test").await, "240.240.0.1");
        assert_eq!(names.short("api.test +tcp").await, "240.240.0.1");
        assert_eq!(names.short("www.wild.test").await, "240.240.0.2");
        assert_eq!(names.short("AAAA api.test").await, "", "no such address");
        let empty = names.dig("AAAA api.test").await;
        assert!(empty.contains("status: NOERROR") && empty.contains("ANSWER: 0"), "{empty}");
        let short = names.short("api.test.shop.svc.cluster.local").await;
        assert_eq!(short, "api.test.\n240.240.0.1");
        assert!(names.dig("api.test").await.contains("\t30\tIN\tA\t240.240.0.1"));
        assert_eq!(server.asked("api.test"), asked, "nobody else is asked");
        names.table.store(table(&[]));
        assert_eq!(names.short("api.test").await, "198.51.100.1", "the table is live");
    });
}

#[test]
fn other_names_are_asked_of_the_pods_servers() {
    with_server(async |server, names| {
        server.set("198.51.100.1 other.test\n2001:db8::1 other.test\n").await;
        for option in ["", " +tcp", " +noedns", " +bufsize=4096"] {
            assert_eq!(names.short(&format!("other.test{option}")).await, "198.51.100.1", "{option}");
            assert_eq!(names.short(&format!("AAAA other.test{option}")).await, "2001:db8::1", "{option}");
        }
        assert!(names.dig("nobody.test").await.contains("status: NXDOMAIN"));
        assert!(names.dig("other.test").await.contains(&format!("\t{TTL_S}\tIN\tA\t")), "as it came");
        assert_eq!(names.short("-x 198.51.100.1").await, "other.test.");
    });
}

#[test]
fn a_long_answer_is_cut_over_udp_and_whole_over_tcp() {
    with_server(async |server, names| {
        let lines: String = (1..=200).map(|last| format!("198.51.100.{last} many.test\n")).collect();
        let some: String = (1..=60).map(|last| format!("198.51.100.{last} some.test\n")).collect();
        server.set(&(lines + &some)).await;
        let cut = names.dig("many.test +noedns +ignore").await;
        assert!(cut.contains(" tc "), "{cut}");
        assert_eq!(names.short("many.test +noedns").await.lines().count(), 200, "dig asks again by TCP");
        assert_eq!(names.short("some.test +bufsize=1232 +ignore").await.lines().count(), 60);
    });
}

#[test]
fn many_questions_at_a_time_get_their_own_answers() {
    with_server(async |server, names| {
        let lines: String = (1..=100).map(|n| format!("198.51.100.{n} host{n}.test\n")).collect();
        server.set(&lines).await;
        let asking = (1..=100).map(|n| {
            let names = &names;
            async move { assert_eq!(names.short(&format!("host{n}.test")).await, format!("198.51.100.{n}")) }
        });
        futures::future::join_all(asking).await;
    });
}

#[test]
fn a_server_that_is_gone_costs_a_moment() {
    in_own_network(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53)), async || {
        let server = Dnsmasq::start(TTL_S).await;
        server.set("198.51.100.1 other.test\n").await;
        // Nobody answers there, and nobody refuses: it is the machine's own address without a server.
        let silent = tokio::net::UdpSocket::bind("127.0.0.9:53").await.unwrap();
        let names = Names::start("nameserver 127.0.0.9\nnameserver 127.0.0.1\n").await;
        let started = Instant::now();
        assert_eq!(names.short("other.test").await, "198.51.100.1");
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        drop(silent);
        let names = Names::start("nameserver 127.0.0.9\nnameserver 127.0.0.1\n").await;
        let started = Instant::now();
        assert_eq!(names.short("other.test").await, "198.51.100.1", "a port that is closed");
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        let names = Names::start("nameserver 127.0.0.9\n").await;
        assert!(names.dig("other.test").await.contains("status: SERVFAIL"));
    });
}
