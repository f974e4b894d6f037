//! Locks for the kernel.
#![no_std]
