//! One change of the folder after the other: read, translate, apply, tell.

use super::acme::{Certificates, News};
use crate::finding::Finding;
use crate::folder::Touched;
use crate::project::Project;
use sluice_controller::staple::{self, Stapler};
use sluice_crds::ObjectRef;
use sluice_gateway::Gateway;
use sluice_ir::{Delta, ListenerKey, Resource};
use sluice_translate::{Change, Problem, Update};
use std::collections::BTreeSet;
use std::time::Instant;
use tracing::{debug, error, info, warn};

/// How many objects a message names.
const MOST_NAMES: usize = 5;

/// Problems that were told already.
#[derive(Default)]
pub(super) struct Told {
    problems: BTreeSet<Problem>,
    findings: BTreeSet<Finding>,
}

/// The running configuration.
pub(super) struct Reloader {
    project: Project,
    gateway: Gateway,
    stapler: Stapler,
    told: Told,
    certificates: Certificates,
    /// Listeners whose port could not be bound the last time.
    unbound: BTreeSet<ListenerKey>,
    /// Whether the folder could be read the last time.
    readable: bool,
}

impl Reloader {
    /// Of a project whose present problems the summary tells.
    pub(super) fn new(
        project: Project,
        gateway: Gateway,
        stapler: Stapler,
        certificates: Certificates,
    ) -> Self {
        Self {
            project,
            gateway,
            stapler,
            told: Told::default(),
            certificates,
            unbound: BTreeSet::new(),
            readable: true,
        }
    }

    pub(super) fn project(&self) -> &Project {
        &self.project
    }

    pub(super) fn into_gateway(self) -> Gateway {
        self.gateway
    }

    /// Listeners whose port could not be bound.
    pub(super) fn unbound(&self) -> &BTreeSet<ListenerKey> {
        &self.unbound
    }

    /// Whether any listener is bound.
    pub(super) fn serves_any(&self) -> bool {
        let listeners = &self.project.snapshot().listeners;
        listeners.keys().any(|key| !self.unbound.contains(key))
    }

    /// Every file, as if each had changed.
    pub(super) fn all_files(&self) -> Touched {
        let files = self.project.folder().files().map(|path| path.to_path_buf()).collect();
        Touched { files, everything: true, ..Touched::default() }
    }

    /// Takes over what the engine of certificates wants.
    pub(super) async fn hear(&mut self, news: News) {
        match news {
            News::Challenges(all, answered) => {
                let update = self.project.translator_mut().challenges(all);
                self.serve(update).await;
                // Nobody may wait any more, which is no error.
                let _ = answered.send(());
            }
            News::Statuses => {
                self.load_certificates().await;
                let issuance = self.certificates.issuance();
                let update = self.project.translator_mut().issuance(issuance);
                self.serve(update).await;
                self.tell_new_problems();
            }
        }
    }

    /// Tells the problems that were not told before, when no file has changed.
    fn tell_new_problems(&mut self) {
        let before = self.remember();
        let new: Vec<_> = self.told.problems.difference(&before.problems).cloned().collect();
        self.project.locate(new).iter().for_each(super::summary::tell_finding);
    }

    /// Serves certificates that are new in the state folder. A Secret of the manifests counts before them.
    async fn load_certificates(&mut self) {
        let mut changes = self.certificates.secrets().await;
        changes.retain(|change| match change {
            Change::Upsert(secret) => {
                let reference = secret.reference();
                let is_free = !self.project.folder().objects().any(|it| *it == reference);
                if is_free {
                    info!(certificate = %reference, "a certificate of an issuer is served");
                }
                is_free
            }
            _ => true,
        });
        if changes.is_empty() {
            return;
        }
        let update = self.project.translate(changes);
        let orders = update.orders;
        self.serve(update).await;
        if orders {
            self.want();
        }
    }

    /// Serves what was translated, and has ordered what it asks for; returns how many listeners have no port.
    pub(super) async fn apply(&mut self, update: Update) -> usize {
        let orders = update.orders;
        self.serve(update).await;
        if orders && self.want() {
            self.load_certificates().await;
        }
        self.unbound.len()
    }

    /// Has ordered what the manifests ask for; whether that could be told.
    fn want(&mut self) -> bool {
        let told = self.certificates.want(self.project.translator(), self.gateway.proxy());
        if let Err(error) = &told {
            error!("{error:#}; no certificate is ordered");
        }
        told.is_ok()
    }

    /// Serves what was translated; returns how many listeners have no port.
    async fn serve(&mut self, update: Update) -> usize {
        if update.delta.is_empty() {
            return self.unbound.len();
        }
        let failures = self.gateway.apply(&self.stapler.attach(&update.delta)).await;
        let unbound: BTreeSet<_> = failures.iter().map(|(listener, _)| listener.clone()).collect();
        if unbound != self.unbound {
            // Statuses and problems say so; the listeners stay, and are tried again with the next change.
            let reported = self.project.translator_mut().bind_failures(failures);
            if !reported.delta.is_empty() {
                self.gateway.apply(&self.stapler.attach(&reported.delta)).await;
            }
            self.unbound = unbound;
        }
        self.unbound.len()
    }

    /// Serves certificates with their new OCSP responses, and tells which have none.
    pub(super) async fn restaple(&mut self, news: staple::News) {
        let certificates = &self.project.snapshot().certificates;
        let changed = news.changed.iter().filter_map(|key| certificates.get(key)).cloned();
        let upserts: Vec<_> = changed.map(Resource::Certificate).collect();
        if !upserts.is_empty() {
            let delta = Delta { upserts, removals: Vec::new() };
            self.gateway.apply(&self.stapler.attach(&delta)).await;
        }
        self.project.translator_mut().staples(news.standings);
        self.tell_new_problems();
    }

    /// Takes a change over. Whatever is wrong with it is told and changes nothing else.
    pub(super) async fn reload(&mut self, touched: Touched) {
        let begin = Instant::now();
        // The files are small and mostly one: moving the project to another thread would cost more.
        let read = tokio::task::block_in_place(|| {
            let folder = self.project.folder_mut();
            if touched.everything {
                folder.rescan(&touched.files, &touched.busy)
            } else {
                Ok(folder.reread(&touched.files))
            }
        });
        let changes = match read {
            Ok(changes) => changes,
            Err(cause) => return self.unreadable(&cause),
        };
        if !std::mem::replace(&mut self.readable, true) {
            info!("the folder can be read again");
        }
        let read_ms = ms(begin);
        let names = Names::of(&changes);
        let update = tokio::task::block_in_place(|| self.project.translate(changes));
        let translated_ms = ms(begin);
        let resources = update.delta.upserts.len() + update.delta.removals.len();
        self.apply(update).await;
        let took_ms = ms(begin);
        debug!(read_ms, translated_ms, took_ms, "reload, counted from its beginning");
        // Traffic goes by the new configuration from here on; what follows is for people.
        let before = self.remember();
        self.tell(&names, resources, took_ms, before);
        debug!(told_ms = ms(begin));
    }

    fn unreadable(&mut self, cause: &std::io::Error) {
        if std::mem::replace(&mut self.readable, false) {
            self.gateway.proxy().metrics().config_failed();
            let folder = self.project.folder().root().display();
            error!(%cause, %folder, "the folder can't be read; what was served stays");
        }
    }

    /// Takes the present problems for told; returns those of before.
    pub(super) fn remember(&mut self) -> Told {
        let problems = self.project.translator().problems().into_iter().collect();
        let findings = self.project.folder().findings().into_iter().collect();
        std::mem::replace(&mut self.told, Told { problems, findings })
    }

    /// What changed, and the problems that were not there before.
    fn tell(&self, names: &Names, resources: usize, took_ms: f64, before: Told) {
        let new: Vec<_> = self.told.problems.difference(&before.problems).cloned().collect();
        let gone = before.problems.difference(&self.told.problems).count();
        let new_findings = self.told.findings.difference(&before.findings).cloned();
        new_findings
            .chain(self.project.locate(new))
            .for_each(|finding| super::summary::tell_finding(&finding));
        if names.is_empty() && gone == 0 {
            debug!("files were touched, nothing changed");
            return;
        }
        let problems = self.told.problems.len() + self.told.findings.len();
        let (changed, removed) = (names.changed.as_deref(), names.removed.as_deref());
        info!(changed, removed, resources, problems, took_ms, "reloaded");
        if !self.unbound.is_empty() {
            warn!(listeners = self.unbound.len(), "listeners without a port; the next change tries again");
        }
    }
}

/// Milliseconds since then, with one decimal.
fn ms(begin: Instant) -> f64 {
    (begin.elapsed().as_secs_f64() * 10_000.0).round() / 10.0
}

/// Objects of a message.
struct Names {
    changed: Option<String>,
    removed: Option<String>,
}

impl Names {
    fn of(changes: &[Change]) -> Self {
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Upsert(object) => changed.push(object.reference()),
                Change::UpsertAs(reference, _) => changed.push(reference.clone()),
                Change::Remove(reference) => removed.push(reference.clone()),
                Change::Unreadable(it) => changed.push(it.object.reference()),
            }
        }
        Self { changed: joined(&changed), removed: joined(&removed) }
    }

    fn is_empty(&self) -> bool {
        self.changed.is_none() && self.removed.is_none()
    }
}

fn joined(references: &[ObjectRef]) -> Option<String> {
    if references.is_empty() {
        return None;
    }
    let names: Vec<_> = references.iter().take(MOST_NAMES).map(ToString::to_string).collect();
    let more = references.len().saturating_sub(MOST_NAMES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("{}{more}", names.join(", ")))
}
