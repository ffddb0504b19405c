//! `sluice check`: every problem of a folder with file and line, and the conditions of its objects.

use crate::finding::{Finding, Position, Severity};
use crate::mesh::MeshArgs;
use crate::output::{self, Format, counted};
use crate::project::Project;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// Name every mistake in a folder of manifests, with file, line and next step.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Each problem is one line: FILE:LINE: OBJECT: FIELD: WHAT; NEXT STEP. Warnings and notes say so after the place.
Then follow the objects with the conditions that they would get in a cluster.

Exit status: 0 no errors, 1 errors (with --strict also warnings), 2 the folder can't be read.

Examples:
  sluice check examples/hello
  sluice check -o json manifests | jq '.problems[] | select(.severity == \"error\")'")]
pub struct CheckArgs {
    /// Folder with *.yaml, *.yml and *.json files, read with its subfolders; or one file.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Form of the report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Let warnings fail too.
    #[arg(long)]
    pub strict: bool,
    /// Namespace of objects that name none.
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Names of the mesh.
    #[command(flatten)]
    pub mesh: MeshArgs,
}

/// Checks and prints.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let (mut project, _) = Project::load_in(&args.dir, &args.namespace, &args.mesh)?;
    project.look_at_staples();
    let report = Report::of(&project);
    output::print_as(args.output, &report, Report::to_text)?;
    let failed = report.summary.errors > 0 || (args.strict && report.summary.warnings > 0);
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// What `check` prints; its serialised form is the machine-readable report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Sorted by file and line.
    pub problems: Vec<Finding>,
    /// Objects with a status, sorted.
    pub objects: Vec<ObjectReport>,
    /// Numbers of the above.
    pub summary: Summary,
}

/// One object and its status.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReport {
    /// `HTTPRoute shop/cart`.
    pub object: String,
    /// Where it stands.
    #[serde(flatten)]
    pub position: Option<Position>,
    /// The `status` subresource.
    pub status: Value,
    #[serde(skip)]
    conditions: Vec<ConditionsOfPart>,
}

/// The conditions of an object, a listener or a parent, in words.
#[derive(Debug)]
struct ConditionsOfPart {
    part: String,
    words: String,
}

/// Numbers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Files that were read.
    pub files: usize,
    /// Objects of kinds that are read.
    pub objects: usize,
    /// Objects of other kinds, by kind.
    pub ignored: BTreeMap<String, usize>,
    /// Problems by severity.
    pub errors: usize,
    /// Problems by severity.
    pub warnings: usize,
    /// Problems by severity.
    pub notes: usize,
}

impl Report {
    /// The report of a project.
    pub fn of(project: &Project) -> Self {
        let problems = project.findings();
        let count = |severity| problems.iter().filter(|finding| finding.severity == severity).count();
        let folder = project.folder();
        let ignored =
            folder.ignored_kinds().into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect();
        let summary = Summary {
            files: folder.file_count(),
            objects: folder.objects().count(),
            ignored,
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            notes: count(Severity::Note),
        };
        Self { objects: objects(project), problems, summary }
    }

    /// The report for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            let _ = writeln!(text, "{problem}");
        }
        if !self.problems.is_empty() {
            text.push('\n');
        }
        let rows = self.rows();
        let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
        for (label, words) in rows {
            let _ = writeln!(text, "{}", format!("{label:width$}  {words}").trim_end());
        }
        if !self.objects.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "{}", self.summary.to_text());
        text
    }

    fn rows(&self) -> Vec<(String, &str)> {
        let mut rows = Vec::new();
        for object in &self.objects {
            let mut parts = object.conditions.iter().peekable();
            let whole = parts.next_if(|part| part.part.is_empty());
            rows.push((object.object.clone(), whole.map_or("", |part| part.words.as_str())));
            rows.extend(parts.map(|part| (format!("  {}", part.part), part.words.as_str())));
        }
        rows
    }
}

impl Summary {
    fn to_text(&self) -> String {
        let (errors, warnings) = (counted(self.errors, "error"), counted(self.warnings, "warning"));
        let (objects, files) = (counted(self.objects, "object"), counted(self.files, "file"));
        let mut text =
            format!("{errors}, {warnings}, {} in {objects} of {files}", counted(self.notes, "note"));
        let ignored: Vec<_> = self.ignored.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if !ignored.is_empty() {
            let _ = write!(text, "; not read by Sluice: {}", ignored.join(", "));
        }
        text
    }
}

fn objects(project: &Project) -> Vec<ObjectReport> {
    let mut locator = project.folder().locator();
    let statuses = project.statuses().iter();
    statuses
        .map(|(object, status)| {
            let mut conditions: Vec<ConditionsOfPart> = Vec::new();
            for (part, condition) in status.conditions() {
                let mut words = format!("{}={:?}", condition.r#type, condition.status);
                let holds = condition.status == sluice_translate::ConditionStatus::True;
                // A condition that names a fault when it holds, or one that does not hold.
                let kind = condition.r#type.strip_prefix("sluice.dev/").unwrap_or(condition.r#type);
                let is_fault =
                    holds != !matches!(kind, "Conflicted" | "PartiallyInvalid" | "OverlappingTLSConfig");
                if is_fault {
                    let _ = write!(words, " ({})", condition.reason);
                }
                match conditions.last_mut().filter(|last| last.part == part) {
                    Some(last) => last.words = format!("{} {words}", last.words),
                    None => conditions.push(ConditionsOfPart { part, words }),
                }
            }
            if let sluice_translate::Status::Entry(entry) = status {
                for address in &entry.addresses {
                    let part = format!("host {:?}", address.host);
                    match conditions.last_mut().filter(|last| last.part == part) {
                        Some(last) => last.words = format!("{} {}", last.words, address.value),
                        None => conditions.push(ConditionsOfPart { part, words: address.value.clone() }),
                    }
                }
            }
            ObjectReport {
                object: object.to_string(),
                position: locator.position(object, ""),
                status: serde_json::to_value(status).unwrap_or(Value::Null),
                conditions,
            }
        })
        .collect()
}
