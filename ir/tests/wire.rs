//! The wire form: what is written is read back, newer and older versions understand each other, and no other form
//! holds a secret.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod traffic;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use sluice_ir::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9./*-]{0,12}"
}

fn host() -> impl Strategy<Value = HostPattern> {
    prop_oneof![Just("*".to_owned()), "[a-z]{1,5}\\.example", "\\*\\.[a-z]{1,5}\\.example"]
        .prop_map(|text| HostPattern::parse(&text))
}

fn origin() -> impl Strategy<Value = Origin> {
    let kinds = prop_oneof![Just("Gateway"), Just("HTTPRoute"), Just("Service"), Just("BackendTLSPolicy")];
    (kinds, text(), text(), option::of(text())).prop_map(|(kind, namespace, name, section)| Origin {
        section: section.map(Into::into),
        ..Origin::new(kind, namespace, name)
    })
}

fn ms() -> impl Strategy<Value = Duration> {
    (0..10_000_000_u64).prop_map(Duration::from_millis)
}

fn secret() -> impl Strategy<Value = SecretBytes> {
    vec(any::<u8>(), 0..64).prop_map(SecretBytes::new)
}

fn string_match() -> impl Strategy<Value = StringMatch> {
    prop_oneof![text().prop_map(StringMatch::Exact), text().prop_map(StringMatch::Regex)]
}

fn matching() -> impl Strategy<Value = Match> {
    let path = prop_oneof![
        text().prop_map(|text| PathMatch::Exact(text.into())),
        text().prop_map(|text| PathMatch::Prefix(text.into())),
        text().prop_map(|text| PathMatch::Regex(text.into())),
        (option::of(string_match()), option::of(string_match()))
            .prop_map(|(service, method)| PathMatch::Grpc(Box::new(GrpcMethodMatch { service, method }))),
    ];
    let headers = vec((text(), string_match()).prop_map(|(name, value)| HeaderMatch { name, value }), 0..3);
    let query = vec((text(), string_match()).prop_map(|(name, value)| QueryMatch { name, value }), 0..3);
    (path, option::of(text()), headers, query).prop_map(|(path, method, headers, query)| Match {
        path,
        method: method.map(Into::into),
        headers,
        query,
    })
}

fn fail() -> impl Strategy<Value = Fail> {
    (200..600_u16, text()).prop_map(|(status, reason)| Fail { status, reason })
}

fn target() -> impl Strategy<Value = BackendTarget> {
    prop_oneof![
        text().prop_map(|key| BackendTarget::Backend(BackendKey::new(key))),
        fail().prop_map(|it| BackendTarget::Fail(Box::new(it)))
    ]
}

fn headers() -> impl Strategy<Value = HeaderEdit> {
    let fields = || vec((text(), text()).prop_map(|(name, value)| HeaderField { name, value }), 0..3);
    (fields(), fields(), vec(text(), 0..3)).prop_map(|(set, add, remove)| HeaderEdit { set, add, remove })
}

fn path_edit() -> impl Strategy<Value = PathEdit> {
    prop_oneof![text().prop_map(PathEdit::Full), text().prop_map(PathEdit::Prefix)]
}

fn cors() -> impl Strategy<Value = Cors> {
    let origins = prop_oneof![
        Just(CorsOrigin::Any),
        text().prop_map(CorsOrigin::Exact),
        (text(), text()).prop_map(|(scheme, suffix)| CorsOrigin::Wildcard { scheme, suffix })
    ];
    let words = || vec(text(), 0..3);
    (vec(origins, 0..3), any::<bool>(), words(), words(), words(), ms()).prop_map(
        |(allow_origins, allow_credentials, allow_methods, allow_headers, expose_headers, max_age)| Cors {
            allow_origins,
            allow_credentials,
            allow_methods,
            allow_headers,
            expose_headers,
            max_age,
        },
    )
}

fn filter() -> impl Strategy<Value = Filter> {
    let redirect =
        (option::of(text()), option::of(text()), option::of(path_edit()), option::of(any::<u16>())).prop_map(
            |(scheme, hostname, path, port)| Redirect { scheme, hostname, path, port, status: 302 },
        );
    let mirror = (target(), 0..50_u32, 50..100_u32).prop_map(|(target, numerator, denominator)| Mirror {
        target,
        fraction: Ratio { numerator, denominator },
    });
    prop_oneof![
        headers().prop_map(Filter::RequestHeaders),
        headers().prop_map(Filter::ResponseHeaders),
        redirect.prop_map(Filter::Redirect),
        (option::of(text()), option::of(path_edit()))
            .prop_map(|(hostname, path)| Filter::Rewrite(Rewrite { hostname, path })),
        mirror.prop_map(Filter::Mirror),
        cors().prop_map(Filter::Cors),
        traffic::authorizer().prop_map(|it| Filter::ExternalAuth(Box::new(it))),
        fail().prop_map(Filter::Fail),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let backends =
        vec(
            (target(), any::<u32>(), vec(filter(), 0..2)).prop_map(|(target, weight, filters)| {
                WeightedBackend { target, weight, filters: filters.into() }
            }),
            0..3,
        );
    let retry = (vec(500..600_u16, 0..3), 0..9_u32, ms())
        .prop_map(|(codes, attempts, backoff)| Box::new(Retry { codes, attempts, backoff }));
    let tokens = prop_oneof![
        Just(SessionToken::SessionCookie),
        Just(SessionToken::PermanentCookie),
        Just(SessionToken::Header)
    ];
    let sessions = (text(), tokens, option::of(ms())).prop_map(|(name, token, absolute_timeout)| {
        Box::new(SessionPersistence { name, token, absolute_timeout })
    });
    let timeouts = (option::of(ms()), option::of(ms()))
        .prop_map(|(request, backend_request)| Timeouts { request, backend_request }.boxed());
    (
        (any::<u32>(), option::of(text()), vec(matching(), 1..3), vec(filter(), 0..3)),
        (backends, timeouts, option::of(retry), option::of(sessions)),
    )
        .prop_map(
            |((index, name, matches, filters), (backends, timeouts, retry, session_persistence))| Rule {
                index,
                name: name.map(Into::into),
                matches: matches.into(),
                filters: filters.into(),
                backends: backends.into(),
                timeouts,
                retry,
                session_persistence,
            },
        )
}

fn attachments() -> impl Strategy<Value = Box<[Attachment]>> {
    vec((text(), vec(host(), 1..3)), 0..3).prop_map(|all| {
        let attachment = |(listener, hostnames): (String, Vec<_>)| Attachment {
            listener: ListenerKey::new(listener),
            hostnames: hostnames.into(),
        };
        all.into_iter().map(attachment).collect()
    })
}

fn stream_route() -> impl Strategy<Value = Resource> {
    let kinds = prop_oneof![Just(StreamKind::Tls), Just(StreamKind::Tcp), Just(StreamKind::Udp)];
    let backend = (target(), any::<u32>()).prop_map(|(target, weight)| WeightedBackend {
        target,
        weight,
        filters: Box::default(),
    });
    (text(), origin(), kinds, any::<i64>(), attachments(), vec(backend, 0..3)).prop_map(
        |(key, origin, kind, created_s, attachments, backends)| {
            let key = StreamRouteKey::new(key);
            let backends = backends.into();
            Resource::StreamRoute(Arc::new(StreamRoute {
                key,
                origin,
                kind,
                created_s,
                attachments,
                backends,
            }))
        },
    )
}

fn route() -> impl Strategy<Value = Resource> {
    let kinds = prop_oneof![Just(RouteKind::Http), Just(RouteKind::Grpc)];
    let rules = vec(rule(), 0..4);
    (text(), origin(), kinds, any::<i64>(), attachments(), rules, traffic::of_route()).prop_map(
        |(key, origin, kind, created_s, attachments, rules, traffic)| {
            let key = RouteKey::new(key);
            Resource::Route(Arc::new(Route {
                key,
                origin,
                kind,
                created_s,
                attachments,
                rules: rules.into(),
                traffic,
            }))
        },
    )
}

fn listener() -> impl Strategy<Value = Resource> {
    let modes = prop_oneof![
        Just(ClientValidationMode::AllowValidOnly),
        Just(ClientValidationMode::AllowInsecureFallback)
    ];
    let validation =
        (secret(), modes).prop_map(|(authorities, mode)| Box::new(ClientValidation { authorities, mode }));
    let versions = prop_oneof![Just(TlsVersion::V1_2), Just(TlsVersion::V1_3)];
    let suites = vec(select(CipherSuite::ALL), 0..3);
    let groups = vec(select(KeyExchangeGroup::ALL), 0..3);
    let asks = option::of(text());
    let tls = (vec(text(), 1..3), versions, suites, groups, option::of(validation), asks, any::<bool>())
        .prop_map(
            |(
                certificates,
                minimum_version,
                cipher_suites,
                key_exchange_groups,
                client_validation,
                asks,
                is_https,
            )| {
                let tls = Tls {
                    certificates: certificates.into_iter().map(CertificateKey::new).collect(),
                    minimum_version,
                    self_signed_meanwhile: false,
                    cipher_suites,
                    key_exchange_groups,
                    client_validation,
                    on_demand: asks.map(OnDemandKey::new),
                };
                if is_https { ListenerProtocol::Https(tls) } else { ListenerProtocol::TlsTerminate(tls) }
            },
        );
    let protocol = prop_oneof![
        Just(ListenerProtocol::Http),
        tls,
        Just(ListenerProtocol::TlsPassthrough),
        Just(ListenerProtocol::Tcp),
        Just(ListenerProtocol::Udp),
    ];
    let network = (any::<Ipv4Addr>(), 0..=32_u8);
    let network = network.prop_map(|(address, length)| format!("{address}/{length}").parse().unwrap());
    let addresses = (vec(any::<IpAddr>(), 0..2), vec(network, 0..2));
    (text(), origin(), text(), addresses, 1..u16::MAX, protocol, host(), traffic::settings()).prop_map(
        |(key, origin, gateway, (addresses, networks), port, protocol, hostname, traffic)| {
            Resource::Listener(Arc::new(Listener {
                key: ListenerKey::new(key),
                origin,
                gateway: GatewayKey::new(gateway),
                addresses,
                networks,
                port,
                protocol,
                hostname,
                destination: None,
                traffic,
            }))
        },
    )
}

fn upstream_tls() -> BoxedStrategy<Box<UpstreamTls>> {
    let names = vec(prop_oneof![text().prop_map(SubjectName::Dns), text().prop_map(SubjectName::Uri)], 0..2);
    let trust = prop_oneof![Just(Trust::System), Just(Trust::Anyone), secret().prop_map(Trust::Bundle)];
    let more = (option::of(secret()), option::of(shown_certificate()));
    (origin(), text(), names, trust, more)
        .prop_map(|(origin, server_name, subject_names, trust, more)| {
            let (revocations, certificate) = more;
            let certificate = certificate.map(Box::new);
            Box::new(UpstreamTls { origin, server_name, subject_names, trust, revocations, certificate })
        })
        .boxed()
}

fn backend_policy() -> BoxedStrategy<Box<BackendPolicy>> {
    let limits = || option::of(1..9_u32);
    let times = || option::of((1..9_u64).prop_map(Duration::from_millis));
    let connections = (times(), times(), times(), any::<bool>(), limits()).prop_map(
        |(connect_timeout, kept_for, silent_for, is_used_once, streams)| ConnectionTerms {
            connect_timeout,
            kept_for,
            silent_for,
            keepalive: streams.map(|probes| Keepalive {
                probes,
                after: Duration::from_secs(1),
                interval: Duration::from_secs(2),
            }),
            is_used_once,
            streams,
            lives_for: kept_for,
            requests: streams,
            speaks_as_client: is_used_once,
        },
    );
    let connections = connections.boxed();
    let circuit =
        (limits(), limits(), limits(), limits()).prop_map(|(connections, waiting, requests, retries)| {
            let retry_budget = waiting.map(|least| RetryBudget { share: 20_000, least });
            CircuitLimits { connections, waiting, requests, retries, retry_budget }
        });
    let ejection = (0..9_u32, limits(), 0..=100_u8).prop_map(|(errors, failures, percent)| Ejection {
        server_errors: errors,
        gateway_errors: errors,
        failures,
        interval: Duration::from_secs(10),
        base: Duration::from_secs(30),
        most_percent: percent,
        health_percent: percent,
    });
    let cookie = (text(), option::of(text()), times()).prop_map(|(name, path, ttl)| {
        let attributes = vec![(name.clone(), String::new())];
        HashKey::Cookie(HashCookie { name, path, ttl, attributes })
    });
    let key = prop_oneof![
        text().prop_map(HashKey::Header),
        text().prop_map(HashKey::Query),
        Just(HashKey::SourceIp),
        cookie
    ];
    let table = prop_oneof![
        any::<u32>().prop_map(|least| HashTable::Ring { least }),
        any::<u32>().prop_map(|size| HashTable::Maglev { size })
    ];
    let affinity = option::of((key, table).prop_map(|(key, table)| HashPolicy { key, table })).boxed();
    let near = option::of(locality_policy()).boxed();
    (origin(), connections, circuit, option::of(ejection), affinity, near)
        .prop_map(|(origin, connections, circuit, ejection, affinity, locality)| {
            let tunnel = locality.as_ref().map(|_| Tunnel { host: "a.test".to_owned(), port: 443 });
            let warmup = affinity.as_ref().map(|_| Warmup {
                time: Duration::from_secs(30),
                least_percent: 10,
                aggression: 100,
            });
            let balancing = ejection.as_ref().map(|_| Balancing::Random);
            let proxy_header = warmup.as_ref().map(|_| ProxyVersion::V2);
            Box::new(BackendPolicy {
                origin,
                balancing,
                affinity,
                warmup,
                connections,
                circuit,
                ejection,
                proxy_header,
                locality,
                tunnel,
            })
        })
        .boxed()
}

fn health_check() -> impl Strategy<Value = Box<HealthCheck>> {
    let statuses = vec((200..400_u16, 400..600_u16), 1..3);
    let statuses =
        statuses.prop_map(|all| all.into_iter().map(|(first, last)| StatusRange { first, last }).collect());
    let probe = prop_oneof![
        Just(HealthProbe::Tcp),
        (text(), text()).prop_map(|(host, service)| HealthProbe::Grpc { host, service }),
        (any::<bool>(), text(), text(), statuses).prop_map(|(is_head, path, host, statuses)| {
            HealthProbe::Http { is_head, path, host, statuses }
        }),
    ];
    let port = option::of(1..=u16::MAX);
    (origin(), probe, port, any::<(bool, bool, u8)>(), 1..9_u32).prop_map(
        |(origin, probe, port, (is_plain, starts_pending, percent), count)| {
            Box::new(HealthCheck {
                origin,
                probe,
                port,
                is_plain,
                interval: Duration::from_secs(10),
                timeout: Duration::from_millis(u64::from(count)),
                jitter_percent: percent,
                unhealthy_after: count,
                healthy_after: count,
                starts_pending,
                min_healthy_percent: percent,
            })
        },
    )
}

fn backend() -> impl Strategy<Value = Resource> {
    let protocols = prop_oneof![
        Just(BackendProtocol::Http1),
        Just(BackendProtocol::H2c),
        Just(BackendProtocol::Tcp),
        Just(BackendProtocol::Udp)
    ];
    let rest = (option::of(upstream_tls()), option::of(backend_policy()), option::of(health_check()));
    (text(), origin(), protocols, text(), rest).prop_map(
        |(key, origin, protocol, set, (tls, policy, health))| {
            Resource::Backend(Arc::new(Backend {
                key: BackendKey::new(key),
                origin,
                protocol,
                endpoints: EndpointSetKey::new(set),
                tls,
                policy,
                health,
                mesh: MeshTls::Off,
            }))
        },
    )
}

fn topology() -> impl Strategy<Value = Arc<Topology>> {
    let place = (text(), text(), text());
    let place = place.prop_map(|(region, zone, subzone)| Locality { region, zone, subzone });
    (place, btree_map(text(), text(), 0..3))
        .prop_map(|(locality, labels)| Arc::new(Topology { locality, labels }))
}

fn locality_policy() -> impl Strategy<Value = LocalityPolicy> {
    let pattern = || vec(text(), 0..3).prop_map(LocalityPattern);
    let label = (text(), option::of(text())).prop_map(|(name, value)| WantedLabel { name, value });
    let to = vec((pattern(), 0..=100_u8), 0..3);
    let distribution = (pattern(), to).prop_map(|(from, to)| Distribution { from, to });
    prop_oneof![
        (vec(label, 0..3), btree_map(text(), text(), 0..3))
            .prop_map(|(labels, regions)| LocalityPolicy::Failover(Failover { labels, regions })),
        vec(distribution, 0..3).prop_map(LocalityPolicy::Distribute),
    ]
}

fn endpoint_set() -> impl Strategy<Value = Resource> {
    let address = prop_oneof![
        any::<(IpAddr, u16)>().prop_map(|(ip, port)| EndpointAddress::Socket(SocketAddr::new(ip, port))),
        (text(), any::<u16>()).prop_map(|(host, port)| EndpointAddress::Dns { host, port })
    ];
    let states = prop_oneof![Just(EndpointState::Ready), Just(EndpointState::Draining)];
    let endpoint = (address, states, 1..100_u32, option::of(topology())).prop_map(
        |(address, state, weight, topology)| Endpoint { address, state, weight, topology, workload: None },
    );
    (text(), origin(), vec(endpoint, 0..5)).prop_map(|(key, origin, endpoints)| {
        Resource::EndpointSet(Arc::new(EndpointSet {
            key: EndpointSetKey::new(key),
            origin,
            endpoints,
            is_external: false,
            takes_first: false,
            asked: None,
        }))
    })
}

fn gateway() -> impl Strategy<Value = Resource> {
    let told = vec(select(&ClientCertificateField::ALL[..]), 0..3);
    let settings = (ms(), any::<u32>(), option::of(any::<u64>()), any::<u8>(), told, 0..3_u8).prop_map(
        |(time, count, bytes, trusted_hops, client_certificate_header, choice)| Settings {
            limits: Limits {
                idle_timeout: time,
                connections: count,
                request_body_bytes: bytes,
                ..Limits::default()
            },
            proxy_protocol: if choice == 0 { ProxyProtocol::Required } else { ProxyProtocol::Off },
            trusted_hops,
            client_certificate_header,
            access_log: [AccessLog::Off, AccessLog::Text, AccessLog::Json][usize::from(choice)],
            balancing: [Balancing::LeastRequest, Balancing::RoundRobin, Balancing::Random]
                [usize::from(choice)],
            eject_for: time,
            eject_after_failures: count,
            paths: [
                PathNormalization::EveryReading,
                PathNormalization::Base,
                PathNormalization::DecodeAndMergeSlashes,
            ][usize::from(choice)],
        },
    );
    (text(), origin(), settings, option::of(text()), vec(secret(), 0..3), traffic::settings()).prop_map(
        |(key, origin, settings, certificate, ticket_secrets, traffic)| {
            let backend_certificate = certificate.map(CertificateKey::new);
            Resource::Gateway(Arc::new(Gateway {
                key: GatewayKey::new(key),
                origin,
                settings,
                backend_certificate,
                ticket_secrets,
                traffic,
                authorization: Vec::new(),
                authentication: Vec::new(),
                telemetry: Vec::new(),
            }))
        },
    )
}

fn certificate() -> impl Strategy<Value = Resource> {
    shown_certificate().prop_map(|it| Resource::Certificate(Arc::new(it)))
}

fn shown_certificate() -> impl Strategy<Value = Certificate> {
    let asked = option::of(text());
    (text(), origin(), vec(text(), 0..3), secret(), secret(), option::of(secret()), asked).prop_map(
        |(key, origin, names, chain, private_key, staple, asked)| {
            let (key, on_demand) = (CertificateKey::new(key), asked.map(OnDemandKey::new));
            Certificate { key, origin, names, chain, private_key, staple, on_demand }
        },
    )
}

fn challenge() -> impl Strategy<Value = Resource> {
    let answers = prop_oneof![
        (text(), secret())
            .prop_map(|(token, key_authorization)| ChallengeAnswer::Http01 { token, key_authorization }),
        (secret(), secret())
            .prop_map(|(certificate, private_key)| ChallengeAnswer::TlsAlpn01 { certificate, private_key })
    ];
    (origin(), text(), text(), answers).prop_map(|(origin, gateway, host, answer)| {
        let gateway = GatewayKey::new(gateway);
        let key = Challenge::key_of(&gateway, &host, &answer);
        Resource::Challenge(Arc::new(Challenge { key, origin, gateway, host, answer }))
    })
}

fn workloads() -> impl Strategy<Value = Resource> {
    let modes = || {
        let all = [MutualTlsMode::Disable, MutualTlsMode::Permissive, MutualTlsMode::Strict];
        option::of(prop::sample::select(all.to_vec()))
    };
    let selector = || btree_map(text(), text(), 0..3).prop_map(Selector);
    let mutual_tls =
        (origin(), any::<bool>(), selector(), modes(), btree_map(any::<u16>(), modes(), 0..3)).prop_map(
            |(origin, is_mesh, selector, mode, ports)| MutualTls { origin, is_mesh, selector, mode, ports },
        );
    let authorization = (origin(), selector(), any::<bool>()).prop_map(|(origin, selector, is_dry_run)| {
        let rules = vec![AuthorizationRule::default()];
        Arc::new(Authorization { origin, selector, action: AuthorizationAction::Deny, is_dry_run, rules })
    });
    let addresses = (text(), vec(any::<IpAddr>(), 0..3));
    let addresses = addresses.prop_map(|(namespace, addresses)| HostAddresses { namespace, addresses });
    let names = btree_map(text(), addresses, 0..3);
    let hosts = (option::of(text()), host()).prop_map(|(namespace, host)| KnownHosts { namespace, host });
    let egress =
        (option::of(any::<u16>()), vec(hosts, 0..3)).prop_map(|(port, hosts)| Egress { port, hosts });
    let scope =
        (origin(), selector(), option::of(vec(egress, 0..3))).prop_map(|(origin, selector, egress)| Scope {
            origin,
            selector,
            outbound: Outbound::AllowAny,
            egress,
        });
    let policies = (vec(mutual_tls, 0..3), vec(authorization, 0..2), vec(scope, 0..3));
    (text(), origin(), vec(text(), 1..3), policies, names).prop_map(
        |(key, origin, trust_domains, (mutual_tls, authorization, scopes), names)| {
            Resource::Workloads(Arc::new(Workloads {
                paths: PathNormalization::EveryReading,
                key: WorkloadsKey::new(key),
                origin,
                trust_domains,
                outbound: Outbound::RegistryOnly,
                scopes,
                mutual_tls,
                authorization,
                authentication: Vec::new(),
                telemetry: Vec::new(),
                names,
                always_allowed: Vec::new(),
            }))
        },
    )
}

/// Each in a box, since the types of all of them beside each other are large on the stack.
fn resource() -> impl Strategy<Value = Resource> {
    prop_oneof![
        3 => route().boxed(),
        1 => stream_route().boxed(),
        1 => listener().boxed(),
        1 => backend().boxed(),
        1 => endpoint_set().boxed(),
        1 => gateway().boxed(),
        1 => certificate().boxed(),
        1 => challenge().boxed(),
        1 => workloads().boxed(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(resource in resource()) {
        let bytes = wire::encode(&resource).unwrap();
        let again = wire::decode(resource.kind(), &bytes).unwrap();
        prop_assert_eq!(&again, &resource);
        // Versions are hashes of the bytes: they must not depend on who writes.
        prop_assert_eq!(wire::encode(&again).unwrap(), bytes);
    }

    #[test]
    fn any_bytes_are_read_or_refused(kind in 0..ResourceKind::ALL.len(), bytes in vec(any::<u8>(), 0..200)) {
        let _ = wire::decode(ResourceKind::ALL[kind], &bytes);
    }

    #[test]
    fn a_damaged_resource_is_read_or_refused(resource in resource(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = wire::encode(&resource).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = wire::decode(resource.kind(), &bytes);
    }
}

fn sample_certificate() -> Resource {
    Resource::Certificate(Arc::new(Certificate {
        key: CertificateKey::new("Secret/shop/tls"),
        origin: Origin::new("Secret", "shop", "tls"),
        names: vec!["shop.example".to_owned()],
        chain: SecretBytes::new(b"the chain".to_vec()),
        private_key: SecretBytes::new(b"the private key".to_vec()),
        staple: None,
        on_demand: None,
    }))
}

#[test]
fn only_the_wire_form_holds_a_secret() {
    let certificate = sample_certificate();
    let shown = format!("{certificate:?}{}", serde_json::to_string(&certificate).unwrap());
    assert!(!shown.contains("the private key") && !shown.contains("the chain"), "{shown}");
    let as_list = format!("{:?}", b"the private key".as_slice());
    assert!(!shown.contains(&as_list) && !shown.contains(&as_list.replace(' ', "")), "{shown}");
    let wire = wire::encode(&certificate).unwrap();
    assert!(wire.windows(15).any(|window| window == b"the private key"));
}

#[test]
fn what_people_read_is_not_taken_for_a_secret() {
    let Resource::Certificate(certificate) = sample_certificate() else { panic!() };
    let shown = serde_json::to_string(&*certificate).unwrap();
    assert!(serde_json::from_str::<Certificate>(&shown).is_err());
}

/// A backend as another version would write it.
fn backend_value() -> Value {
    json!({
        "key": "Service/shop/cart:80",
        "origin": { "kind": "Service", "namespace": "shop", "name": "cart" },
        "protocol": "http1",
        "endpoints": "Service/shop/cart:80",
    })
}

fn read(kind: ResourceKind, value: &Value) -> Result<Resource, wire::WireError> {
    wire::decode(kind, &rmp_serde::to_vec_named(value).unwrap())
}

#[test]
fn a_field_of_a_newer_version_is_skipped() {
    let mut value = backend_value();
    value["weather"] = json!({ "wind": ["strong", 7] });
    value["origin"]["colour"] = json!("blue");
    assert_eq!(read(ResourceKind::Backend, &value), read(ResourceKind::Backend, &backend_value()));
    assert!(read(ResourceKind::Backend, &value).is_ok());
}

#[test]
fn a_variant_of_a_newer_version_is_refused_and_its_field_is_named() {
    let mut value = backend_value();
    value["protocol"] = json!("http3");
    let error = read(ResourceKind::Backend, &value).unwrap_err().to_string();
    assert!(error.starts_with("protocol: unknown variant `http3`"), "{error}");
}

#[test]
fn settings_of_an_older_version_get_the_standard_values() {
    let value = json!({
        "key": "shop/web",
        "origin": { "kind": "Gateway", "namespace": "shop", "name": "web" },
        "settings": { "limits": { "connections": 7 } },
    });
    let Resource::Gateway(gateway) = read(ResourceKind::Gateway, &value).unwrap() else { panic!() };
    let mut expected = Settings::standard();
    expected.limits.connections = 7;
    assert_eq!(gateway.settings, expected);
}

#[test]
fn kinds_of_newer_versions_are_kept_up_to_a_bound() {
    let kind = |kind: &str| {
        let mut value = backend_value();
        value["origin"]["kind"] = json!(kind);
        read(ResourceKind::Backend, &value).unwrap().origin().kind
    };
    assert_eq!(kind("WeatherPolicy"), "WeatherPolicy");
    assert_eq!(kind(&"x".repeat(100)), "Object");
    let last: Vec<_> = (0..100).map(|number| kind(&format!("Kind{number}"))).collect();
    assert_eq!(last.last(), Some(&"Object"));
    assert_eq!(kind("WeatherPolicy"), "WeatherPolicy");
}

#[test]
fn a_ratio_above_one_is_refused() {
    let value = json!({
        "key": "r", "kind": "Http", "created_s": 0, "attachments": [],
        "origin": { "kind": "HTTPRoute", "namespace": "shop", "name": "r" },
        "rules": [{
            "index": 0, "matches": [], "timeouts": {},
            "filters": [{ "mirror": { "target": { "backend": "b" }, "fraction": { "numerator": 1, "denominator": 0 } } }],
        }],
    });
    let error = read(ResourceKind::Route, &value).unwrap_err().to_string();
    assert!(error.contains("a ratio is between 0 and 1"), "{error}");
}
