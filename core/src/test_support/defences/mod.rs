//! Tests of poll and select under a preloaded library, the same for both: each fails without one of
//! the defences that docs/poll.md lists.

pub mod calls;
pub mod cancel;
pub mod closes;
pub mod kinds;
pub mod leaving;
pub mod unhooked;
pub mod untold;
