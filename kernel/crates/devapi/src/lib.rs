//! Traits between drivers and the kernel, and fakes of them for tests.
#![no_std]
#![deny(unsafe_code)]
