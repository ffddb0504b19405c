//! Capture in a real kernel: rules are applied in a network of their own, and connections are made through them.
//!
//! Two networks with a cable between them: a pod with a workload and the ports of a sidecar, and a peer. Needs root, of
//! the machine or of a user namespace, and the Debian packages nftables, iptables, iproute2, util-linux, curl,
//! bind9-dnsutils and dnsmasq-base.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use std::net::SocketAddr;
use world::{APP, PROXY, World};

/// Who answers connections in the pod and at the peer.
fn pod(world: &World) {
    for (address, name) in [
        ("0.0.0.0:15001", "outbound"),
        ("[::]:15001", "outbound"),
        ("0.0.0.0:15006", "inbound"),
        ("[::]:15006", "inbound"),
        ("0.0.0.0:8080", "app"),
        ("[::]:8080", "app"),
        ("0.0.0.0:9100", "app"),
        ("0.0.0.0:15021", "ready"),
        ("[::]:15021", "ready"),
    ] {
        world.serve(address, name);
    }
    for address in ["10.9.9.9:80", "[fd00:9::9]:80", "10.9.9.9:9000", "10.9.8.8:80"] {
        world.serve_at_peer(address, "peer");
    }
}

/// The tools as an option names them, each with the commands that show and make rules of others.
const TOOLS: [(&str, &str, &str); 3] = [
    ("nft", "nft list ruleset", "nft add table inet other"),
    (
        "iptables-nft",
        "iptables-nft-save; ip6tables-nft-save",
        "iptables-nft -t nat -A OUTPUT -p tcp --dport 7 -j ACCEPT",
    ),
    (
        "iptables-legacy",
        "iptables-legacy-save; ip6tables-legacy-save",
        "iptables-legacy -t nat -A OUTPUT -p tcp --dport 7 -j ACCEPT",
    ),
];

fn tool(name: &str) -> (&'static str, &'static str) {
    let (_, show, other) = TOOLS.into_iter().find(|(it, ..)| *it == name).expect("a tool");
    (show, other)
}

/// What the kernel has, without what counts or is only there because somebody looked.
fn rules(world: &World, show: &str) -> Vec<String> {
    let is_rule = |line: &&str| {
        let line = line.trim_start();
        !(line.is_empty() || line.starts_with(['#', '*', ':']) || line == "COMMIT")
    };
    world.shell(show).lines().filter(is_rule).map(str::to_owned).collect()
}

fn captures(backend: &'static str) {
    World::run(move |world| {
        pod(&world);
        let options = format!("-o 9000 -x 10.9.8.0/24 -d 9100 --ipv6 true --backend {backend}");
        world.capture(&format!("apply {options}"));

        let outbound = "outbound 10.9.9.9:80";
        assert_eq!(world.call(APP, "10.9.9.9:80"), outbound, "the workload's connections");
        assert_eq!(world.call(APP, "[fd00:9::9]:80"), "outbound [fd00:9::9]:80");
        assert_eq!(world.call(APP, "10.9.9.7:81"), "outbound 10.9.9.7:81", "where nobody is");
        assert_eq!(world.call((0, 0), "10.9.9.9:80"), outbound, "root is no exception");
        assert_eq!(world.call((1000, 1337), "10.9.9.9:80"), "peer", "the proxy's group");
        assert_eq!(world.call(APP, "10.9.9.9:9000"), "peer", "a port that is excluded");
        assert_eq!(world.call(APP, "10.9.8.8:80"), "peer", "a range that is excluded");
        assert_eq!(world.call(PROXY, "10.9.9.9:80"), "peer", "the proxy's own connections");
        assert_eq!(world.call(PROXY, "[fd00:9::9]:80"), "peer");

        assert_eq!(world.call_from_peer("10.9.9.1:8080"), "inbound 10.9.9.1:8080");
        assert_eq!(world.call_from_peer("[fd00:9::1]:8080"), "inbound [fd00:9::1]:8080");
        assert_eq!(world.call_from_peer("10.9.9.1:15021"), "ready", "probes");
        assert_eq!(world.call_from_peer("[fd00:9::1]:15021"), "ready");
        assert_eq!(world.call_from_peer("10.9.9.1:9100"), "app", "a port that is excluded");

        let to_itself = "the workload by its own service";
        assert_eq!(world.call(PROXY, "10.9.9.1:8080"), "inbound 10.9.9.1:8080", "{to_itself}");
        assert_eq!(world.call(PROXY, "[fd00:9::1]:8080"), "inbound [fd00:9::1]:8080", "{to_itself}");
        for (source, target) in [("127.0.0.6", "10.9.9.1:8080"), ("::6", "[fd00:9::1]:8080")] {
            assert_eq!(world.call_from(source, PROXY, target), "app", "the proxy to its workload");
        }
        for local in ["127.0.0.1:8080", "[::1]:8080"] {
            assert_eq!(world.call(APP, local), "app", "loopback");
            assert_eq!(world.call(PROXY, local), "app", "loopback");
        }
        assert_eq!(world.call(APP, "10.9.9.1:8080"), "app", "the workload's own address");
    });
}

fn is_idempotent_and_cleans(backend: &'static str) {
    World::run(move |world| {
        pod(&world);
        let (show, other) = tool(backend);
        world.shell(other);
        let before = rules(&world, show);
        assert_eq!(world.call(APP, "10.9.9.9:80"), "peer");

        let apply = format!("apply --drop-invalid true --ipv6 true --backend {backend}");
        world.capture(&apply);
        let once = rules(&world, show);
        assert_ne!(once, before);
        world.capture(&apply);
        assert_eq!(rules(&world, show), once, "applied twice is applied once");
        world.capture(&format!("apply --redirect-dns false --ipv6 false --backend {backend}"));
        let fewer = rules(&world, show);
        assert!(fewer.len() < once.len(), "{fewer:?}");
        assert_eq!(world.call(APP, "[fd00:9::9]:80"), "peer", "IPv6 is not captured any more");
        assert_eq!(world.call(APP, "10.9.9.9:80"), "outbound 10.9.9.9:80");

        world.capture("clean");
        assert_eq!(rules(&world, show), before, "what others have stays");
        assert_eq!(world.call(APP, "10.9.9.9:80"), "peer");
        assert!(!world.shell("ip -6 addr show dev lo").contains("::6/128"));
        world.capture("clean");
    });
}

macro_rules! with_each_tool {
    ($($module:ident: $backend:literal;)*) => {
        $(
            mod $module {
                #[test]
                fn captures_what_it_should_and_nothing_else() {
                    super::captures($backend);
                }

                #[test]
                fn is_idempotent_and_cleans() {
                    super::is_idempotent_and_cleans($backend);
                }

                #[test]
                fn names_are_captured_but_not_the_proxys_own_questions() {
                    super::captures_names($backend);
                }

                #[test]
                fn what_is_not_included_is_left_alone() {
                    super::includes($backend);
                }
            }
        )*
    };
}

with_each_tool! {
    nft: "nft";
    iptables_nft: "iptables-nft";
    iptables_legacy: "iptables-legacy";
}

/// Each server at the peer says something else, and the sidecar asks the one that answers `192.0.2.8`: the answer tells
/// which way the question went.
fn captures_names(backend: &'static str) {
    World::run(move |world| {
        for last in 7..=9 {
            world.name_server_at_peer(&format!("10.9.9.{last}"), "who.test", &format!("192.0.2.{last}"));
        }
        world.resolv_conf("nameserver 10.9.9.8\n");
        let sidecar = world.sidecar(&[]);
        sidecar.answers("127.0.0.1:15053");
        let ask = |who, server: &str| {
            let way = |option| world.ask(who, &format!("10.9.9.{server}"), "who.test", option);
            (way(""), way("+tcp"))
        };
        let answers = |last: u8| (format!("192.0.2.{last}"), format!("192.0.2.{last}"));

        world.resolv_conf("nameserver 10.9.9.9\n");
        world.capture(&format!("apply -o 5432 --backend {backend}"));
        assert_eq!(ask(APP, "9"), answers(8), "the server of resolv.conf");
        assert_eq!(ask(PROXY, "9"), answers(9), "the proxy's own questions");
        // The connection of such a question is captured as any other is.
        assert_eq!(ask(APP, "7").0, "192.0.2.7", "another server");

        world.capture(&format!("apply --capture-all-dns true --backend {backend}"));
        assert_eq!(ask(APP, "7"), answers(8), "every server");
        assert_eq!(ask(PROXY, "7"), answers(7));

        world.capture(&format!("apply --redirect-dns false -o 53 --backend {backend}"));
        assert_eq!(ask(APP, "9"), answers(9), "switched off");
    });
}

fn includes(backend: &'static str) {
    World::run(move |world| {
        pod(&world);
        let apply = |options: &str| world.capture(&format!("apply {options} --backend {backend}"));
        apply("-b 8080 -i 10.9.8.0/24 -q 9000");
        assert_eq!(world.call(APP, "10.9.9.9:80"), "peer", "a range that is not included");
        assert_eq!(world.call(APP, "10.9.8.8:80"), "outbound 10.9.8.8:80");
        assert_eq!(world.call(APP, "10.9.9.9:9000"), "outbound 10.9.9.9:9000", "a port is, anywhere");
        assert_eq!(world.call_from_peer("10.9.9.1:8080"), "inbound 10.9.9.1:8080");
        assert_eq!(world.call_from_peer("10.9.9.1:9100"), "app", "a port that is not included");

        apply("-c pod0");
        assert_eq!(world.call(APP, "10.9.9.9:80"), "peer", "an interface that is excluded");
        assert_eq!(world.call_from_peer("10.9.9.1:8080"), "app");

        apply("--owner-groups 1000");
        assert_eq!(world.call(APP, "10.9.9.9:80"), "outbound 10.9.9.9:80");
        assert_eq!(world.call((1000, 2000), "10.9.9.9:80"), "peer", "another group");
        apply("--exclude-owner-groups 1000");
        assert_eq!(world.call(APP, "10.9.9.9:80"), "peer", "a group that is excluded");
        assert_eq!(world.call((1000, 2000), "10.9.9.9:80"), "outbound 10.9.9.9:80");
    });
}

#[test]
fn another_tool_takes_over_from_the_first() {
    World::run(|world| {
        pod(&world);
        let legacy = "iptables-legacy-save; ip6tables-legacy-save";
        world.capture("apply --ipv6 true --backend iptables-legacy");
        assert!(!rules(&world, legacy).is_empty());
        world.capture("apply --ipv6 true --backend auto");
        assert_eq!(rules(&world, legacy), Vec::<String>::new());
        assert!(world.shell("nft list tables").contains("table inet sluice"), "nft is the first choice");
        assert_eq!(world.call(APP, "10.9.9.9:80"), "outbound 10.9.9.9:80");
    });
}

#[test]
fn who_calls_the_port_itself_has_no_original_destination() {
    World::run(|world| {
        pod(&world);
        world.capture("apply");
        assert_eq!(world.call(PROXY, "127.0.0.1:15001"), "outbound itself");
        let address: SocketAddr = "10.9.9.1:15006".parse().unwrap();
        assert_eq!(world.call_from_peer(&address.to_string()), "inbound itself");
    });
}
