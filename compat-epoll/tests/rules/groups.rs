//! The groups of rules. (Named by a path wherever it is used, so that the groups lie beside it.)

mod a_create;
mod b_errors;
mod b_exclusive;
mod b_keys;
mod b_nesting;
mod c_results;
mod c_waits;
mod d_masks;
mod e_edges;
mod f_oneshot;
mod g_files;
mod g_pipes;
mod g_tcp;
mod g_unix;
mod h_nested;
mod i_threads;
mod l_errno;
pub(crate) mod old_kernel;

use kq_core::test_support::epoll::Epoll;
use kq_core::test_support::harness::Rule;

/// Every rule, by group.
pub(crate) const RULES: [&[Rule<Epoll>]; 17] = [
    a_create::RULES,
    b_errors::RULES,
    b_exclusive::RULES,
    b_keys::RULES,
    b_nesting::RULES,
    c_results::RULES,
    c_waits::RULES,
    d_masks::RULES,
    e_edges::RULES,
    f_oneshot::RULES,
    g_files::RULES,
    g_pipes::RULES,
    g_tcp::RULES,
    g_unix::RULES,
    h_nested::RULES,
    i_threads::RULES,
    l_errno::RULES,
];
