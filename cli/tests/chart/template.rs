//! Manifests with placeholders become Helm templates, line by line.

use sluice::install::{Key, Manifest, Type, to_yaml};

/// Stands for the release's namespace.
pub(crate) const NAMESPACE: &str = "zz-namespace-zz";

/// What stands for a value in the manifests. Truth values decide whether whole objects are there, so they hold.
pub(crate) fn placeholder(key: Key) -> String {
    let index = Key::ALL.iter().position(|it| *it == key).unwrap();
    match key.facts().r#type {
        Type::Bool => "true".to_owned(),
        Type::Count { .. } => format!("{}", 90_000 + index),
        _ => format!("zz-{index}-zz"),
    }
}

/// Objects that Helm takes as they are.
pub(crate) fn plain(manifests: &[&Manifest]) -> String {
    let manifests: Vec<Manifest> = manifests.iter().map(|it| (*it).clone()).collect();
    let yaml = to_yaml(&manifests).unwrap();
    format!(
        "# Made by UPDATE_CHART=1 cargo test -p sluice --test chart\n{}",
        yaml.replace("managed-by: sluice", "managed-by: Helm")
    )
}

/// The template of a group of objects.
pub(crate) fn of(file: &str, manifests: &[&Manifest]) -> String {
    let manifests: Vec<Manifest> = manifests.iter().map(|it| (*it).clone()).collect();
    let yaml = to_yaml(&manifests).unwrap();
    let mut body = String::new();
    let mut lines = yaml.lines().peekable();
    while let Some(line) = lines.next() {
        let indent = " ".repeat(line.len() - line.trim_start().len());
        let is_list = line.trim() == "imagePullSecrets:";
        if let Some(key) =
            optional(line).or_else(|| lines.peek().filter(|_| is_list).and_then(|it| optional(it)))
        {
            body.push_str(&format!("{indent}{{{{- if .Values.{} }}}}\n{}\n", key.name(), fill(line)));
            if is_list {
                body.push_str(&format!("{}\n", fill(lines.next().unwrap())));
            }
            body.push_str(&format!("{indent}{{{{- end }}}}\n"));
            continue;
        }
        body.push_str(&fill(line));
        body.push('\n');
    }
    let condition = match file {
        "pod-disruption-budget" => Some(Key::PodDisruptionBudget),
        "demo" => Some(Key::Demo),
        "injection" => Some(Key::Injection),
        _ => None,
    };
    let head = "{{- /* Made by UPDATE_CHART=1 cargo test -p sluice --test chart; change deploy/base instead. */ -}}\n";
    match condition {
        Some(key) => format!("{head}{{{{- if .Values.{} }}}}\n{body}{{{{- end }}}}\n", key.name()),
        None => format!("{head}{body}"),
    }
}

/// The key of a line that is left out when its value is empty.
fn optional(line: &str) -> Option<Key> {
    Key::ALL.into_iter().find(|key| {
        matches!(key.facts().r#type, Type::OptionalName | Type::OptionalQuantity)
            && line.contains(&placeholder(*key))
    })
}

/// A line with its placeholders replaced.
fn fill(line: &str) -> String {
    let line = line.replace(
        "app.kubernetes.io/managed-by: sluice",
        "app.kubernetes.io/managed-by: {{ .Release.Service }}",
    );
    if line.contains(NAMESPACE) {
        return line.replace(NAMESPACE, "{{ .Release.Namespace }}");
    }
    let is_there = |key: &Key| key.facts().r#type != Type::Bool && line.contains(&placeholder(*key));
    let keys: Vec<Key> = Key::ALL.into_iter().filter(is_there).collect();
    let Some(key) = keys.first().copied() else { return line };
    assert_eq!(keys.len(), 1, "two settings in one line: {line}");
    let value = format!(".Values.{}", key.name());
    let start = line.rfind(": ").map(|it| it + 2).filter(|it| line[*it..].contains(&placeholder(key)));
    let start = start.unwrap_or_else(|| line.find("- ").unwrap() + 2);
    let (before, scalar) = line.split_at(start);
    let scalar = scalar.trim_matches(|it| it == '"' || it == '\'');
    let filled = match key.facts().r#type {
        Type::Count { .. } => format!("{{{{ {value} }}}}"),
        _ if scalar == placeholder(key) => format!("{{{{ {value} | quote }}}}"),
        _ => {
            let format = scalar.replace(&placeholder(key), "%s");
            format!("{{{{ printf {format:?} {value} | quote }}}}")
        }
    };
    format!("{before}{filled}")
}
