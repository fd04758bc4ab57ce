//! The C library of kq-core.
