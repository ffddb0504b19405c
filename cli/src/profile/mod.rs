//! `sluice profile`: the settings that come with the command by name, and files of the same form.
//!
//! A profile is YAML with the keys of [`crate::install::Key`] as nested maps; what it leaves out keeps its default. The
//! profiles of the command are the files of `deploy/profiles`.

use crate::install::{Facts, Key, Settings, Type};
use crate::output;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::process::ExitCode;

/// The profiles by name, the file of each.
const PROFILES: [(&str, &str); 3] = [
    ("minimal", include_str!("../../../deploy/profiles/minimal.yaml")),
    ("default", include_str!("../../../deploy/profiles/default.yaml")),
    ("demo", include_str!("../../../deploy/profiles/demo.yaml")),
];

/// Show the profiles that `sluice install --profile` knows.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
A profile is a file of settings. To make your own, dump one, change it and name the file:

  sluice profile dump default > mine.yaml
  sluice install --profile mine.yaml")]
pub struct ProfileArgs {
    #[command(subcommand)]
    command: ProfileCommand,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum ProfileCommand {
    /// Names and purposes.
    List,
    /// Every setting of a profile, as YAML that `--profile` takes.
    Dump {
        /// Name of a profile, or a file.
        #[arg(value_name = "NAME|FILE")]
        profile: String,
    },
}

/// Prints.
pub fn run(args: &ProfileArgs) -> anyhow::Result<ExitCode> {
    let text = match &args.command {
        ProfileCommand::List => list(),
        ProfileCommand::Dump { profile } => dump(&read(profile)?),
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The settings of a profile: one of the command's by name, else a file that ends in `.yaml` or `.yml`.
pub fn read(profile: &str) -> anyhow::Result<Settings> {
    let known = PROFILES.iter().find(|(name, _)| *name == profile);
    let is_file = [".yaml", ".yml"].iter().any(|end| profile.ends_with(end));
    let text = match known {
        Some((_, text)) => (*text).to_owned(),
        None if is_file => {
            std::fs::read_to_string(profile).with_context(|| format!("can't read the profile {profile}"))?
        }
        None => {
            let names: Vec<_> = PROFILES.iter().map(|(name, _)| *name).collect();
            bail!("there is no profile {profile:?} (profiles: {}; or a file *.yaml)", names.join(", "))
        }
    };
    let mut settings = Settings::default();
    let read: Value =
        serde_saphyr::from_str(&text).with_context(|| format!("profile {profile}: not YAML"))?;
    fill(&mut settings, "", &read).with_context(|| format!("profile {profile}"))?;
    Ok(settings)
}

/// Names of the command's profiles.
pub fn names() -> impl Iterator<Item = &'static str> {
    PROFILES.iter().map(|(name, _)| *name)
}

/// Sets each leaf of a tree by its path.
fn fill(settings: &mut Settings, path: &str, tree: &Value) -> anyhow::Result<()> {
    let text = match tree {
        Value::Null if path.is_empty() => return Ok(()),
        Value::Object(map) => {
            for (name, inner) in map {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                fill(settings, &path, inner)?;
            }
            return Ok(());
        }
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => tree.to_string(),
        Value::Null => String::new(),
        Value::Array(_) => bail!("{path:?} is a list; settings are single values"),
    };
    settings.set(path, &text)?;
    Ok(())
}

fn list() -> String {
    let mut text = String::new();
    for (name, file) in PROFILES {
        let purpose = file.lines().next().unwrap_or_default().trim_start_matches("# ");
        let _ = writeln!(text, "{name:8} {purpose}");
    }
    text
}

/// All settings as YAML with what each means: also the chart's `values.yaml`.
pub fn dump(settings: &Settings) -> String {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    for key in Key::ALL {
        let Facts { name, r#type, help, .. } = key.facts();
        let mut parts: Vec<&str> = name.split('.').collect();
        let leaf = parts.pop().unwrap_or(name);
        let common = open.iter().zip(&parts).take_while(|(a, b)| a == b).count();
        open.truncate(common);
        for part in parts.iter().skip(common) {
            let _ = writeln!(text, "{:1$}{part}:", "", open.len() * 2);
            open.push(part);
        }
        let indent = open.len() * 2;
        let _ = writeln!(text, "{:indent$}# {help} ({})", "", r#type.word());
        let _ = writeln!(text, "{:indent$}{leaf}: {}", "", scalar(r#type, settings.get(key)));
    }
    text
}

/// Numbers and truth values plain, all else quoted.
fn scalar(r#type: Type, value: &str) -> String {
    match r#type {
        Type::Bool | Type::Count { .. } => value.to_owned(),
        Type::Quantity
        | Type::OptionalQuantity
        | Type::Image
        | Type::Name
        | Type::OptionalName
        | Type::ControllerName
        | Type::Filter
        | Type::Choice(_) => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{dump, names, read};
    use crate::install::{Key, Settings};

    #[test]
    fn a_dumped_profile_reads_as_itself() {
        let folder = tempfile::tempdir().unwrap();
        for name in names() {
            let settings = read(name).unwrap();
            let file = folder.path().join("mine.yaml");
            std::fs::write(&file, dump(&settings)).unwrap();
            assert_eq!(read(file.to_str().unwrap()).unwrap(), settings, "{name}");
        }
    }

    #[test]
    fn the_profile_default_is_what_the_keys_say() {
        assert_eq!(read("default").unwrap(), Settings::default());
        assert_eq!(read("minimal").unwrap().get(Key::Replicas), "1");
        assert!(read("demo").unwrap().holds(Key::Demo));
    }

    #[test]
    fn a_wrong_profile_says_what_is_wrong() {
        let told = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("mine.yaml");
            std::fs::write(&file, text).unwrap();
            format!("{:#}", read(file.to_str().unwrap()).unwrap_err())
        };
        assert!(told("controller: {replica: 1}").contains("did you mean \"controller.replicas\""));
        assert!(told("controller: {replicas: many}").contains("whole number"));
        assert!(told("controller: [1]").contains("is a list"));
        assert!(told("controller: {").contains("not YAML"));
        let error = format!("{:#}", read("big").unwrap_err());
        assert!(error.contains("minimal, default, demo"), "{error}");
        assert!(format!("{:#}", read("/nowhere/x.yaml").unwrap_err()).contains("can't read"));
    }
}
