//! Names of destinations of forward proxies: what their routes are attached by, and what clients ask for.

use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// By what names a destination `HOST:PORT` of a forward proxy may be known, the most specific first: its own, and of an
/// address those of all networks that it lies in (`10.1.0.0/16:443`, `[fd00::]/8:443`), the smallest first. An IPv6
/// address that carries an IPv4 one is that.
///
/// Nothing is made before it is asked for; an address has at most 130 names.
pub fn destination_names(host: &str, port: u16) -> impl Iterator<Item = String> {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|it| it.to_canonical());
    let own = match address {
        None => format!("{host}:{port}"),
        Some(address) => SocketAddr::new(address, port).to_string(),
    };
    let networks = address.into_iter().flat_map(move |address| {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (0..=bits).rev().filter_map(move |len| Some(network_name(IpNet::new(address, len).ok()?, port)))
    });
    std::iter::once(own).chain(networks)
}

/// The name of a network as a destination: `10.1.0.0/16:443`, `[fd00::]/8:443`.
pub fn network_name(network: IpNet, port: u16) -> String {
    match network.network() {
        IpAddr::V4(address) => format!("{address}/{}:{port}", network.prefix_len()),
        IpAddr::V6(address) => format!("[{address}]/{}:{port}", network.prefix_len()),
    }
}

#[cfg(test)]
mod tests {
    use super::destination_names;

    #[test]
    fn an_address_is_known_by_its_networks_too() {
        let names: Vec<_> = destination_names("10.1.2.3", 80).collect();
        assert_eq!(names[..4], ["10.1.2.3:80", "10.1.2.3/32:80", "10.1.2.2/31:80", "10.1.2.0/30:80"]);
        assert_eq!((names.len(), names.last().map(String::as_str)), (34, Some("0.0.0.0/0:80")));
        let names: Vec<_> = destination_names("fd00::1", 80).collect();
        assert_eq!(names[..3], ["[fd00::1]:80", "[fd00::1]/128:80", "[fd00::]/127:80"]);
        assert_eq!(names.len(), 130);
        assert_eq!(destination_names("[::ffff:10.0.0.1]", 1).next().as_deref(), Some("10.0.0.1:1"));
        assert_eq!(destination_names("a.test", 1).collect::<Vec<_>>(), ["a.test:1"]);
    }
}
