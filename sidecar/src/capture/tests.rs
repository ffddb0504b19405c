//! The text of the rules, for each option.

use super::{CaptureArgs, text};
use clap::Parser;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: CaptureArgs,
}

fn shown(backend: &str, options: &str) -> String {
    let common = ["capture", "--ipv6", "true", "--backend", backend];
    let words = common.into_iter().chain(options.split_ascii_whitespace());
    text(&Command::parse_from(words).args).unwrap()
}

fn refused(options: &str) -> String {
    let words = ["capture"].into_iter().chain(options.split_ascii_whitespace());
    text(&Command::parse_from(words).args).unwrap_err().to_string()
}

/// Each option that changes a rule, with both tools.
macro_rules! golden {
    ($($name:ident: $options:literal;)*) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(concat!(stringify!($name), "_nft"), shown("nft", $options));
                insta::assert_snapshot!(
                    concat!(stringify!($name), "_iptables"),
                    shown("iptables-legacy", $options)
                );
            }
        )*
    };
}

golden! {
    defaults_without_dns: "--redirect-dns false";
    all_dns: "--capture-all-dns true";
    ports_that_are_included: "--redirect-dns false -b 8080,9090 -q 443 -i 10.0.0.0/8,fd00::/8";
    ports_and_ranges_that_are_excluded: "--redirect-dns false -d 22,9000 -o 5432 -x 169.254.0.0/16,fe80::/10";
    interfaces: "--redirect-dns false -c eth1,veth+ -k tap0 -i 10.0.0.0/8";
    owners: "--redirect-dns false -u 1337,1338 -g 2000 --owner-groups java,202";
    owners_that_are_excluded: "--redirect-dns false --exclude-owner-groups 303";
    loopback_range_and_invalid_packets: "--redirect-dns false -i 127.1.2.3/32 --drop-invalid true";
    nothing_but_names: "-b= -i= --capture-all-dns true";
}

#[test]
fn without_ipv6_no_rule_names_it() {
    let rules = shown("nft", "--redirect-dns false --ipv6 false -x fd00::/8");
    assert!(!rules.contains("ip6 ") && !rules.contains("fd00"), "{rules}");
    assert_eq!(rules.matches("meta nfproto ipv6 return").count(), 2, "where the kernel enters: {rules}");
    let rules = shown("iptables-nft", "--redirect-dns false --ipv6 false");
    assert!(!rules.contains("ip6tables"), "{rules}");
}

#[test]
fn the_ports_of_the_sidecar_itself_are_never_captured() {
    let rules = shown("nft", "--redirect-dns false -b 8080,15020,15021");
    assert!(rules.contains("dport 8080") && !rules.contains("1502"), "{rules}");
}

#[test]
fn what_can_not_be_is_refused_with_its_option() {
    for (options, part) in [
        ("-m TPROXY", "only REDIRECT"),
        ("-b 80,http", "--inbound-ports: \"http\" is none"),
        ("-i *,10.0.0.0/8", "--outbound-ip-ranges: \"*\" is none"),
        ("-x *", "--exclude-outbound-ip-ranges: \"*\" is none"),
        ("-c eth0;reboot", "--exclude-interfaces: \"eth0;reboot\" is none"),
        ("--owner-groups 1 --exclude-owner-groups 2", "--exclude-owner-groups: only where"),
        ("-u= -g=", "--proxy-uid: without it"),
    ] {
        let error = refused(options);
        assert!(error.contains(part), "{options}: {error}");
    }
}
