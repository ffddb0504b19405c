//! The metrics as OpenMetrics text, through `prometheus-client`'s collector interface.

use super::names::{self, Kind, MetricInfo};
use super::process::Process;
use super::{State, StreamMetrics, histogram::Reading};
use crate::jwks::Sources;
use crate::policy::RateServers;
use crate::upstream::{EndpointSnapshot, MirrorClient};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use sluice_ir::EndpointState;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A look at the state, taken when a scrape asks for it.
pub(super) struct View(pub(super) Arc<State>);

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

impl Collector for View {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Output(&mut encoder);
        out.family(&names::BUILD, |series| series.float(&[env!("CARGO_PKG_VERSION")], 1.0))?;
        routes(&self.0, &mut out)?;
        streams(&self.0, &mut out)?;
        ports(&self.0, &mut out)?;
        backends(&self.0, &mut out)?;
        out.family(&names::CACHE, |series| {
            self.0.cache.read().try_for_each(|(result, number)| series.int(&[result], number))
        })?;
        bodies(&self.0, &mut out)?;
        rate_limits(&self.0, &mut out)?;
        tokens(&self.0, &mut out)?;
        events(&self.0, &mut out)?;
        config(&self.0, &mut out)?;
        access_log(&self.0, &mut out)?;
        spans(&self.0, &mut out)?;
        process(&Process::read(), &mut out)
    }
}

fn routes(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    let routes = state.routes.list();
    out.family(&names::REQUESTS, |series| {
        for ((gateway, route), metrics) in &routes {
            for (outcome, class, number) in metrics.requests() {
                series.int(&[gateway, route, outcome.word(), class], number)?;
            }
        }
        Ok(())
    })?;
    out.family(&names::REQUEST_DURATION, |series| {
        routes.iter().try_for_each(|((gateway, route), metrics)| {
            let reading = metrics.durations();
            if reading.count() == 0 { Ok(()) } else { series.histogram(&[gateway, route], &reading) }
        })
    })?;
    out.family(&names::REQUEST_BYTES, |series| {
        routes.iter().try_for_each(|((gateway, route), it)| series.int(&[gateway, route], it.request_bytes()))
    })?;
    out.family(&names::RESPONSE_BYTES, |series| {
        routes
            .iter()
            .try_for_each(|((gateway, route), it)| series.int(&[gateway, route], it.response_bytes()))
    })?;
    out.family(&names::RETRIES, |series| {
        routes.iter().try_for_each(|((gateway, route), it)| series.int(&[gateway, route], it.retries()))
    })?;
    out.family(&names::HEDGES, |series| {
        for ((gateway, route), it) in &routes {
            for (result, number) in it.hedges() {
                series.int(&[gateway, route, result], number)?;
            }
        }
        Ok(())
    })
}

fn streams(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    let streams = state.streams.list();
    out.family(&names::STREAMS, |series| {
        for ((gateway, route), it) in &streams {
            for (outcome, number) in it.outcomes() {
                series.int(&[gateway, route, outcome.word()], number)?;
            }
        }
        Ok(())
    })?;
    out.family(&names::STREAMS_OPEN, |series| {
        streams
            .iter()
            .try_for_each(|((gateway, route), it)| series.float(&[gateway, route], it.open() as f64))
    })?;
    out.family(&names::STREAM_RECEIVED, |series| {
        streams
            .iter()
            .try_for_each(|((gateway, route), it)| series.int(&[gateway, route], it.received_bytes()))
    })?;
    out.family(&names::STREAM_SENT, |series| {
        streams.iter().try_for_each(|((gateway, route), it)| series.int(&[gateway, route], it.sent_bytes()))
    })?;
    out.family(&names::DATAGRAMS_DROPPED, |series| {
        let dropped = |it: &StreamMetrics| it.dropped_datagrams();
        let some = streams.iter().filter(|(_, it)| dropped(it) > 0);
        some.into_iter().try_for_each(|((gateway, route), it)| series.int(&[gateway, route], dropped(it)))
    })
}

fn ports(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    let ports: Vec<_> =
        state.ports.list().into_iter().map(|(address, it)| (address.to_string(), it)).collect();
    out.family(&names::CONNECTIONS, |series| {
        ports.iter().try_for_each(|(address, it)| series.int(&[address], it.accepted()))
    })?;
    out.family(&names::CONNECTIONS_OPEN, |series| {
        ports.iter().try_for_each(|(address, it)| series.float(&[address], it.open() as f64))
    })?;
    out.family(&names::CONNECTIONS_REFUSED, |series| {
        for (address, metrics) in &ports {
            for (reason, number) in metrics.refusals() {
                series.int(&[address, reason.word()], number)?;
            }
        }
        Ok(())
    })?;
    out.family(&names::TLS_FAILURES, |series| {
        ports.iter().try_for_each(|(address, it)| series.int(&[address], it.tls_failures()))
    })
}

fn backends(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    out.family(&names::CONNECT_FAILURES, |series| {
        let backends = state.connect_failures.list();
        backends.iter().try_for_each(|(backend, number)| series.int(&[backend], number.load(Relaxed)))
    })?;
    out.family(&names::AUTH_CHECKS, |series| {
        for (backend, counts) in state.authorizers.list() {
            for (result, number) in counts.results() {
                series.int(&[backend.as_str(), result], number)?;
            }
        }
        Ok(())
    })?;
    out.family(&names::DRY_RUN, |series| {
        for (gateway, counts) in state.dry_runs.list() {
            for ((action, result), number) in counts.results() {
                series.int(&[gateway.as_str(), action, result], number)?;
            }
        }
        Ok(())
    })?;
    let pools = state.upstreams.lock().upgrade().map(|upstreams| upstreams.snapshot()).unwrap_or_default();
    out.family(&names::ENDPOINTS, |series| {
        for pool in &pools {
            let count = |is_meant: &dyn Fn(&&EndpointSnapshot) -> bool| {
                pool.endpoints.iter().filter(is_meant).count()
            };
            let unhealthy = count(&|it| it.is_unhealthy());
            let resting = count(&|it| it.rests_ms > 0 && !it.is_unhealthy());
            let awake = |state| count(&|it| it.rests_ms == 0 && !it.is_unhealthy() && it.state == state);
            let key = pool.key.as_str();
            series.float(&[key, "ready"], awake(EndpointState::Ready) as f64)?;
            series.float(&[key, "draining"], awake(EndpointState::Draining) as f64)?;
            series.float(&[key, "resting"], resting as f64)?;
            series.float(&[key, "unhealthy"], unhealthy as f64)?;
        }
        Ok(())
    })?;
    out.family(&names::ENDPOINT_REQUESTS, |series| {
        pools.iter().try_for_each(|pool| {
            let in_flight: u64 = pool.endpoints.iter().map(|it| u64::from(it.in_flight)).sum();
            series.float(&[pool.key.as_str()], in_flight as f64)
        })
    })?;
    out.family(&names::EJECTIONS, |series| {
        pools.iter().try_for_each(|pool| series.int(&[pool.key.as_str()], pool.ejections))
    })?;
    out.family(&names::HEALTH_CHECKS, |series| {
        for (pool, checks) in pools.iter().filter_map(|pool| Some((pool, pool.checks?))) {
            series.int(&[pool.key.as_str(), "passed"], checks.passed)?;
            series.int(&[pool.key.as_str(), "failed"], checks.failed)?;
        }
        Ok(())
    })
}

fn bodies(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    let read = state.bodies.read();
    out.family(&names::COMPRESSED, |series| {
        read.iter().try_for_each(|it| series.int(&[it.coding.token()], it.answers))
    })?;
    out.family(&names::COMPRESSION_BYTES, |series| {
        for it in &read {
            series.int(&[it.coding.token(), "in"], it.taken)?;
            series.int(&[it.coding.token(), "out"], it.given)?;
        }
        Ok(())
    })?;
    out.family(&names::COMPRESSION_SKIPPED, |series| series.int(&[], state.bodies.skipped()))?;
    out.family(&names::UNPACKED, |series| {
        read.iter().try_for_each(|it| series.int(&[it.coding.token()], it.unpacked))
    })
}

fn rate_limits(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    let servers = state.rate_servers.lock().clone();
    let policies = servers.as_ref().map(RateServers::all_counts).unwrap_or_default();
    out.family(&names::RATE_DECISIONS, |series| {
        policies.iter().try_for_each(|(policy, counts)| {
            counts.decisions().iter().try_for_each(|(result, number)| series.int(&[policy, result], *number))
        })
    })?;
    out.family(&names::RATE_FAILURES, |series| {
        policies.iter().try_for_each(|(policy, counts)| {
            counts.failures().iter().try_for_each(|(reason, number)| series.int(&[policy, reason], *number))
        })
    })?;
    out.family(&names::RATE_SERVERS, |series| {
        let all = servers.as_ref().map(RateServers::all_servers).unwrap_or_default();
        all.iter().try_for_each(|(server, is_up)| series.float(&[server], if *is_up { 1.0 } else { 0.0 }))
    })
}

fn events(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    out.family(&names::REQUESTS_IN_FLIGHT, |series| series.float(&[], state.in_flight.get() as f64))?;
    let mirrors = state.mirrors.lock().as_ref().map(MirrorClient::stats).unwrap_or_default();
    out.family(&names::MIRRORS, |series| {
        series.int(&["completed"], mirrors.completed)?;
        series.int(&["refused"], mirrors.refused)?;
        series.int(&["overflowed"], mirrors.overflowed)?;
        series.int(&["abandoned"], mirrors.abandoned)?;
        series.int(&["failed"], mirrors.failed)
    })?;
    let held = state.buffers.lock().upgrade().map_or(0, |room| room.held_bytes());
    out.family(&names::BUFFERED_BYTES, |series| series.float(&[], held as f64))?;
    concurrency(state, out)?;
    out.family(&names::PANICS, |series| series.int(&[], state.panics.load(Relaxed)))
}

fn concurrency(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    let limiters = state.concurrency.list();
    out.family(&names::CONCURRENCY_LIMIT, |series| {
        limiters
            .iter()
            .try_for_each(|((policy, backend), it)| series.float(&[policy, backend], f64::from(it.limit())))
    })?;
    out.family(&names::CONCURRENCY_REQUESTS, |series| {
        limiters.iter().try_for_each(|((policy, backend), it)| {
            series.float(&[policy, backend], f64::from(it.in_flight()))
        })
    })?;
    out.family(&names::CONCURRENCY_REFUSED, |series| {
        limiters.iter().try_for_each(|((policy, backend), it)| series.int(&[policy, backend], it.refused()))
    })
}

fn tokens(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    let sources = state.key_sources.lock().as_ref().map(Sources::all).unwrap_or_default();
    out.family(&names::JWT_REQUESTS, |series| {
        state
            .tokens
            .read()
            .filter(|it| it.1 > 0)
            .try_for_each(|(result, number)| series.int(&[result], number))
    })?;
    // Rules of one issuer may fetch its keys from several places.
    let mut fetches: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for source in &sources {
        for (result, number) in source.fetches().into_iter().filter(|it| it.1 > 0) {
            *fetches.entry((source.issuer(), result)).or_default() += number;
        }
    }
    out.family(&names::JWKS_FETCHES, |series| {
        fetches.iter().try_for_each(|((issuer, result), number)| series.int(&[issuer, result], *number))
    })
}

fn config(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    let config = state.config.lock().clone();
    out.family(&names::CONFIG_APPLIES, |series| {
        series.int(&["applied"], config.applied)?;
        series.int(&["failed"], config.failed)
    })?;
    out.family(&names::CONFIG_APPLY_SECONDS, |series| series.float(&[], config.took.as_secs_f64()))?;
    out.family(&names::CONFIG_LISTENERS_REFUSED, |series| {
        series.float(&[], config.listeners_refused as f64)
    })?;
    out.family(&names::CONFIG_RESOURCES, |series| {
        config.resources.iter().try_for_each(|(kind, number)| series.float(&[kind], *number as f64))
    })
}

fn access_log(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    let Some(counts) = state.access_log.lock().clone() else {
        return Ok(());
    };
    out.family(&names::ACCESS_LOG_RECORDS, |series| {
        series.int(&["written"], counts.written())?;
        series.int(&["dropped"], counts.dropped())?;
        series.int(&["lost"], counts.lost())
    })
}

fn spans(state: &State, out: &mut Output<'_, '_>) -> fmt::Result {
    let counts = state.spans.get().cloned().unwrap_or_default();
    out.family(&names::TRACE_SPANS, |series| {
        series.int(&["exported"], counts.exported())?;
        series.int(&["dropped"], counts.dropped())?;
        series.int(&["failed"], counts.failed())
    })
}

fn process(process: &Process, out: &mut Output<'_, '_>) -> fmt::Result {
    out.optional(&names::PROCESS_CPU, process.cpu_seconds)?;
    out.optional(&names::PROCESS_RESIDENT, process.resident_bytes.map(|bytes| bytes as f64))?;
    out.optional(&names::PROCESS_OPEN_FDS, process.open_fds.map(|fds| fds as f64))?;
    out.optional(&names::PROCESS_MAX_FDS, process.max_fds.map(|fds| fds as f64))?;
    out.optional(&names::PROCESS_THREADS, process.threads.map(|threads| threads as f64))?;
    out.optional(&names::PROCESS_START, process.start_seconds)
}

/// Where families go.
struct Output<'a, 'e>(&'a mut DescriptorEncoder<'e>);

impl Output<'_, '_> {
    /// Writes the family's description, then what `write` adds to it.
    fn family(
        &mut self,
        info: &MetricInfo,
        write: impl FnOnce(&mut Series<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let kind = match info.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        // The encoder appends the unit and, to a counter, `_total`.
        let name = info.name.strip_suffix("_total").unwrap_or(info.name);
        let (name, unit) = match name.rsplit_once('_') {
            Some((name, "seconds")) => (name, Some(Unit::Seconds)),
            Some((name, "bytes")) => (name, Some(Unit::Bytes)),
            _ => (name, None),
        };
        let help = format!("{}.", info.help);
        let encoder = self.0.encode_descriptor(name, &help, unit.as_ref(), kind)?;
        write(&mut Series { info, encoder })
    }

    /// A family of one series, left out when there is no value.
    fn optional(&mut self, info: &MetricInfo, value: Option<f64>) -> fmt::Result {
        match value {
            Some(value) => self.family(info, |series| series.float(&[], value)),
            None => Ok(()),
        }
    }
}

/// The series of one family.
struct Series<'a> {
    info: &'a MetricInfo,
    encoder: MetricEncoder<'a>,
}

impl Series<'_> {
    /// One counter; `values` go with the family's labels.
    fn int(&mut self, values: &[&str], value: u64) -> fmt::Result {
        self.with(values, |encoder| encoder.encode_counter::<NoLabelSet, u64, f64>(&value, None))
    }

    /// One gauge, or a counter of seconds.
    fn float(&mut self, values: &[&str], value: f64) -> fmt::Result {
        let counter = self.info.kind == Kind::Counter;
        self.with(values, |encoder| {
            if counter {
                encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None)
            } else if value.fract() == 0.0 && value.abs() < 9e15 {
                encoder.encode_gauge(&(value as i64))
            } else {
                encoder.encode_gauge(&value)
            }
        })
    }

    fn histogram(&mut self, values: &[&str], reading: &Reading) -> fmt::Result {
        self.with(values, |encoder| {
            encoder.encode_histogram::<NoLabelSet>(
                reading.sum_seconds(),
                reading.count(),
                &reading.buckets(),
                None,
            )
        })
    }

    fn with(
        &mut self,
        values: &[&str],
        write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let labels: Vec<(&str, &str)> =
            self.info.labels.iter().copied().zip(values.iter().copied()).collect();
        match labels.is_empty() {
            true => write(&mut self.encoder),
            false => write(&mut self.encoder.encode_family(&labels)?),
        }
    }
}
