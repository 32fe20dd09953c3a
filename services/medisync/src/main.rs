//! The binary: see the library.

use std::process::ExitCode;

// Without it allocations can be counted from outside (`make cost`).
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    medisync::main()
}
