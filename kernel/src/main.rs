//! The Ironbark kernel.
#![no_std]
#![no_main]

mod device;
mod tty;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
