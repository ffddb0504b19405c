//! Which port a data plane in a cluster binds for a listener's port.

/// The admin interface of a data plane that the controller provisions. No listener of a cluster gets this port.
pub const ADMIN_PORT: u16 = 15_021;

/// Added to ports that need a privilege to bind.
const OFFSET: u16 = 10_000;

/// The port that a data plane without privileges binds behind the Service of its Gateway: 80 becomes 10080, 8080
/// stays. Two listeners' ports can meet (80 and 10080, see [`low_port`]); the second one is then refused.
pub fn cluster_port(port: u16) -> u16 {
    if port < 1024 { port + OFFSET } else { port }
}

/// The low port whose [`cluster_port`] is `port`, if there is one.
pub fn low_port(port: u16) -> Option<u16> {
    port.checked_sub(OFFSET).filter(|it| (1..1024).contains(it))
}

#[cfg(test)]
mod tests {
    use super::{cluster_port, low_port};

    #[test]
    fn a_port_below_1024_is_moved_up_and_any_other_stays() {
        assert_eq!((cluster_port(80), cluster_port(443), cluster_port(1023)), (10_080, 10_443, 11_023));
        assert_eq!((cluster_port(1024), cluster_port(8443), cluster_port(65_535)), (1024, 8443, 65_535));
    }

    #[test]
    fn a_port_that_a_low_one_needs_is_known() {
        assert_eq!((low_port(10_080), low_port(11_023)), (Some(80), Some(1023)));
        assert_eq!((low_port(80), low_port(10_000), low_port(11_024)), (None, None, None));
    }
}
