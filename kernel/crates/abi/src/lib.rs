//! The Linux x86-64 ABI: errno, system call numbers, flags and structures.
#![no_std]
#![deny(unsafe_code)]
