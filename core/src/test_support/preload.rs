//! Tests under a preloaded library of this workspace, once for each policy.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use super::harness::{Rule, Suite};
use super::isolate;
use crate::sets::Policy;

/// The values of `KQCOMPAT_POLICY`.
pub const POLICIES: [&str; 4] = ["default", "register", "strict", "off"];

/// The path of a library that cargo built beside this test.
///
/// # Panics
/// When it is not there.
pub fn library(name: &str) -> PathBuf {
    let exe = std::env::current_exe().expect("an executable has a path");

    exe.ancestors()
        .skip(1)
        .map(|dir| dir.join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not built"))
}

/// Starts this test process anew with the library preloaded, unless it is.
pub fn restart_with(library_name: &str) {
    let library = library(library_name);
    if std::env::var_os("LD_PRELOAD").is_some_and(|preloaded| *preloaded == *library) {
        return;
    }
    let error = Command::new(std::env::current_exe().expect("an executable has a path"))
        .args(std::env::args_os().skip(1))
        .env("LD_PRELOAD", library)
        .exec();
    panic!("{error}");
}

/// The path of the library in which the dynamic linker finds a symbol first.
pub fn library_of(symbol: &CStr) -> Option<PathBuf> {
    // SAFETY: an all-zero Dl_info is a valid one; dladdr fills it, with a path that stays as long as
    // the library is loaded.
    unsafe {
        let address = libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr());
        let mut info: libc::Dl_info = std::mem::zeroed();
        if address.is_null() || libc::dladdr(address, &mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        let path = CStr::from_ptr(info.dli_fname).to_bytes();
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
    }
}

/// The name of the policy that the calls under test are served by.
pub fn policy() -> String {
    if is_preloaded() {
        return std::env::var("KQCOMPAT_POLICY").unwrap_or_default();
    }
    POLICIES[crate::sets::policy() as usize].to_owned()
}

/// Is a library preloaded that has poll or select? Else this process's own copy of the engine is
/// what is tested.
pub fn is_preloaded() -> bool {
    let preloaded = std::env::var("LD_PRELOAD").unwrap_or_default();
    ["libkqcompat_poll.so", "libkqcompat_select.so"].iter().any(|name| preloaded.contains(name))
}

/// Adds each rule under each policy, as `prefix::policy::id_name`, for a Rust crate of this
/// workspace; `begin` is called first.
pub fn add_rules_in_process<B>(
    suite: &mut Suite<'_>,
    prefix: &str,
    begin: fn(),
    under_test: B,
    rules: &[&[Rule<B>]],
) where
    B: Copy + Send + 'static,
{
    for policy in POLICIES {
        for rule in rules.iter().copied().flatten() {
            let body = rule.body;
            suite.add(format!("{prefix}::{policy}::{}_{}", rule.id, rule.name), move || {
                begin();
                crate::sets::set_policy(Policy::by_name(policy.as_bytes()).expect("its name"));
                in_a_thread(move || body(under_test));
            });
        }
    }
}

/// Runs a test in a thread of its own: at its end the thread's queues must be gone.
fn in_a_thread(body: impl FnOnce() + Send + 'static) {
    // In every thread: it goes to the process.
    super::signals::block(&[super::zoo::SIGNAL]);
    std::thread::spawn(body).join().expect("the test's thread failed");
}

/// The whole of `main` of a test binary whose tests run under the library, by [`add_rules`]; several
/// libraries are separated by spaces.
pub fn run(library_names: &str, add: impl FnOnce(&mut Suite<'_>)) -> ExitCode {
    if let Some(test) = isolate::asked_for()
        && std::env::var_os("LD_PRELOAD").is_none()
    {
        // Whatever was inherited: random programs want the low numbers.
        let _ = crate::raw::close_range(3, u32::MAX);
        let policy = test.split("::").next().unwrap_or_default();
        let libraries = std::env::join_paths(library_names.split(' ').map(library));
        let error = Command::new(std::env::current_exe().expect("an executable has a path"))
            .args(std::env::args_os().skip(1))
            .env("LD_PRELOAD", libraries.expect("paths without colons"))
            .env("KQCOMPAT_POLICY", policy)
            .exec();
        panic!("{error}");
    }
    let mut suite = Suite::new();
    add(&mut suite);
    suite.run()
}

/// Adds each rule under each policy, as `policy::id_name`.
pub fn add_rules<B>(suite: &mut Suite<'_>, under_test: B, rules: &[&[Rule<B>]])
where
    B: Copy + Send + 'static,
{
    for policy in POLICIES {
        for rule in rules.iter().copied().flatten() {
            let body = rule.body;
            suite.add(format!("{policy}::{}_{}", rule.id, rule.name), move || {
                in_a_thread(move || body(under_test));
            });
        }
    }
}

/// What poll and select of the preloaded library, or of this process, did so far, as text.
///
/// # Panics
/// When another library is preloaded.
pub fn counters() -> String {
    if !is_preloaded() {
        return crate::sets::set_counters().to_string();
    }
    type Counters = unsafe extern "C" fn(*mut libc::c_char, usize) -> usize;
    let mut text = [0_u8; 512];
    // SAFETY: the symbol, if it is there, is a function of that type, and `text` has that size.
    let len = unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, c"kqcompat_counters".as_ptr());
        assert!(!found.is_null(), "no library of ours is preloaded");
        let counters = std::mem::transmute::<*mut libc::c_void, Counters>(found);
        counters(text.as_mut_ptr().cast(), text.len())
    };
    String::from_utf8(text[..len].to_vec()).expect("counters are ASCII")
}

/// One of [`counters`], by name.
///
/// # Panics
/// As [`counters`], or when there is no such counter.
pub fn counter(name: &str) -> u64 {
    let text = counters();
    text.split(' ')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        .unwrap_or_else(|| panic!("no counter {name} in {text}"))
}
