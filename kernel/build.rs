//! Passes the linker script and a build id to the compiler.

use std::process::Command;

fn main() {
    let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo:rustc-link-arg-bins=-T{dir}/kernel.ld");
    println!("cargo:rustc-link-arg-bins=-zmax-page-size=0x1000");
    println!("cargo:rustc-link-arg-bins=--build-id=none");
    println!("cargo:rerun-if-changed={dir}/kernel.ld");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=IRONBARK_BUILD_ID");
    println!("cargo:rustc-env=BUILD_ID={}", build_id());
}

/// The commit built; `unknown` outside a checkout. The host tool
/// passes its own through `IRONBARK_BUILD_ID`, so that the same tree gives the same bytes.
fn build_id() -> String {
    if let Ok(id) = std::env::var("IRONBARK_BUILD_ID") {
        return id;
    }
    let git = |args: &[&str]| {
        let out = Command::new("git").args(args).output().ok()?;
        out.status
            .success()
            .then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    match git(&["rev-parse", "--short=12", "HEAD"]) {
        Some(commit) => commit,
        None => "unknown".to_owned(),
    }
}
