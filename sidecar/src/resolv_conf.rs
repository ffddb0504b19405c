//! The servers and search domains of `/etc/resolv.conf`, as the C library reads them (resolv.conf(5)).

use nix::net::if_::if_nametoindex;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// Where the system keeps it.
pub const PATH: &str = "/etc/resolv.conf";

const PORT: u16 = 53;

/// What it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Servers in the order in which they are asked, each once; the machine itself where none is named.
    pub servers: Vec<SocketAddr>,
    /// Domains that short names are looked for in: lower case, without a dot at their ends.
    pub search: Vec<String>,
}

impl ResolvConf {
    /// The system's.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn of_system() -> io::Result<Self> {
        Ok(Self::read(&std::fs::read_to_string(PATH)?))
    }

    /// From a file's text. Lines that can't be understood are passed over.
    pub fn read(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(server);
                    read.servers.extend(server.filter(|it| !read.servers.contains(it)));
                }
                // The last line counts.
                Some("search" | "domain") => read.search = words.filter_map(domain).collect(),
                _ => {}
            }
        }
        if read.servers.is_empty() {
            read.servers.push((Ipv4Addr::LOCALHOST, PORT).into());
        }
        read
    }
}

fn domain(word: &str) -> Option<String> {
    let domain = word.trim_matches('.').to_ascii_lowercase();
    (!domain.is_empty()).then_some(domain)
}

/// `10.0.0.10`, `fd00::10` or `fe80::1%eth0`.
fn server(word: &str) -> Option<SocketAddr> {
    let (address, scope) = word.split_once('%').unwrap_or((word, ""));
    match address.parse().ok()? {
        IpAddr::V4(address) => Some((address, PORT).into()),
        IpAddr::V6(address) => {
            let scope = scope.parse().ok().or_else(|| if_nametoindex(scope).ok()).unwrap_or(0);
            Some(SocketAddrV6::new(address, PORT, 0, scope).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ResolvConf;

    #[test]
    fn servers_and_domains_are_found_and_nonsense_is_passed_over() {
        let text = "# nameserver 1.1.1.1\nsearch old\nnameserver 10.0.0.10\nnameserver fe80::1%1\n\
                    nameserver 10.0.0.10\nnameserver nonsense\nnameserver\n\
                    search Shop.svc.cluster.local. svc.cluster.local .\noptions ndots:5\n";
        let read = ResolvConf::read(text);
        let servers: Vec<_> = read.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.10:53", "[fe80::1%1]:53"]);
        assert_eq!(read.search, ["shop.svc.cluster.local", "svc.cluster.local"]);
        assert_eq!(ResolvConf::read("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }
}
