//! Runs libevent's own regression suite against the kernel's calls and against kqcompat's.
fn main() {}
