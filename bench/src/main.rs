//! The programs by which select, poll, epoll and kqueue were compared for 25 years, each on every
//! interface, native and kqcompat's, interleaved in one run.

#![cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "some is for what is Linux's alone")
)]

#[cfg(target_os = "linux")]
mod ancestors;
#[cfg(target_os = "linux")]
mod apachebench;
mod bench_run;
mod cli;
mod clock;
mod compare;
mod ctx;
mod epoll_bench;
mod fixture;
mod host;
mod html;
mod iface;
#[cfg(target_os = "linux")]
mod libevent;
mod measure;
#[cfg(target_os = "linux")]
mod micro;
mod model;
mod pipetest;
mod poll_table;
mod poller_bench;
mod results;
mod scale;
#[cfg(target_os = "linux")]
mod soak;
mod stats;
mod suite;
mod table;
#[cfg(target_os = "linux")]
mod usage;
mod watched;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match bench_run::main(&cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}
