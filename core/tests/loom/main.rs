//! What threads do to each other, in every order that the memory model allows (loom).
//!
//! The files under test are compiled here a second time, with loom's synchronisation in the place of
//! the standard library's: nothing else of the crate is, and no other build knows of loom. A file that
//! takes part uses `super::sync` and nothing of the crate's.
//!
//! loom runs each thread's steps in the order in which they are written, and lets a load see older
//! stores; of SeqCst accesses it knows fences only (`in_order` puts them). So a missing Acquire, or Release of what is published, is found; that a load may not move
//! behind a later store of its own thread (`buffer.rs`: "read before overwritten") is not.

#![allow(dead_code, reason = "a model uses some of what a file has")]

mod ring {
    pub(crate) mod sync;

    #[path = "../../../src/ring/buffer.rs"]
    pub(crate) mod buffer;
    #[path = "../../../src/ring/turns.rs"]
    pub(crate) mod turns;

    mod models;
}

#[allow(unreachable_pub, reason = "what it counts is public in the crate")]
mod selective {
    use super::ring::sync;

    #[path = "../../../src/selective/hand_over.rs"]
    mod hand_over;

    mod models;
}

mod queue {
    mod sync;

    #[path = "../../../src/sys/linux/queue/handshake.rs"]
    mod handshake;
    #[path = "../../../src/sys/linux/queue/put_down.rs"]
    mod put_down;

    mod models;
}
