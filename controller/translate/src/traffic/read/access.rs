//! `clients`, `limits` and `timeouts`.

use crate::values::Values;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sluice_crds::{ClientsSpec, RequestLimitsSpec, TrafficTimeoutsSpec};
use sluice_ir::{ClientRules, RequestLimits, Timeouts};
use std::net::IpAddr;

/// Most entries of a list of clients.
const MOST_RANGES: usize = 1_024;

/// Reads `clients`.
pub(super) fn clients(spec: &ClientsSpec, values: &mut Values) -> ClientRules {
    if spec.allow.is_none() && spec.deny.is_none() {
        values.fault("clients", "says neither allow nor deny", "add one of them, or remove clients");
    }
    let mut ranges = |field: &str, list: &Option<Vec<String>>| {
        let list = list.as_ref()?;
        if list.is_empty() {
            values.fault(format!("clients.{field}"), "is empty", "name an address, or remove the list");
        }
        if list.len() > MOST_RANGES {
            values.fault(
                format!("clients.{field}"),
                format!("has {} entries", list.len()),
                "use at most 1024",
            );
        }
        let mut ranges: Vec<IpNet> = Vec::with_capacity(list.len());
        for (index, text) in list.iter().enumerate() {
            match range(text) {
                Ok(range) => ranges.push(range),
                Err((message, next_step)) => {
                    values.fault(format!("clients.{field}[{index}]"), message, next_step);
                }
            }
        }
        ranges.sort_unstable();
        ranges.dedup();
        Some(ranges)
    };
    ClientRules { allow: ranges("allow", &spec.allow), deny: ranges("deny", &spec.deny).unwrap_or_default() }
}

/// An address or a range of them. Bits below the prefix are refused: who writes `10.1.2.3/8` may mean the address or
/// the range, and one of them is a hole.
fn range(text: &str) -> Result<IpNet, (String, String)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let next_step = || "write it as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32".to_owned();
    let range: IpNet = text
        .parse()
        .map_err(|_| (format!("{text:?} is no address and no range of addresses"), next_step()))?;
    let meant = range.trunc();
    if meant != range {
        let address = range.addr();
        return Err((
            format!("{text:?} has bits below its prefix"),
            format!("use {meant} for the range, {address} for the address"),
        ));
    }
    Ok(range)
}

/// Lets nobody in.
pub(super) fn nobody() -> ClientRules {
    ClientRules { allow: None, deny: vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())] }
}

/// Reads `limits`.
pub(super) fn limits(spec: &RequestLimitsSpec, values: &mut Values) -> RequestLimits {
    RequestLimits {
        request_body_bytes: values.number("limits.requestBodyBytes", spec.request_body_bytes, (0, i64::MAX)),
        request_headers: values.number("limits.requestHeaders", spec.request_headers, (1, 256)),
        request_header_bytes: values.number(
            "limits.requestHeaderBytes",
            spec.request_header_bytes,
            (256, 1_048_576),
        ),
    }
}

/// Reads `timeouts`; 0s is no bound, as in Gateway API (GEP-1742).
pub(super) fn timeouts(spec: &TrafficTimeoutsSpec, values: &mut Values) -> Timeouts {
    let mut bound = |field: &str, text: Option<&String>| {
        values.duration(&format!("timeouts.{field}"), text).filter(|it| !it.is_zero())
    };
    let request = bound("request", spec.request.as_ref());
    let backend_request = bound("backendRequest", spec.backend_request.as_ref());
    if let (Some(request), Some(backend_request)) = (request, backend_request)
        && backend_request > request
    {
        values.fault(
            "timeouts.backendRequest",
            "is longer than the request timeout, which bounds it",
            "make it shorter, or the request timeout longer",
        );
    }
    Timeouts { request, backend_request }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::range;

    #[test]
    fn addresses_and_ranges_are_read() {
        assert_eq!(range("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(range("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert_eq!(range("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
        assert_eq!(range("::ffff:192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        for bad in ["", "10.0.0.0/33", "10.0.0", "example.com", "10.0.0.0/", "10.1.2.3/8"] {
            assert!(range(bad).is_err(), "{bad}");
        }
        assert!(range("10.1.2.3/8").unwrap_err().1.contains("10.0.0.0/8"));
    }
}
