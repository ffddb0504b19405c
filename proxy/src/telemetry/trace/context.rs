//! Which trace a request belongs to, as its header says, in the forms that are about: W3C Trace Context and Zipkin's B3,
//! the latter in one field or in several. What is invalid is no trace. Told on in the forms that came; where nothing came,
//! in W3C's.

use crate::telemetry::access_log::trace_digits;
use http::{HeaderMap, HeaderName, HeaderValue};

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static B3: HeaderName = HeaderName::from_static("b3");
static B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
static B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
static B3_PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
static B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
static B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// What a request says of its trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    /// The trace and the span that asks; `None`: only whether to record was said, or nothing.
    pub span: Option<SpanIds>,
    /// Whether those before record it; `None`: they leave it open.
    pub is_sampled: Option<bool>,
    /// The forms that came.
    pub forms: Forms,
}

/// A span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanIds {
    /// The trace; never 0.
    pub trace: u128,
    /// The span; never 0.
    pub span: u64,
}

/// Forms of a context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// `traceparent`
    pub w3c: bool,
    /// `b3`
    pub b3: bool,
    /// `x-b3-*`
    pub b3_many: bool,
}

impl Incoming {
    /// Reads a header. W3C's form goes before B3's, since its rules are the stricter ones.
    pub fn read(headers: &HeaderMap) -> Self {
        let traceparent = headers.get(&TRACEPARENT).and_then(|it| traceparent(it.as_bytes()));
        let single = headers.get(&B3).and_then(|it| single(it.as_bytes()));
        let many = many(headers);
        let forms = Forms { w3c: traceparent.is_some(), b3: single.is_some(), b3_many: many.is_some() };
        let (span, is_sampled) = traceparent.or(single).or(many).unwrap_or_default();
        Self { span, is_sampled, forms }
    }
}

/// The ids, where there are any, and whether the trace is recorded.
type Said = (Option<SpanIds>, Option<bool>);

fn traceparent(field: &[u8]) -> Option<Said> {
    trace_digits(field)?;
    let flags = u8::from_str_radix(text(field.get(53..55)?)?, 16).ok()?;
    let ids = SpanIds { trace: wide(field.get(3..35)?)?, span: narrow(field.get(36..52)?)? };
    Some((Some(ids), Some(flags & 1 == 1)))
}

/// `TRACE-SPAN`, `TRACE-SPAN-SAMPLED`, `TRACE-SPAN-SAMPLED-PARENT` or `SAMPLED` alone.
fn single(field: &[u8]) -> Option<Said> {
    let mut parts = field.split(|byte| *byte == b'-');
    let (first, second) = (parts.next()?, parts.next());
    let Some(second) = second else { return Some((None, Some(decision(first)?))) };
    let ids = SpanIds { trace: wide(first)?, span: narrow(second)? };
    let is_sampled = match parts.next() {
        Some(said) => Some(decision(said)?),
        None => None,
    };
    let is_whole = parts.next().is_none_or(|parent| narrow(parent).is_some()) && parts.next().is_none();
    is_whole.then_some((Some(ids), is_sampled))
}

fn many(headers: &HeaderMap) -> Option<Said> {
    let field = |name| headers.get(name).map(HeaderValue::as_bytes);
    let is_debug = field(&B3_FLAGS) == Some(b"1");
    let is_sampled = if is_debug { Some(true) } else { field(&B3_SAMPLED).and_then(decision) };
    let ids = field(&B3_TRACE)
        .zip(field(&B3_SPAN))
        .and_then(|(trace, span)| Some(SpanIds { trace: wide(trace)?, span: narrow(span)? }));
    (ids.is_some() || is_sampled.is_some()).then_some((ids, is_sampled))
}

fn decision(said: &[u8]) -> Option<bool> {
    match said {
        b"1" | b"d" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    }
}

/// A trace id of 16 or 32 digits.
fn wide(digits: &[u8]) -> Option<u128> {
    if digits.len() != 16 && digits.len() != 32 {
        return None;
    }
    number(digits).filter(|it| *it != 0)
}

/// A span id of 16 digits.
fn narrow(digits: &[u8]) -> Option<u64> {
    if digits.len() != 16 {
        return None;
    }
    number(digits).and_then(|it| u64::try_from(it).ok()).filter(|it| *it != 0)
}

fn number(digits: &[u8]) -> Option<u128> {
    // A sign is none of these digits.
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    u128::from_str_radix(text(digits).filter(|_| is_hex)?, 16).ok()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What those who get the request are told.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// The span that asks them: ours.
    pub span: SpanIds,
    /// The span that asked us.
    pub parent: Option<u64>,
    /// Whether it is recorded.
    pub is_sampled: bool,
}

impl Outgoing {
    /// The fields that tell it, in the given forms; in W3C's where there are none.
    pub fn fields(&self, forms: Forms) -> Vec<(HeaderName, HeaderValue)> {
        let mut fields = Vec::with_capacity(4);
        let SpanIds { trace, span } = self.span;
        let sampled = u8::from(self.is_sampled);
        let mut add = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                fields.push((name, value));
            }
        };
        // B3 has ids of half the length too, and those who made one may know no other.
        let b3_trace = if trace >> 64 == 0 { format!("{trace:016x}") } else { format!("{trace:032x}") };
        if forms.w3c || forms == Forms::default() {
            add(TRACEPARENT.clone(), format!("00-{trace:032x}-{span:016x}-{sampled:02x}"));
        }
        if forms.b3 {
            let parent = self.parent.map(|it| format!("-{it:016x}")).unwrap_or_default();
            add(B3.clone(), format!("{b3_trace}-{span:016x}-{sampled}{parent}"));
        }
        if forms.b3_many {
            add(B3_TRACE.clone(), b3_trace);
            add(B3_SPAN.clone(), format!("{span:016x}"));
            add(B3_SAMPLED.clone(), sampled.to_string());
            if let Some(parent) = self.parent {
                add(B3_PARENT.clone(), format!("{parent:016x}"));
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";
    const IDS: SpanIds =
        SpanIds { trace: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, span: 0xb7ad_6b71_6920_3331 };

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let fields =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        fields.collect()
    }

    #[test]
    fn each_form_is_read() {
        let w3c = Incoming::read(&headers(&[("traceparent", &format!("00-{TRACE}-{SPAN}-01"))]));
        assert_eq!((w3c.span, w3c.is_sampled, w3c.forms.w3c), (Some(IDS), Some(true), true));
        let b3 = Incoming::read(&headers(&[("b3", &format!("{TRACE}-{SPAN}-0-{SPAN}"))]));
        assert_eq!((b3.span, b3.is_sampled, b3.forms.b3), (Some(IDS), Some(false), true));
        let open = Incoming::read(&headers(&[("b3", &format!("{TRACE}-{SPAN}"))]));
        assert_eq!((open.span, open.is_sampled), (Some(IDS), None));
        let never = Incoming::read(&headers(&[("b3", "0")]));
        assert_eq!((never.span, never.is_sampled), (None, Some(false)));
        let many = Incoming::read(&headers(&[
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", SPAN),
            ("x-b3-sampled", "1"),
        ]));
        assert_eq!((many.span, many.is_sampled, many.forms.b3_many), (Some(IDS), Some(true), true));
        let debug =
            Incoming::read(&headers(&[("x-b3-traceid", SPAN), ("x-b3-spanid", SPAN), ("x-b3-flags", "1")]));
        assert_eq!((debug.span.unwrap().trace, debug.is_sampled), (u128::from(IDS.span), Some(true)));
    }

    #[test]
    fn what_is_invalid_is_no_trace() {
        let zeros = "0".repeat(32);
        for (name, value) in [
            ("traceparent", format!("00-{zeros}-{SPAN}-01")),
            ("traceparent", "x".to_owned()),
            ("b3", format!("{TRACE}-{SPAN}-7")),
            ("b3", format!("{TRACE}-{SPAN}-1-{SPAN}-more")),
            ("b3", format!("{zeros}-{SPAN}-1")),
            ("b3", format!("+{}-{SPAN}-1", &TRACE[1..])),
            ("b3", String::new()),
            ("x-b3-traceid", TRACE.to_owned()),
        ] {
            assert_eq!(Incoming::read(&headers(&[(name, &value)])), Incoming::default(), "{name}: {value}");
        }
    }

    #[test]
    fn the_answer_is_told_in_the_forms_that_came() {
        let told = Outgoing { span: SpanIds { span: 1, ..IDS }, parent: Some(IDS.span), is_sampled: true };
        let of = |forms| {
            let fields = told.fields(forms).into_iter();
            fields.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect::<Vec<_>>()
        };
        let w3c = format!("traceparent: 00-{TRACE}-0000000000000001-01");
        assert_eq!(of(Forms::default()), std::slice::from_ref(&w3c));
        let all = of(Forms { w3c: true, b3: true, b3_many: true });
        let single = format!("b3: {TRACE}-0000000000000001-1-{SPAN}");
        assert_eq!(all[..2], [w3c, single]);
        assert_eq!(
            all[2..],
            [
                format!("x-b3-traceid: {TRACE}"),
                "x-b3-spanid: 0000000000000001".to_owned(),
                "x-b3-sampled: 1".to_owned(),
                format!("x-b3-parentspanid: {SPAN}"),
            ]
        );
        let fields = told.fields(Forms { b3_many: true, ..Forms::default() });
        let again = Incoming::read(&fields.into_iter().collect());
        assert_eq!((again.span, again.is_sampled), (Some(told.span), Some(true)));
    }
}
