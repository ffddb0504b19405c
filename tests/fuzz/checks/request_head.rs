//! What holds for every request head that is not refused.

use sluice_proxy::listen::{Body, HeadEnd, check_head};

/// Panics when a law is broken.
pub(crate) fn check(data: &[u8]) {
    let whole = HeadEnd::default().find(data);
    assert_eq!(piecewise(data), whole, "the end of a head does not depend on how its bytes arrive");
    let Ok(Some(len)) = whole else { return };
    let head = &data[..len];
    assert!(head.ends_with(b"\r\n\r\n") || head == b"\r\n");
    let Ok(body) = check_head(head, 100) else { return };

    // A second parser sees the same message.
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(head);
    assert_eq!(parsed, Ok(httparse::Status::Complete(len)), "{:?}", String::from_utf8_lossy(head));
    let named = |name: &str| -> Vec<&[u8]> {
        request
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
            .collect()
    };
    let (lengths, encodings) = (named("content-length"), named("transfer-encoding"));
    assert!(named("host").len() <= 1 && (request.version == Some(0) || named("host").len() == 1));
    match body {
        Body::Sized(len) => {
            assert!(encodings.is_empty());
            let declared =
                lengths.first().map_or(0, |text| std::str::from_utf8(text).unwrap().parse().unwrap());
            assert_eq!(declared, len);
        }
        Body::Chunked => assert_eq!((lengths.len(), encodings.len()), (0, 1)),
        Body::Upgrade => assert!(!named("upgrade").is_empty() && lengths.len() + encodings.len() <= 1),
    }
}

/// The end as it is found when the bytes arrive one by one, or the refusal.
fn piecewise(data: &[u8]) -> Result<Option<usize>, sluice_proxy::listen::Refusal> {
    let mut end = HeadEnd::default();
    for len in 0..=data.len() {
        if let Some(found) = end.find(&data[..len])? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
