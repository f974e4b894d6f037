//! The Ironbark kernel.
#![no_std]
#![no_main]

extern crate alloc;

mod device;
mod mm;
mod tty;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
