//! A folder and its translation: what `check`, `explain` and `run` have in common.

use crate::finding::{Finding, Severity};
use crate::folder::Folder;
use crate::mesh::MeshArgs;
use anyhow::Context as _;
use sluice_crds::ObjectRef;
use sluice_translate::{Change, Problem, Status, Translator, Update};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_OF_A_DAY: i64 = 86_400;

/// A certificate that ends within so many days is warned of.
const WARN_DAYS: i64 = 14;

/// A folder of manifests, translated as far as it was read.
pub struct Project {
    folder: Folder,
    translator: Translator,
}

impl Project {
    /// Reads and translates a folder (or one file); objects that name no namespace get `namespace`.
    ///
    /// # Errors
    /// When the folder itself can't be read. What is wrong within it becomes a finding.
    pub fn load(root: &Path, namespace: &str) -> anyhow::Result<(Self, Update)> {
        Self::load_in(root, namespace, &MeshArgs::default())
    }

    /// The same with names as in that mesh.
    ///
    /// # Errors
    /// As for [`Project::load`].
    pub fn load_in(root: &Path, namespace: &str, mesh: &MeshArgs) -> anyhow::Result<(Self, Update)> {
        let mut folder = Folder::new(root, namespace);
        let mut translator = Translator::new(mesh.options());
        let changes = folder
            .load_lazily()
            .with_context(|| format!("can't read {}; name a folder of manifests", root.display()))?;
        let update = translator.apply(changes);
        folder.compact();
        Ok((Self { folder, translator }, update))
    }

    /// Takes changes of objects over into the translation.
    pub fn translate(&mut self, changes: Vec<Change>) -> Update {
        self.translator.apply(changes)
    }

    /// The manifests.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The manifests, to bring them up to date; give what comes back to [`Project::translate`].
    pub fn folder_mut(&mut self) -> &mut Folder {
        &mut self.folder
    }

    /// The translation.
    pub fn translator(&self) -> &Translator {
        &self.translator
    }

    /// The translation, to report which ports could not be bound.
    pub fn translator_mut(&mut self) -> &mut Translator {
        &mut self.translator
    }

    /// Notes certificates that must be stapled and say too little for it. Nobody is asked.
    pub fn look_at_staples(&mut self) {
        let certificates = self.translator.snapshot().certificates.values();
        let standings = sluice_controller::staple::without_asking(certificates);
        self.translator.staples(standings);
    }

    /// What the data plane serves.
    pub fn snapshot(&self) -> &sluice_ir::Snapshot {
        self.translator.snapshot()
    }

    /// The conditions of every object that has some.
    pub fn statuses(&self) -> &BTreeMap<ObjectRef, Status> {
        self.translator.statuses()
    }

    /// Everything to tell about the folder, with file and line, sorted by place.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.folder.findings();
        findings.extend(self.locate(self.translator.problems()));
        findings.extend(self.locate(ending(self.translator.certificate_ends(), now_s())));
        findings.sort();
        findings.dedup();
        findings
    }

    /// Problems of the translation with file and line. Reads files again: not for the way of a change.
    pub fn locate(&self, problems: Vec<Problem>) -> Vec<Finding> {
        let mut locator = self.folder.locator();
        let located = problems.into_iter().map(|problem| {
            let Problem { object, field, severity, message, next_step } = problem;
            Finding {
                position: locator.position(&object, &field),
                object: object.to_string(),
                field,
                severity,
                message,
                next_step,
            }
        });
        located.collect()
    }
}

/// Warnings of certificates that have ended or end soon. The translation knows no clock, so this is said here.
fn ending(ends: Vec<(ObjectRef, i64)>, now_s: i64) -> Vec<Problem> {
    let warn = |object: ObjectRef, days: i64| Problem {
        object,
        field: "data".to_owned(),
        severity: Severity::Warning,
        message: match days {
            ..=-1 => format!("the certificate ended {} days ago: clients refuse it", -days),
            0 => "the certificate ends today".to_owned(),
            _ => format!("the certificate ends in {days} days"),
        },
        next_step: "renew it and replace the Secret".to_owned(),
    };
    ends.into_iter()
        .map(|(object, end_s)| (object, (end_s - now_s).div_euclid(SECONDS_OF_A_DAY)))
        .filter(|(_, days)| *days < WARN_DAYS)
        .map(|(object, days)| warn(object, days))
        .collect()
}

fn now_s() -> i64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(passed.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{SECONDS_OF_A_DAY, ending};
    use sluice_crds::{Kind, ObjectRef};

    #[test]
    fn a_certificate_is_warned_of_two_weeks_before_its_end_and_after_it() {
        let now = 1_000 * SECONDS_OF_A_DAY;
        let message = |end_s| {
            let of = ObjectRef::new(Kind::Secret, "default", "web");
            ending(vec![(of, end_s)], now).pop().map(|problem| problem.message)
        };
        assert_eq!(message(now + 14 * SECONDS_OF_A_DAY), None);
        assert_eq!(message(now + 3 * SECONDS_OF_A_DAY).as_deref(), Some("the certificate ends in 3 days"));
        assert_eq!(message(now + 60).as_deref(), Some("the certificate ends today"));
        let ended = message(now - 2 * SECONDS_OF_A_DAY);
        assert_eq!(ended.as_deref(), Some("the certificate ended 2 days ago: clients refuse it"));
    }
}
