//! The trace that a request belongs to, from its `traceparent` header.

/// The trace id of a W3C Trace Context header, 32 lower-case hexadecimal digits; `None` for what the standard calls
/// invalid, so that garbage from a client is never taken for a trace.
pub fn trace_id(traceparent: &[u8]) -> Option<&str> {
    std::str::from_utf8(digits(traceparent)?).ok()
}

/// The same as bytes, which are ASCII.
pub(crate) fn digits(traceparent: &[u8]) -> Option<&[u8]> {
    let (head, more) = traceparent.split_at_checked(LENGTH)?;
    let (version, trace, parent, flags) = (&head[..2], &head[3..35], &head[36..52], &head[53..]);
    let dashes = [head[2], head[35], head[52]] == [b'-'; 3];
    // Trace Context §2.2: version 00 ends here, later versions may go on after a dash, ff is forbidden.
    let end = more.is_empty() || (version != b"00" && more.starts_with(b"-"));
    let hex = is_lower_hex(version) & is_lower_hex(trace) & is_lower_hex(parent) & is_lower_hex(flags);
    let valid = dashes && end && hex && version != b"ff" && !is_zero(trace) && !is_zero(parent);
    valid.then_some(trace)
}

/// Bytes of version, trace, parent and flags with the dashes between them.
const LENGTH: usize = 55;

/// Looks at all bytes whatever it finds, so that the compiler looks at many at once.
fn is_lower_hex(part: &[u8]) -> bool {
    part.iter().fold(true, |all, byte| all & (byte.is_ascii_digit() | matches!(byte, b'a'..=b'f')))
}

fn is_zero(part: &[u8]) -> bool {
    part.iter().all(|byte| *byte == b'0')
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
