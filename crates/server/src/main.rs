//! The binary `portunus`.

/// A request makes some hundred small allocations, which the system's allocator takes a tenth of
/// the time for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    portunus::cli::main()
}
