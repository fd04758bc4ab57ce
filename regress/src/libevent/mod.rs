//! libevent: its source tree, the tools that build it, and the building.

mod build;
mod source;
mod tools;

pub(crate) use self::build::{Build, Builder, Flavor, library_path};
pub(crate) use self::source::Source;
pub(crate) use self::tools::Tools;
