//! `grpc.health.v1.Health`: the echo as a whole and its one service are serving, others are unknown.

use super::super::body::Body;
use super::Status;
use super::frames::{self, Messages};
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "State", tag = "1")]
    status: i32,
}

/// `HealthCheckResponse.ServingStatus`: `UNKNOWN`, `SERVING`, `NOT_SERVING`, `SERVICE_UNKNOWN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum State {
    Unknown = 0,
    Up = 1,
    Down = 2,
    NoSuchService = 3,
}

fn state_of(service: &str) -> State {
    if matches!(service, "" | "sluice.echo.v1.Echo") { State::Up } else { State::NoSuchService }
}

pub(super) fn check(mut messages: Messages) -> Body {
    frames::body(stream::once(async move {
        let request: HealthCheckRequest = messages.only().await?;
        match state_of(&request.service) {
            State::Up => Ok(HealthCheckResponse { status: State::Up as i32 }),
            State::Unknown | State::Down | State::NoSuchService => {
                Err(Status::new(Status::NOT_FOUND, "unknown service"))
            }
        }
    }))
}

/// Tells the state once, and that the echo does not serve any more when it stops.
pub(super) fn watch(mut messages: Messages, stop: CancellationToken) -> Body {
    let first = stream::once(async move {
        let request: HealthCheckRequest = messages.only().await?;
        Ok(HealthCheckResponse { status: state_of(&request.service) as i32 })
    });
    let last = stream::once(async move {
        stop.cancelled_owned().await;
        Ok(HealthCheckResponse { status: State::Down as i32 })
    });
    frames::body(first.chain(last))
}
