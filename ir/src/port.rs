//! Which port a data plane in a cluster binds for a listener's port.

/// Added to ports that need a privilege to bind.
const OFFSET: u16 = 10_000;

/// The port that a data plane without privileges binds behind the Service of its Gateway: 80 becomes 10080, 8080
/// stays. Two listeners' ports can meet (80 and 10080); the second one is then reported as taken.
pub fn cluster_port(port: u16) -> u16 {
    if port < 1024 { port + OFFSET } else { port }
}

#[cfg(test)]
mod tests {
    use super::cluster_port;

    #[test]
    fn a_port_below_1024_is_moved_up_and_any_other_stays() {
        assert_eq!((cluster_port(80), cluster_port(443), cluster_port(1023)), (10_080, 10_443, 11_023));
        assert_eq!((cluster_port(1024), cluster_port(8443), cluster_port(65_535)), (1024, 8443, 65_535));
    }
}
