//! Says which side of the seam is compiled (src/sys/mod.rs), in one vocabulary:
//!
//! - `kqcompat_native`: the system's own kqueue. Set everywhere but on Linux; there
//!   `RUSTFLAGS='--cfg kqcompat_native'` forces it, and `KQCOMPAT_NATIVE_LIB` names the shared
//!   library that exports `kqueue` and `kevent`.
//! - `kqcompat_layout`: whose `struct kevent` and numbers: the system's. On Linux FreeBSD's, or what
//!   `KQCOMPAT_NATIVE_LAYOUT` says (`netbsd`).

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=KQCOMPAT_NATIVE_LIB");
    println!("cargo::rerun-if-env-changed=KQCOMPAT_NATIVE_LAYOUT");
    let system = env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if system != "linux" {
        println!("cargo::rustc-cfg=kqcompat_native");
        println!("cargo::rustc-cfg=kqcompat_layout=\"{system}\"");
    } else if env::var_os("CARGO_CFG_KQCOMPAT_NATIVE").is_some() {
        let layout = env::var("KQCOMPAT_NATIVE_LAYOUT").unwrap_or("freebsd".to_owned());
        println!("cargo::rustc-cfg=kqcompat_layout=\"{layout}\"");
        link();
    }
}

/// Links the library that lies beneath.
fn link() {
    let Some(path) = env::var_os("KQCOMPAT_NATIVE_LIB") else {
        println!("cargo::warning=KQCOMPAT_NATIVE_LIB is not set: only type-checking is possible");
        return;
    };
    let path = Path::new(&path);
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name = name.strip_prefix("lib").unwrap_or(name);
    let folder = path.parent().unwrap_or(Path::new("."));
    println!("cargo::rustc-link-search=native={}", folder.display());
    println!("cargo::rustc-link-lib=dylib={name}");
}
