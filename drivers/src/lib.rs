//! Device drivers.
#![no_std]
#![deny(unsafe_code)]
