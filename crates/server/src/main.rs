//! The binary `portunus`.

/// A request makes many small allocations: the system's allocator had an eighth of the time. See
/// `docs/PERFORMANCE.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    portunus::cli::main()
}
