//! All policies of one Gateway or workload, compiled, and their verdict.

use super::facts::Facts;
use super::group::Group;
use super::policy::{Policy, PolicyRule};
use super::rule::Sense;
use super::stream;
use crate::auth::Authorizer;
use crate::snapshot::BackendRuntime;
use crate::telemetry::DryRunCounts;
use ahash::AHashMap;
use sluice_ir::{self as ir, Authorization, AuthorizationAction as Action};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// What becomes of a request or connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It goes on.
    Allowed,
    /// A rule of DENY fits.
    Denied(PolicyRule),
    /// There are policies of ALLOW, and no rule of theirs fits.
    Unmatched,
}

impl Verdict {
    /// Whether it goes on.
    pub fn is_allowed(&self) -> bool {
        *self == Self::Allowed
    }
}

/// A verdict, and what is only told.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// What counts.
    pub verdict: Verdict,
    /// The rule of AUDIT that fits.
    pub audited: Option<PolicyRule>,
    /// What policies of DENY in a dry run say; `None`: there are none.
    pub dry_deny: Option<Verdict>,
    /// What policies of ALLOW in a dry run say; `None`: there are none.
    pub dry_allow: Option<Verdict>,
}

impl Judged {
    /// Whether there is more to say than that it goes on.
    pub fn worth_telling(&self) -> bool {
        let is_told = |it: &Option<Verdict>| it.as_ref().is_some_and(|it| !it.is_allowed());
        !self.verdict.is_allowed()
            || self.audited.is_some()
            || is_told(&self.dry_deny)
            || is_told(&self.dry_allow)
    }
}

impl Judged {
    /// Envoy's response code details, where it is refused.
    pub fn code_details(&self) -> Option<String> {
        match &self.verdict {
            Verdict::Allowed => None,
            Verdict::Denied(rule) => {
                let (origin, index) = (rule.origin(), rule.index());
                Some(format!(
                    "rbac_access_denied_matched_policy[ns[{}]-policy[{}]-rule[{index}]]",
                    origin.namespace, origin.name
                ))
            }
            Verdict::Unmatched => Some("rbac_access_denied_matched_policy[none]".to_owned()),
        }
    }
}

impl fmt::Display for Judged {
    /// One phrase for each thing that is worth telling.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        let mut tell = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            write!(f, "{gap}{text}")?;
            gap = "; ";
            Ok(())
        };
        match &self.verdict {
            Verdict::Allowed => {}
            Verdict::Denied(rule) => tell(f, format_args!("{rule} denies it"))?,
            Verdict::Unmatched => tell(f, format_args!("no AuthorizationPolicy allows it"))?,
        }
        if let Some(rule) = &self.audited {
            tell(f, format_args!("{rule} audits it"))?;
        }
        match &self.dry_deny {
            Some(Verdict::Denied(rule)) => tell(f, format_args!("{rule} would deny it (dry run)"))?,
            Some(Verdict::Allowed | Verdict::Unmatched) | None => {}
        }
        match &self.dry_allow {
            Some(Verdict::Unmatched) => {
                tell(f, format_args!("no AuthorizationPolicy would allow it (dry run)"))?;
            }
            Some(Verdict::Allowed | Verdict::Denied(_)) | None => {}
        }
        Ok(())
    }
}

/// Compiled policies.
pub struct AuthorizationRuntime {
    policies: Vec<Arc<Authorization>>,
    compiled: Vec<Arc<Policy>>,
    requests: Set,
    /// Made by the first connection that is carried whole.
    streams: OnceLock<Set>,
    /// Backends of authorisers as they were when this was compiled.
    backends: Vec<(ir::BackendKey, Option<Arc<BackendRuntime>>)>,
    reads_paths: bool,
    /// Where what is only told is counted.
    dry_runs: OnceLock<Arc<DryRunCounts>>,
}

/// Groups by action.
struct Set {
    custom: Vec<(Arc<Authorizer>, Group)>,
    deny: Group,
    /// `None`: nobody asks for anything.
    allow: Option<Group>,
    audit: Group,
    dry_deny: Option<Group>,
    dry_allow: Option<Group>,
}

impl AuthorizationRuntime {
    /// Compiles policies. Those that `before` has are taken over; so is nothing of authorisers, whose backends are looked up
    /// anew. `None` where there are no policies.
    pub fn compile(
        policies: &[Arc<Authorization>],
        before: Option<&Self>,
        backend: &dyn Fn(&ir::BackendKey) -> Option<Arc<BackendRuntime>>,
    ) -> Option<Arc<Self>> {
        if policies.is_empty() {
            return None;
        }
        let known: AHashMap<&ir::Origin, &Arc<Policy>> =
            before.iter().flat_map(|it| &it.compiled).map(|it| (&it.ir.origin, it)).collect();
        let compile = |it: &Arc<Authorization>| match known.get(&it.origin) {
            Some(same) if same.ir == *it => (*same).clone(),
            _ => Policy::compile(it),
        };
        let compiled: Vec<_> = policies.iter().map(compile).collect();
        let mut backends = Vec::new();
        for target in policies.iter().flat_map(|it| it.targets()) {
            if let ir::BackendTarget::Backend(key) = target {
                backends.push((key.clone(), backend(key)));
            }
        }
        let requests = Set::new(&compiled, backend);
        let reads_paths = requests.groups().any(Group::reads_paths);
        Some(Arc::new(Self {
            policies: policies.to_vec(),
            compiled,
            requests,
            streams: OnceLock::new(),
            backends,
            reads_paths,
            dry_runs: OnceLock::new(),
        }))
    }

    /// Whether compiling the same again would come to the same.
    pub(crate) fn is_current(
        &self,
        policies: &[Arc<Authorization>],
        backend: &dyn Fn(&ir::BackendKey) -> Option<Arc<BackendRuntime>>,
    ) -> bool {
        let same = |(key, then): &(ir::BackendKey, Option<Arc<BackendRuntime>>)| match (then, backend(key)) {
            (Some(then), Some(now)) => Arc::ptr_eq(then, &now),
            (None, None) => true,
            _ => false,
        };
        self.policies == policies && self.backends.iter().all(same)
    }

    /// Whether a policy asks one of these backends.
    pub(crate) fn names(&self, is_one: impl Fn(&ir::BackendKey) -> bool) -> bool {
        self.backends.iter().any(|(key, _)| is_one(key))
    }

    /// Whether there is anybody to ask.
    pub(crate) fn may_ask(&self) -> bool {
        !self.requests.custom.is_empty()
    }

    /// Counts what policies in a dry run say; `find` gives the place, once.
    pub(crate) fn count(&self, judged: &Judged, find: impl FnOnce() -> Arc<DryRunCounts>) {
        if judged.dry_deny.is_none() && judged.dry_allow.is_none() {
            return;
        }
        let counts = self.dry_runs.get_or_init(find);
        for (action, verdict) in [("deny", &judged.dry_deny), ("allow", &judged.dry_allow)] {
            if let Some(verdict) = verdict {
                counts.count(action, verdict.is_allowed());
            }
        }
    }

    /// Whether paths matter: else nobody needs to know how they read.
    pub fn reads_paths(&self) -> bool {
        self.reads_paths
    }

    /// The authorisers that are to be asked about a request, each once, in the order of the policies.
    pub(crate) fn asks(&self, facts: &Facts<'_>) -> Vec<Arc<Authorizer>> {
        let asked = self.requests.custom.iter().filter(|(_, group)| group.any(facts).is_some());
        asked.map(|(authorizer, _)| authorizer.clone()).collect()
    }

    /// Each policy in its order, and the rule of it that fits a request: of one that lets in, in every reading of the path.
    /// For people: compiles anew what it looks at.
    pub fn fitting(&self, facts: &Facts<'_>) -> Vec<(Arc<Authorization>, Option<PolicyRule>)> {
        let fitting = |policy: &Arc<Policy>| {
            let is_letting_in = matches!(policy.ir.action, Action::Allow);
            let sense = if is_letting_in { Sense::LetsIn } else { Sense::Refuses };
            let group = Group::new(sense, std::slice::from_ref(policy));
            let fits = !is_letting_in || group.every(facts);
            (policy.ir.clone(), group.any(facts).filter(|_| fits))
        };
        self.compiled.iter().map(fitting).collect()
    }

    /// Judges a request, or a connection that is carried whole. Authorisers have spoken before.
    pub fn check(&self, facts: &Facts<'_>) -> Judged {
        match facts.request {
            Some(_) => self.requests.check(facts),
            None => {
                let none = |_: &ir::BackendKey| None;
                let compile = || {
                    let whole = self.policies.iter().map(|it| Policy::compile(&stream::of(it)));
                    Set::new(&whole.collect::<Vec<_>>(), &none)
                };
                let set = self.streams.get_or_init(compile);
                let judged = set.check(facts);
                // Nobody can be asked about bytes: what would be, is refused.
                let asked = set.custom.iter().find_map(|(_, group)| group.any(facts));
                match asked {
                    Some(rule) => Judged { verdict: Verdict::Denied(rule), ..judged },
                    None => judged,
                }
            }
        }
    }
}

impl Set {
    fn new(
        policies: &[Arc<Policy>],
        backend: &dyn Fn(&ir::BackendKey) -> Option<Arc<BackendRuntime>>,
    ) -> Self {
        let of = |is_dry: bool, is_meant: fn(&Action) -> bool| -> Vec<Arc<Policy>> {
            let meant = policies.iter().filter(|it| it.ir.is_dry_run == is_dry && is_meant(&it.ir.action));
            meant.cloned().collect()
        };
        let refusing = |policies: Vec<Arc<Policy>>| Group::new(Sense::Refuses, &policies);
        let some = |policies: Vec<Arc<Policy>>| Some(policies).filter(|it| !it.is_empty());
        let letting_in = |policies: Vec<Arc<Policy>>| Group::new(Sense::LetsIn, &policies);
        let is_deny = |it: &Action| matches!(it, Action::Deny);
        let is_allow = |it: &Action| matches!(it, Action::Allow);
        Self {
            custom: custom(&of(false, |it| matches!(it, Action::Custom(_))), backend),
            deny: refusing(of(false, is_deny)),
            allow: some(of(false, is_allow)).map(letting_in),
            // A dry run changes nothing about what is only told.
            audit: refusing(
                policies.iter().filter(|it| matches!(it.ir.action, Action::Audit)).cloned().collect(),
            ),
            dry_deny: some(of(true, is_deny)).map(refusing),
            dry_allow: some(of(true, is_allow)).map(letting_in),
        }
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        let asked = self.custom.iter().map(|it| &it.1);
        let optional = [&self.allow, &self.dry_deny, &self.dry_allow].into_iter().flatten();
        asked.chain([&self.deny, &self.audit]).chain(optional)
    }

    fn check(&self, facts: &Facts<'_>) -> Judged {
        let allows = |it: &Group| if it.every(facts) { Verdict::Allowed } else { Verdict::Unmatched };
        let denies = |it: &Group| it.any(facts).map_or(Verdict::Allowed, Verdict::Denied);
        let verdict = match denies(&self.deny) {
            Verdict::Allowed => self.allow.as_ref().map_or(Verdict::Allowed, allows),
            denied => denied,
        };
        Judged {
            verdict,
            audited: self.audit.any(facts),
            dry_deny: self.dry_deny.as_ref().map(denies),
            dry_allow: self.dry_allow.as_ref().map(allows),
        }
    }
}

/// Groups of the policies that ask the same authoriser in the same way.
fn custom(
    policies: &[Arc<Policy>],
    backend: &dyn Fn(&ir::BackendKey) -> Option<Arc<BackendRuntime>>,
) -> Vec<(Arc<Authorizer>, Group)> {
    let mut by_authorizer: Vec<(&ir::Authorizer, Vec<Arc<Policy>>)> = Vec::new();
    for policy in policies {
        let Action::Custom(asked) = &policy.ir.action else { continue };
        let Some(authorizer) = asked.authorizer() else { continue };
        match by_authorizer.iter_mut().find(|it| it.0 == authorizer) {
            Some((_, known)) => known.push(policy.clone()),
            None => by_authorizer.push((authorizer, vec![policy.clone()])),
        }
    }
    let group = |(authorizer, policies): (&ir::Authorizer, Vec<Arc<Policy>>)| {
        let compiled = Authorizer::compile(authorizer, |key| backend(key));
        (Arc::new(compiled), Group::new(Sense::Refuses, &policies))
    };
    by_authorizer.into_iter().map(group).collect()
}
