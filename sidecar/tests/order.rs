//! How the sidecar of the image is built: compiled by a profile, with functions of a list beside each other (deploy/link).

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

/// What a command prints that cargo gives to `names` for a small crate.
fn named(words: &[&str]) -> String {
    let mut command = Command::new(link().join("names"));
    command.env("CARGO_PKG_NAME", "small").env("CARGO_PKG_VERSION", "1.2.3");
    said(&command.args(words).output().unwrap())
}

/// Symbols of a small crate that cargo would have called so.
fn symbols(metadata: &str) -> String {
    let folder = TempDir::new().unwrap();
    let (source, object) = (folder.path().join("small.rs"), folder.path().join("small.o"));
    std::fs::write(&source, "#[inline(never)] pub fn add(one: u32, two: u32) -> u32 { one + two }").unwrap();
    let (source, object) = (source.to_str().unwrap(), object.to_str().unwrap());
    let v0 = "symbol-mangling-version=v0";
    named(&["rustc", "--crate-type=lib", "--emit=obj", "-C", v0, "-C", metadata, "-o", object, source]);
    said(&Command::new("nm").arg(object).output().unwrap())
}

#[test]
fn names_of_symbols_do_not_follow_cargos_hash() {
    let (one, other) = (symbols("metadata=0123456789abcdef"), symbols("metadata=fedcba9876543210"));
    assert!(one.contains("5small3add"), "{one}");
    assert_eq!(one, other);
}

#[test]
fn other_words_reach_rustc_as_they_are() {
    let others = ["-C", "extra-filename=-01", "--cfg", "feature=\"a b\""];
    let words = named(&[&["printf", "%s|", "-C", "metadata=01"], &others[..]].concat());
    assert_eq!(words, "-C|metadata=small-1.2.3|-C|extra-filename=-01|--cfg|feature=\"a b\"|");
}

/// The rustc of the image.
fn rustc_of_the_image() -> String {
    let path = link().join("../docker/sidecar.Dockerfile");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, from) = text.split_once("\nFROM rust:").unwrap();
    from.split_once("-alpine AS build").unwrap().0.to_owned()
}

#[test]
fn the_rustc_of_the_image_has_a_profile() {
    let version = rustc_of_the_image();
    let profile = link().join(format!("x86_64-unknown-linux-musl-{version}.profdata.gz"));
    let output = Command::new("gzip").arg("-dc").arg(&profile).output().unwrap();
    assert!(output.status.success(), "{}; deploy/link/record writes it", profile.display());
    assert!(output.stdout.starts_with(b"\xfflprofi\x81"), "an indexed profile of LLVM");
}

/// What `build` has cargo do where rustc is of this version, and what it says.
fn build(version: &str) -> (String, String) {
    let folder = TempDir::new().unwrap();
    let script = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    script("rustc", &format!("#!/bin/sh\necho 'rustc {version} (0 2026-01-01)'\n"));
    script("cargo", "#!/bin/sh\necho \"$RUSTC_WRAPPER|$RUSTFLAGS|$*\"\n");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(link().join("build"));
    command.env("PATH", path).env("CARGO_TARGET_DIR", folder.path().join("target")).env("RUSTFLAGS", "-g");
    let output = command.arg("x86_64-unknown-linux-musl").output().unwrap();
    let warned = String::from_utf8_lossy(&output.stderr).into_owned();
    (said(&output).replace(&folder.path().display().to_string(), "FOLDER"), warned)
}

#[test]
fn a_build_goes_by_the_profile_of_its_rustc() {
    let version = rustc_of_the_image();
    let (called, warned) = build(&version);
    let profile = format!("-C profile-use=FOLDER/target/x86_64-unknown-linux-musl-{version}.profdata ");
    for words in [
        "/deploy/link/names|-g -C symbol-mangling-version=v0 ",
        &profile,
        "--locked --profile sidecar --package sluice-sidecar --bin sluice-sidecar --target x86_64-unknown-linux-musl -- ",
        "/deploy/link/in-order -C llvm-args=-enable-split-machine-functions",
    ] {
        assert!(called.contains(words), "{words}: {called}");
    }
    assert_eq!(warned, "");
}

#[test]
fn a_build_without_a_profile_says_so() {
    let (called, warned) = build("1.0.0");
    assert!(called.contains("-C linker=") && !called.contains("profile-use"), "{called}");
    assert!(warned.contains("none for x86_64-unknown-linux-musl of rustc 1.0.0"), "{warned}");
}
