//! The trace that a request belongs to, from its `traceparent` header.

/// The trace id of a W3C Trace Context header, 32 lower-case hexadecimal digits; `None` for what the standard calls
/// invalid, so that garbage from a client is never taken for a trace.
pub fn trace_id(traceparent: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let (version, rest) = (text.get(..2)?, text.get(2..)?);
    let (trace, parent, flags) = (rest.get(1..33)?, rest.get(34..50)?, rest.get(51..53)?);
    let dashes = [rest.get(..1)?, rest.get(33..34)?, rest.get(50..51)?].iter().all(|dash| *dash == "-");
    let hex = [version, trace, parent, flags].iter().all(|part| part.bytes().all(is_lower_hex));
    // Trace Context §2.2: version 00 ends here, later versions may go on after a dash, ff is forbidden.
    let end = match rest.get(53..) {
        Some("") => true,
        Some(more) => version != "00" && more.starts_with('-'),
        None => false,
    };
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    (dashes && hex && end && version != "ff" && !zero(trace) && !zero(parent)).then_some(trace)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::trace_id;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    #[test]
    fn a_valid_header_names_its_trace() {
        for header in [
            format!("00-{ID}-b7ad6b7169203331-01"),
            format!("42-{ID}-b7ad6b7169203331-00"),
            format!("42-{ID}-b7ad6b7169203331-00-more"),
        ] {
            assert_eq!(trace_id(header.as_bytes()), Some(ID), "{header}");
        }
    }

    #[test]
    fn an_invalid_header_names_none() {
        let (parent, zeros) = ("b7ad6b7169203331", "0".repeat(32));
        for header in [
            String::new(),
            "00".to_owned(),
            format!("00-{ID}-{parent}"),
            format!("00-{ID}-{parent}-01-more"),
            format!("00-{ID}-{parent}-0"),
            format!("00-{ID}-{parent}-01x"),
            format!("ff-{ID}-{parent}-01"),
            format!("00-{zeros}-{parent}-01"),
            format!("00-{ID}-{}-01", &zeros[..16]),
            format!("00-{}-{parent}-01", ID.to_uppercase()),
            format!("00_{ID}_{parent}_01"),
            format!("00-{}é-{parent}-01", &ID[..30]),
        ] {
            assert_eq!(trace_id(header.as_bytes()), None, "{header}");
        }
        assert_eq!(trace_id(&[0xff; 55]), None);
    }
}
