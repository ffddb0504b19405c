//! The four methods of `sluice.echo.v1.Echo`.

use super::super::body::Body;
use super::frames::{self, Messages};
use super::{Call, EchoRequest};
use futures::stream;
use std::time::Duration;

const MOST_REPEATS: u32 = 1_000_000;
const MOST_INTERVAL_MS: u32 = 60_000;

pub(super) fn unary(call: Call, mut messages: Messages) -> Body {
    frames::body(stream::once(async move {
        let request: EchoRequest = messages.only().await?;
        Ok(call.response(0, request.message))
    }))
}

pub(super) fn client_stream(call: Call, mut messages: Messages) -> Body {
    frames::body(stream::once(async move {
        let mut all = Vec::new();
        while let Some(request) = messages.next::<EchoRequest>().await? {
            all.push(request.message);
        }
        Ok(call.response(0, all.join(",")))
    }))
}

pub(super) fn bidi_stream(call: Call, messages: Messages) -> Body {
    frames::body(stream::try_unfold((call, messages, 0), |(call, mut messages, index)| async move {
        let request = messages.next::<EchoRequest>().await?;
        Ok(request.map(|request| (call.response(index, request.message), (call, messages, index + 1))))
    }))
}

pub(super) fn server_stream(call: Call, messages: Messages) -> Body {
    let state = (call, messages, None::<EchoRequest>, 0);
    frames::body(stream::try_unfold(state, |(call, mut messages, request, index)| async move {
        let request = match request {
            Some(request) => request,
            None => messages.only::<EchoRequest>().await?,
        };
        if index >= request.repeat.clamp(1, MOST_REPEATS) {
            return Ok(None);
        }
        if index > 0 {
            let interval_ms = request.interval_ms.min(MOST_INTERVAL_MS);
            tokio::time::sleep(Duration::from_millis(interval_ms.into())).await;
        }
        let response = call.response(index, request.message.clone());
        Ok(Some((response, (call, messages, Some(request), index + 1))))
    }))
}
