//! The sources of events, by filter.

pub(crate) mod aio;
pub(crate) mod descriptor;
pub(crate) mod file;
pub(crate) mod process;
pub(crate) mod system;
pub(crate) mod timer;
pub(crate) mod user;
