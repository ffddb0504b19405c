//! How the sidecar of the image is linked: functions of a list stand beside each other (deploy/link).

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Two functions that sidecars run, by their names in the list, and others around them.
const PROGRAM: &str = "
int before(int it) { return it * 3; }
int mi_free(int it) { return it + 1; }
int between(int it) { return it * 5; }
int mi_malloc_aligned(int it) { return mi_free(it) + 2; }
int last(int it) { return it * 7; }
int main(void) { return mi_malloc_aligned(4); }
";

fn link() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/link")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Links a program with further words.
fn linked(folder: &Path, program: &str, words: &[&str]) -> Output {
    let (source, object) = (folder.join("program.c"), folder.join("program.o"));
    std::fs::write(&source, program).unwrap();
    let compile = Command::new("cc")
        .args(["-c", "-O1", "-fno-inline", "-ffunction-sections"])
        .args([&source, Path::new("-o"), &object])
        .output();
    said(&compile.unwrap());
    let mut command = Command::new(link().join("in-order"));
    command.arg(&object).args(words).arg("-o").arg(folder.join("program")).output().unwrap()
}

#[test]
fn functions_of_the_list_stand_beside_each_other() {
    let folder = TempDir::new().unwrap();
    said(&linked(folder.path(), PROGRAM, &[]));
    let program = folder.path().join("program");
    assert_eq!(Command::new(&program).status().unwrap().code(), Some(7));
    let symbols = said(&Command::new("nm").arg("-n").arg(&program).output().unwrap());
    let place = |name: &str| symbols.lines().position(|it| it.ends_with(&format!(" T {name}"))).unwrap();
    let listed = ["main", "mi_free", "mi_malloc_aligned"].map(place);
    let others = ["before", "between", "last"].map(place);
    assert!(listed.iter().max() < others.iter().min(), "{symbols}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn what_the_profile_strips_is_stripped() {
    let folder = TempDir::new().unwrap();
    said(&linked(folder.path(), PROGRAM, &["-Wl,--strip-all"]));
    let program = folder.path().join("program");
    assert_eq!(Command::new(&program).status().unwrap().code(), Some(7));
    assert_eq!(said(&Command::new("nm").arg(&program).output().unwrap()), "");
}

#[test]
fn a_static_program_has_its_relocations_packed() {
    let folder = TempDir::new().unwrap();
    let many = (0..200).map(|it| format!("int *p{it} = &x;")).collect::<String>();
    let program = format!(
        "int x = 7; {many} int mi_free(void) {{ return *p3; }} int main(void) {{ return mi_free(); }}"
    );
    said(&linked(folder.path(), &program, &["-static-pie"]));
    let sections =
        said(&Command::new("readelf").arg("-SW").arg(folder.path().join("program")).output().unwrap());
    assert!(sections.contains(".relr.dyn"), "{sections}");
}

#[test]
fn names_lose_what_differs_from_build_to_build() {
    let names = "<core[c1f1a4ba060b9bfa]::str::Chars>::next\n<[u8]>::len\n<[u8; 32] as core[9bfa]::Clone>::clone\nrun.llvm.123\n";
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("names"), names).unwrap();
    let input = std::fs::File::open(folder.path().join("names")).unwrap();
    let plain = said(&Command::new(link().join("plain")).stdin(input).output().unwrap());
    assert_eq!(plain, "<core::str::Chars>::next\n<[u8]>::len\n<[u8; 32] as core[9bfa]::Clone>::clone\nrun\n");
}

#[test]
fn a_program_without_any_of_them_is_an_error() {
    let folder = TempDir::new().unwrap();
    let output = linked(folder.path(), "int other(void) { return 0; }", &["-shared"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("mangling"), "{error}");
}
