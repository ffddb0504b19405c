//! Folders on disk, changed in all the ways that people and tools change them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::Folder;
use sluice_translate::Change;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

pub(super) fn service(name: &str, port: u16) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - port: {port}\n")
}

fn folder(files: &[(&str, &str)]) -> (TempDir, Folder, Vec<String>) {
    let directory = TempDir::new().unwrap();
    write(directory.path(), files);
    let (folder, changes) = Folder::load(directory.path(), "default").unwrap();
    (directory, folder, told(changes))
}

fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// `+Service default/a` and `-Service default/a`, sorted.
fn told(changes: Vec<Change>) -> Vec<String> {
    let mut told: Vec<_> = changes
        .into_iter()
        .map(|change| match change {
            Change::Upsert(object) | Change::UpsertAs(_, object) => format!("+{}", object.reference()),
            Change::Remove(reference) => format!("-{reference}"),
            Change::Unreadable(it) => panic!("a folder has no unreadable object: {it:?}"),
        })
        .collect();
    told.sort();
    told
}

fn rescan(folder: &mut Folder) -> Vec<String> {
    told(folder.rescan(&BTreeSet::new(), &BTreeSet::new()).unwrap())
}

/// Findings with the folder's own path left out.
fn findings(folder: &Folder) -> Vec<String> {
    let root = format!("{}/", folder.root().display());
    folder.findings().iter().map(|finding| finding.to_string().replace(&root, "")).collect()
}

fn port_of(changes: &[Change]) -> i32 {
    let [Change::UpsertAs(_, sluice_crds::Object::Service(service))] = changes else { panic!("{changes:?}") };
    service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].port
}

#[test]
fn files_documents_lists_and_subfolders_are_read() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata: {name: n}\n\
                - apiVersion: v1\n  kind: Service\n  metadata: {name: l, namespace: n}\n";
    let (_directory, folder, changes) = folder(&[
        ("a.yaml", &format!("{}---\n{}", service("a", 1), service("b", 1))),
        ("deep/er/list.yml", list),
        ("c.json", r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"}}"#),
        ("deployment.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n"),
        ("README.md", "not: [yaml"),
        (".hidden/x.yaml", "not: [yaml"),
    ]);
    assert_eq!(
        changes,
        ["+Namespace n", "+Service default/a", "+Service default/b", "+Service default/c", "+Service n/l"]
    );
    assert_eq!(findings(&folder), [""; 0]);
    assert_eq!(folder.ignored_kinds().into_iter().collect::<Vec<_>>(), [("Deployment", 1)]);
    let mut locator = folder.locator();
    let item = folder.objects().find(|object| object.namespace == "n").unwrap();
    assert!(locator.position(item, "metadata.name").unwrap().to_string().ends_with("deep/er/list.yml:9"));
}

#[test]
fn only_documents_that_differ_are_reported() {
    let (directory, mut folder, _) =
        folder(&[("a.yaml", &format!("{}---\n{}", service("a", 1), service("b", 1)))]);
    assert_eq!(rescan(&mut folder), [""; 0]);
    // A comment and a document above move the others down without changing them.
    let text = format!("# new\n{}---\n{}---\n{}", service("z", 1), service("a", 1), service("b", 2));
    write(directory.path(), &[("a.yaml", &text)]);
    assert_eq!(rescan(&mut folder), ["+Service default/a", "+Service default/b", "+Service default/z"]);
    let text = text.replace("port: 2", "port: 3");
    write(directory.path(), &[("a.yaml", &text)]);
    assert_eq!(rescan(&mut folder), ["+Service default/b"]);
    fs::remove_file(directory.path().join("a.yaml")).unwrap();
    assert_eq!(rescan(&mut folder), ["-Service default/a", "-Service default/b", "-Service default/z"]);
    assert_eq!(folder.file_count(), 0);
}

#[test]
fn the_first_of_two_definitions_counts_and_the_second_takes_over() {
    let (directory, mut folder, changes) = folder(&[("b.yaml", &service("a", 2))]);
    assert_eq!(changes, ["+Service default/a"]);
    write(directory.path(), &[("a.yaml", &service("a", 1))]);
    let changes = folder.rescan(&BTreeSet::new(), &BTreeSet::new()).unwrap();
    assert_eq!(port_of(&changes), 1);
    let [finding] = &findings(&folder)[..] else { panic!("{:?}", findings(&folder)) };
    assert!(finding.starts_with("b.yaml:1: Service default/a: is already defined at a.yaml:1"), "{finding}");
    // The second one is not in use: its edits change nothing.
    write(directory.path(), &[("b.yaml", &service("a", 22))]);
    assert_eq!(rescan(&mut folder), [""; 0]);
    fs::remove_file(directory.path().join("a.yaml")).unwrap();
    let changes = folder.rescan(&BTreeSet::new(), &BTreeSet::new()).unwrap();
    assert_eq!(port_of(&changes), 22);
    assert_eq!(findings(&folder), [""; 0]);
}

#[test]
fn a_syntax_error_spoils_only_its_document_and_keeps_the_last_good_version() {
    let (directory, mut folder, _) =
        folder(&[("a.yaml", &format!("{}---\n{}", service("a", 1), service("b", 1)))]);
    write(directory.path(), &[("a.yaml", &format!("{}---\nkind: [Service\n", service("a", 2)))]);
    assert_eq!(rescan(&mut folder), ["+Service default/a"]);
    let told = findings(&folder);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        told[0],
        "a.yaml:1: note: the last good version of Service default/b stays in use until the file is right"
    );
    assert!(told[1].starts_with("a.yaml:10: not valid YAML"), "{told:?}");
    // Right again, without b: now it goes.
    write(directory.path(), &[("a.yaml", &service("a", 2))]);
    assert_eq!(rescan(&mut folder), ["-Service default/b"]);
    assert_eq!(findings(&folder), [""; 0]);
}

#[test]
fn an_invalid_object_keeps_its_last_good_version_only() {
    let (directory, mut folder, _) =
        folder(&[("a.yaml", &format!("{}---\n{}", service("a", 1), service("b", 1)))]);
    write(directory.path(), &[("a.yaml", &service("a", 1).replace("port: 1", "prot: 1"))]);
    assert_eq!(rescan(&mut folder), ["-Service default/b"]);
    let told = findings(&folder);
    assert!(
        told.iter().any(|finding| finding.starts_with("a.yaml:7: Service default/a: spec.ports[0]")),
        "{told:?}"
    );
    assert!(told[0].contains("the last good version of Service default/a stays in use"), "{told:?}");
    // Defined elsewhere in the meantime: that one counts.
    write(directory.path(), &[("b.yaml", &service("a", 5))]);
    assert_eq!(rescan(&mut folder), ["+Service default/a"]);
    fs::remove_file(directory.path().join("b.yaml")).unwrap();
    assert_eq!(rescan(&mut folder), ["-Service default/a"]);
}

#[test]
fn unknown_fields_and_bad_texts_name_file_and_line() {
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata:\n  name: r\nspec:\n  rules:\n  - matchs: []\n";
    let (_directory, folder, _) = folder(&[
        ("route.yaml", &format!("# first\n---\n{}", route.replace("[]", "[{path: {value: /}}]"))),
        ("binary.yaml", "\u{0}\u{1}"),
        ("nameless.yaml", "apiVersion: v1\nkind: Service\nmetadata: {}\n"),
    ]);
    let told = findings(&folder);
    assert!(told[0].starts_with("binary.yaml:1: "), "{told:?}");
    assert!(told[1].starts_with("nameless.yaml:3: metadata.name: "), "{told:?}");
    assert_eq!(
        told[2],
        "route.yaml:9: HTTPRoute default/r: spec.rules[0].matchs: unknown field \"matchs\", did you mean \"matches\"? \
         the object is not used until this is right"
    );
}

#[test]
fn a_mounted_config_map_is_followed_through_its_links() {
    let (directory, mut folder, _) =
        folder(&[("..one/a.yaml", &service("a", 1)), ("..two/a.yaml", &service("a", 2))]);
    let at = |name: &str| directory.path().join(name);
    symlink("..one", at("..data")).unwrap();
    symlink("..data/a.yaml", at("a.yaml")).unwrap();
    assert_eq!(rescan(&mut folder), ["+Service default/a"]);
    symlink("..two", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    let changes = folder.rescan(&BTreeSet::new(), &BTreeSet::new()).unwrap();
    assert_eq!(port_of(&changes), 2);
}

#[test]
fn a_folder_that_links_to_itself_ends() {
    let (directory, mut folder, _) = folder(&[("a.yaml", &service("a", 1))]);
    symlink(directory.path(), directory.path().join("again")).unwrap();
    symlink("nowhere", directory.path().join("broken.yaml")).unwrap();
    assert_eq!(rescan(&mut folder), [""; 0]);
}

#[test]
fn a_missing_folder_is_an_error_and_changes_nothing() {
    assert!(Folder::load("/nowhere/at/all", "default").is_err());
    let (directory, mut folder, _) = folder(&[("a.yaml", &service("a", 1))]);
    drop(directory);
    assert!(folder.rescan(&BTreeSet::new(), &BTreeSet::new()).is_err());
    assert_eq!(folder.objects().count(), 1);
}

#[test]
fn a_subfolder_that_went_away_takes_its_objects_with_it() {
    let (directory, mut folder, _) = folder(&[
        ("sub/a.yaml", &service("a", 1)),
        ("sub/b/b.yaml", &service("b", 1)),
        ("subject.yaml", &service("c", 1)),
    ]);
    fs::rename(directory.path().join("sub"), directory.path().join(".sub")).unwrap();
    let changes = folder.reread(&[directory.path().join("sub")]);
    assert_eq!(told(changes), ["-Service default/a", "-Service default/b"]);
}

#[test]
fn any_sequence_of_edits_ends_where_reading_from_scratch_does() {
    let (directory, mut folder, _) = folder(&[]);
    let mut state = 12_345_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut known = std::collections::BTreeMap::new();
    for _ in 0..300 {
        let name = ["a.yaml", "b.yaml", "c/d.yaml"][usize::try_from(random(3)).unwrap()];
        let documents: Vec<_> = (0..random(6))
            .map(|_| match random(12) {
                0 => "# nothing\n".to_owned(),
                1 => "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n".to_owned(),
                _ => service(
                    ["p", "q", "r", "s", "t"][usize::try_from(random(5)).unwrap()],
                    1 + random(3) as u16,
                ),
            })
            .collect();
        let path = directory.path().join(name);
        if random(8) == 0 {
            let _ = fs::remove_file(&path);
        } else {
            write(directory.path(), &[(name, &documents.join("---\n"))]);
        }
        for change in folder.reread(&[path]) {
            match change {
                Change::Upsert(object) | Change::UpsertAs(_, object) => {
                    drop(known.insert(object.reference(), object))
                }
                Change::Remove(reference) => drop(known.remove(&reference)),
                Change::Unreadable(it) => panic!("{it:?}"),
            }
        }
        let (scratch, changes) = Folder::load(directory.path(), "default").unwrap();
        let expected: std::collections::BTreeMap<_, _> = changes
            .into_iter()
            .filter_map(|change| match change {
                Change::Upsert(object) | Change::UpsertAs(_, object) => Some((object.reference(), object)),
                Change::Remove(_) | Change::Unreadable(_) => None,
            })
            .collect();
        assert_eq!(known, expected);
        assert_eq!(findings(&folder), findings(&scratch));
    }
}

#[test]
fn a_virtual_service_is_told_how_gateway_api_says_it() {
    let text = "apiVersion: networking.istio.io/v1beta1\nkind: VirtualService\nmetadata:\n  name: cart\nspec:\n  \
                hosts: [shop.example.com]\n  http:\n  - timeout: 5s\n";
    let (_directory, folder, changes) = folder(&[("old.yaml", text)]);
    assert!(changes.is_empty());
    assert_eq!(
        findings(&folder),
        [
            "old.yaml:1: warning: VirtualService cart: is not served: Gateway API's routes take its place; see the \
             notes on its fields",
            "old.yaml:6: note: VirtualService cart: spec.hosts: has no effect; name the hosts in spec.hostnames of an \
             HTTPRoute (of a TLSRoute for tls)",
            "old.yaml:8: note: VirtualService cart: spec.http[0].timeout: has no effect; set \
             spec.rules[].timeouts.request",
        ]
    );
}
