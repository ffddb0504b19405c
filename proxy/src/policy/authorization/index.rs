//! Which rules can fit at all: by what they name.
//!
//! Each rule is filed under what it names in one part, its sources or its operations: that part whose names the fewest other
//! rules share, and of two alike the one whose names are whole. Facts are looked up under each of their own names, and only rules
//! that are found there are looked at. A rule that names nothing in neither part is looked at always.

use super::facts::Facts;
use ahash::AHashMap;
use sluice_ir::{AuthorizationRule, Operation, PathValue, Segment, Source, ValueMatch, Values};
use sluice_route::readings;

/// A name that a rule is filed under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    Path(Box<str>),
    PathStart(Box<str>),
    PathEnd(Box<str>),
    Host(Box<str>),
    Method(Box<str>),
    Port(u16),
    Principal(Box<str>),
    Account(Box<str>),
    Namespace(Box<str>),
    RequestPrincipal(Box<str>),
}

impl Name {
    /// Whether it is looked up once for each length that there is, and not once.
    fn is_part(&self) -> bool {
        matches!(self, Self::PathStart(_) | Self::PathEnd(_))
    }
}

type ByText = AHashMap<Box<str>, Vec<u32>>;

/// Positions of rules by what they name.
#[derive(Debug, Default)]
pub(super) struct Index {
    always: Vec<u32>,
    paths: ByText,
    starts: ByText,
    /// Lengths of the keys of `starts`, each once.
    start_lens: Vec<usize>,
    ends: ByText,
    end_lens: Vec<usize>,
    hosts: ByText,
    methods: ByText,
    ports: AHashMap<u16, Vec<u32>>,
    principals: ByText,
    accounts: ByText,
    namespaces: ByText,
    request_principals: ByText,
}

impl Index {
    /// Of rules, in their order.
    pub(super) fn new<'a>(rules: impl Iterator<Item = &'a AuthorizationRule>) -> Self {
        let parts: Vec<[Option<Vec<Name>>; 2]> =
            rules.map(|it| [operations(&it.to), sources(&it.from)]).collect();
        let mut shared: AHashMap<&Name, usize> = AHashMap::new();
        for name in parts.iter().flatten().flatten().flatten() {
            *shared.entry(name).or_default() += 1;
        }
        let crowd =
            |names: &[Name]| names.iter().filter_map(|it| shared.get(it)).max().copied().unwrap_or_default();
        let mut index = Self::default();
        for (position, parts) in parts.iter().enumerate() {
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            let cost = |names: &&Vec<Name>| (crowd(names), names.iter().any(Name::is_part));
            match parts.iter().flatten().min_by_key(cost) {
                Some(names) => names.iter().for_each(|name| index.file(name, position)),
                None => index.always.push(position),
            }
        }
        let lens = |map: &ByText| {
            let mut lens: Vec<usize> = map.keys().map(|it| it.len()).collect();
            lens.sort_unstable();
            lens.dedup();
            lens
        };
        (index.start_lens, index.end_lens) = (lens(&index.starts), lens(&index.ends));
        index
    }

    fn file(&mut self, name: &Name, position: u32) {
        let (map, key) = match name {
            Name::Path(it) => (&mut self.paths, it),
            Name::PathStart(it) => (&mut self.starts, it),
            Name::PathEnd(it) => (&mut self.ends, it),
            Name::Host(it) => (&mut self.hosts, it),
            Name::Method(it) => (&mut self.methods, it),
            Name::Principal(it) => (&mut self.principals, it),
            Name::Account(it) => (&mut self.accounts, it),
            Name::Namespace(it) => (&mut self.namespaces, it),
            Name::RequestPrincipal(it) => (&mut self.request_principals, it),
            Name::Port(port) => {
                let filed = self.ports.entry(*port).or_default();
                if filed.last() != Some(&position) {
                    filed.push(position);
                }
                return;
            }
        };
        let filed = map.entry(key.clone()).or_default();
        if filed.last() != Some(&position) {
            filed.push(position);
        }
    }

    /// Calls `see` with the position of every rule that may fit, some more than once, in no order.
    pub(super) fn each(&self, facts: &Facts<'_>, path: &str, mut see: impl FnMut(u32)) {
        self.always.iter().for_each(|it| see(*it));
        let mut under = |map: &ByText, key: &str| {
            if !map.is_empty() {
                map.get(key).into_iter().flatten().for_each(|it| see(*it));
            }
        };
        if let Some(request) = &facts.request {
            under(&self.paths, path);
            for len in self.start_lens.iter().take_while(|it| **it <= path.len()) {
                path.get(..*len).into_iter().for_each(|start| under(&self.starts, start));
            }
            for len in self.end_lens.iter().take_while(|it| **it <= path.len()) {
                path.get(path.len() - len..).into_iter().for_each(|end| under(&self.ends, end));
            }
            under(&self.methods, request.method);
            under(&self.hosts, request.host);
            if request.host_name != request.host {
                under(&self.hosts, request.host_name);
            }
            request.token.into_iter().for_each(|it| under(&self.request_principals, it.principal()));
        }
        if let Some(peer) = &facts.peer {
            under(&self.principals, peer.principal);
            peer.account.into_iter().for_each(|it| under(&self.accounts, it));
            peer.namespace.into_iter().for_each(|it| under(&self.namespaces, it));
        }
        if !self.ports.is_empty() {
            self.ports.get(&facts.port).into_iter().flatten().for_each(|it| see(*it));
        }
    }
}

/// Names under which every one of the operations is found; `None`: one of them names nothing.
fn operations(all: &[Operation]) -> Option<Vec<Name>> {
    let mut names = Vec::new();
    for it in all {
        let exact = |values: &Values<ValueMatch>, make: fn(Box<str>) -> Name| exact(values, make);
        let ports = || {
            (!it.ports.any.is_empty())
                .then(|| it.ports.any.iter().map(|port| Name::Port(*port)).collect::<Vec<_>>())
        };
        let found = paths(&it.paths)
            .or_else(|| exact(&it.hosts, Name::Host))
            .or_else(ports)
            .or_else(|| exact(&it.methods, Name::Method))?;
        names.extend(found);
    }
    (!names.is_empty()).then_some(names)
}

/// The same of sources.
fn sources(all: &[Source]) -> Option<Vec<Name>> {
    let mut names = Vec::new();
    for it in all {
        let account = |text: &String| match text.split_once('/') {
            Some((namespace, name)) => Name::Account(format!("ns/{namespace}/sa/{name}").into()),
            None => Name::Account(text.as_str().into()),
        };
        let accounts = &it.service_accounts.any;
        let accounts = || (!accounts.is_empty()).then(|| accounts.iter().map(account).collect::<Vec<_>>());
        let found = exact(&it.principals, Name::Principal)
            .or_else(accounts)
            .or_else(|| exact(&it.request_principals, Name::RequestPrincipal))
            .or_else(|| exact(&it.namespaces, Name::Namespace))?;
        names.extend(found);
    }
    (!names.is_empty()).then_some(names)
}

/// Names of values that are all compared whole.
fn exact(values: &Values<ValueMatch>, make: fn(Box<str>) -> Name) -> Option<Vec<Name>> {
    let name = |it: &ValueMatch| match it {
        ValueMatch::Exact(text) => Some(make(text.as_str().into())),
        _ => None,
    };
    let names: Option<Vec<Name>> = values.any.iter().map(name).collect();
    names.filter(|it| !it.is_empty())
}

fn paths(values: &Values<PathValue>) -> Option<Vec<Name>> {
    let spelled = |it: &str| -> Box<str> { readings::spelled(it).into() };
    let name = |it: &PathValue| match it {
        PathValue::Value(ValueMatch::Exact(text)) => Some(Name::Path(spelled(text))),
        PathValue::Value(ValueMatch::Prefix(text)) => Some(Name::PathStart(spelled(text))),
        PathValue::Value(ValueMatch::Suffix(text)) => Some(Name::PathEnd(spelled(text))),
        PathValue::Value(_) => None,
        PathValue::Template(segments) => {
            let mut start = String::from("/");
            for segment in segments {
                let Segment::Literal(text) = segment else { break };
                start.push_str(&readings::spelled(text));
                start.push('/');
            }
            // The last segment has no slash after it.
            let is_whole = segments.iter().all(|it| matches!(it, Segment::Literal(_)));
            Some(Name::PathStart(if is_whole { start.trim_end_matches('/').into() } else { start.into() }))
        }
    };
    let names: Option<Vec<Name>> = values.any.iter().map(name).collect();
    names.filter(|it| !it.is_empty())
}
