//! Talking between processes beside files and signals.
//!
//! | module | what |
//! |---|---|
//! | `futex` | sleeping on a word of user memory |

pub mod futex;
